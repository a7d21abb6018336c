"""One sweep: how far it is, the best so far, its trials, and what the parameters do."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

from flowlearner.client import Client, FlowLearnerError, Sweep
from ui.components import links
from ui.components.page import get_client, get_param, set_title, show_facts, show_page
from ui.components.status import OPEN, make_status_column, show_status
from ui.components.text import get_zone, plain, short_id, show_number, show_time, show_value

REFRESH_S = 2.0
MOST_LINES = 500


def show() -> None:
    client, sweep_id = get_client(), get_param("id")
    if not sweep_id:
        st.title("Sweep", anchor=False)
        st.info("The address names no sweep.", icon=":material/info:")
        st.page_link("views/sweeps.py", label="See all sweeps", icon=":material/list:")
        return
    sweep = client.get_sweep(sweep_id)
    set_title(f"Sweep of {sweep.workflow} {short_id(sweep.id)}")

    @st.fragment(run_every=REFRESH_S if sweep.status.value in OPEN else None)
    def draw() -> None:
        fresh = client.get_sweep(sweep.id)
        _show_header(client, fresh)
        _show_trials(fresh)

    draw()


def _show_header(client: Client, sweep: Sweep) -> None:
    record = sweep.record
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(plain(f"Sweep of {sweep.workflow}"), anchor=False, width="content")
        show_status(sweep.status.value)
        if sweep.status.value in OPEN and st.button("Stop", icon=":material/stop_circle:"):
            _stop(client, sweep)
    directions = ", ".join(f"{m} ({d})" for m, d in zip(record.metrics, record.modes, strict=True))
    show_facts(
        {
            "Sweep": sweep.id,
            "Experiment": sweep.experiment,
            "By": record.owner,
            "Started": show_time(record.started_at),
            "Searches for": directions,
            "Search": f"{record.spec.get('search')}, seed {record.spec.get('seed')}",
            "Stop": str(record.spec.get("stop") or "—"),
        }
    )
    if record.error is not None:
        st.error(plain(f"{record.error.type}: {record.error.message}", 1000), icon=":material/error:")
    _show_progress(sweep)
    _show_best(sweep)


def _stop(client: Client, sweep: Sweep) -> None:
    try:
        client.stop_sweep(sweep.id)
    except FlowLearnerError as error:
        st.error(plain(error, 500))
    else:
        st.toast("It starts no more trials.")


def _show_progress(sweep: Sweep) -> None:
    counts, total = sweep.counts, sweep.record.spec.get("trials")
    ended = sum(n for status, n in counts.items() if status not in OPEN)
    if total:
        st.progress(min(ended / total, 1.0), f"{ended:,} of {total:,} trials")
    executed = sum(sweep.node_executions.values())
    saved = sum(s["shared"] + s["reused"] for s in sweep.node_savings.values())
    with st.container(horizontal=True):
        for status, count in counts.items():
            st.metric(status.capitalize(), f"{count:,}", width="content")
        st.metric("Operator calls", f"{executed:,}", width="content")
        st.metric("Calls saved", f"{saved:,}", width="content", help="By sharing and by the cache")


def _show_best(sweep: Sweep) -> None:
    best = sweep.find_best()
    if best is None:
        return
    params = ", ".join(f"{name} {show_value(value)}" for name, value in best.point.items())
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.metric(plain(f"Best {sweep.record.metrics[0]}"), show_number(best.values[0]), width="content")
        with st.container(gap=None):
            st.caption(f"Trial {best.number}")
            st.markdown(plain(params))
        links.link_run(best.run_id, "Open its run")


def _show_trials(sweep: Sweep) -> None:
    if not sweep.trial_records:
        st.caption("No trial has begun.")
        return
    table = sweep.trials()
    params = list(sweep.record.spec.get("space", {}))
    _show_history(sweep)
    metric = sweep.record.metrics[0]
    left, right = st.columns(2)
    with left:
        _show_importance(sweep)
    with right:
        _show_slice(table, params, metric)
    if len(sweep.record.metrics) > 1:
        _show_pareto(sweep, table)
    _show_parallel(table, params, metric)
    st.subheader("Trials", anchor=False)
    shown = table.assign(
        status=pd.Series([[s] for s in table["status"]], dtype=object),
        started_at=table["started_at"].dt.tz_convert(get_zone()),
    ).drop(columns=["finished_at"])
    st.dataframe(
        shown,
        hide_index=True,
        column_config={
            "status": make_status_column(),
            "run_id": "run",
            "started_at": st.column_config.DatetimeColumn("started", format="HH:mm:ss"),
            "duration_s": st.column_config.NumberColumn("seconds", format="%.1f"),
        },
        alt="Trials, one in each row",
    )
    csv = table.to_csv(index=False)
    st.download_button("CSV", csv, f"{sweep.id}.csv", "text/csv", icon=":material/download:")


def _show_history(sweep: Sweep) -> None:
    history = sweep.history()
    if history.empty:
        return
    st.subheader("History", anchor=False)
    base = alt.Chart(history).encode(x=alt.X("number:Q", title="trial"))
    points = base.mark_circle(size=50).encode(
        y=alt.Y("value:Q", scale=alt.Scale(zero=False)), tooltip=list(history.columns)
    )
    layers = [points]
    if "best" in history:
        layers.append(base.mark_line(interpolate="step-after").encode(y="best:Q"))
    st.altair_chart(alt.layer(*layers))


def _show_importance(sweep: Sweep) -> None:
    st.subheader("Importance", anchor=False)
    try:
        found = sweep.importance()
    except FlowLearnerError as error:
        st.caption(plain(error, 300))
        return
    table = pd.DataFrame({"parameter": list(found), "importance": list(found.values())})
    st.altair_chart(alt.Chart(table).mark_bar().encode(x="importance:Q", y=alt.Y("parameter:N", sort="-x")))


def _show_slice(table: pd.DataFrame, params: list[str], metric: str) -> None:
    st.subheader("Slice", anchor=False)
    names = [p for p in params if p in table]
    if not names or metric not in table:
        return
    name = st.selectbox("Parameter", names, key="slice", bind="query-params")
    data = pd.DataFrame({"x": table[name], "y": table[metric], "status": table["status"]})
    st.altair_chart(
        alt.Chart(data)
        .mark_circle(size=50)
        .encode(
            x=alt.X("x", title=name, scale=alt.Scale(zero=False)),
            y=alt.Y("y:Q", title=metric, scale=alt.Scale(zero=False)),
            color="status:N",
        )
    )


def _show_pareto(sweep: Sweep, table: pd.DataFrame) -> None:
    first, second = sweep.record.metrics[:2]
    front = {t.number for t in sweep.find_pareto()}
    data = pd.DataFrame({"x": table[first], "y": table[second], "front": table["number"].isin(front)})
    st.subheader("Pareto front", anchor=False)
    st.altair_chart(
        alt.Chart(data)
        .mark_circle(size=60)
        .encode(x=alt.X("x:Q", title=first), y=alt.Y("y:Q", title=second), color="front:N")
    )


def _show_parallel(table: pd.DataFrame, params: list[str], metric: str) -> None:
    names = [n for n in [*params, metric] if n in table]
    if len(names) < 2 or metric not in table:
        return
    columns = {}
    for name in names:
        numbers = pd.to_numeric(table[name], errors="coerce")
        values = numbers if numbers.notna().any() else table[name].astype("category").cat.codes.astype(float)
        spread = values.max() - values.min()
        columns[name] = (values - values.min()) / (spread or 1.0)
    lines = pd.DataFrame(columns).assign(trial=table["number"], value=table[metric]).dropna().head(MOST_LINES)
    long = lines.melt(["trial", "value"], var_name="name", value_name="place")
    st.subheader("Parallel coordinates", anchor=False)
    st.altair_chart(
        alt.Chart(long)
        .mark_line(opacity=0.5)
        .encode(
            x=alt.X("name:N", sort=names, title=None),
            y=alt.Y("place:Q", axis=None),
            detail="trial:N",
            color=alt.Color("value:Q", title=metric),
        )
    )


show_page(show)
