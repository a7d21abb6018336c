"""One sweep: how far it is, the best so far, its trials, and what the parameters do."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

from flowlearner.client import Client, FlowLearnerError, Sweep
from ui.components import links
from ui.components.charts import (
    make_count_axis,
    make_number_axis,
    show_chart,
    show_parallel,
    show_scatter,
)
from ui.components.page import get_client, get_param, set_title, show_facts, show_page, telling
from ui.components.status import OPEN, make_status_color, make_status_column, show_status
from ui.components.text import (
    get_zone,
    plain,
    short_id,
    show_ago,
    show_duration,
    show_number,
    show_time,
    show_value,
)
from ui.frames import make_parallel, make_points, make_trials, to_csv, to_parquet

REFRESH_S = 2.0
MOST_CURVES = 100


def show() -> None:
    client, sweep_id = get_client(), get_param("id")
    if not sweep_id:
        st.title("Sweep", anchor=False)
        st.info("The address names no sweep.", icon=":material/info:")
        st.page_link("views/sweeps.py", label=":primary[See all sweeps]")
        return
    sweep = client.get_sweep(sweep_id)
    set_title(f"Sweep of {sweep.workflow} {short_id(sweep.id)}")
    was_open = sweep.status.value in OPEN

    @st.fragment(run_every=REFRESH_S if was_open else None)
    def draw() -> None:
        with telling():
            fresh = client.get_sweep(sweep.id)
            if was_open and fresh.status.value not in OPEN:
                st.rerun()
            _show_header(client, fresh)
            _show_trials(client, fresh)

    draw()


def _show_header(client: Client, sweep: Sweep) -> None:
    record = sweep.record
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(plain(f"Sweep of {sweep.workflow}"), anchor=False, width="content")
        show_status(sweep.status.value)
        if sweep.status.value in OPEN and st.button("Stop", icon=":material/stop_circle:"):
            _stop(client, sweep)
        if sweep.status.value not in OPEN:
            _show_going_on(client, sweep)
    directions = ", ".join(f"{m} ({d})" for m, d in zip(record.metrics, record.modes, strict=True))
    took = (
        (record.finished_at - record.started_at).total_seconds()
        if record.finished_at and record.started_at
        else None
    )
    show_facts(
        {
            "Sweep": sweep.id,
            "Experiment": sweep.experiment,
            "By": record.owner,
            "Started": f"{show_time(record.started_at)} ({show_ago(record.started_at)})",
            **({} if took is None else {"Took": show_duration(took)}),
            "Searches for": directions,
            "Search": f"{record.spec.get('search')}, seed {record.spec.get('seed')}",
            **({"Stops early by": str(record.spec["stop"])} if record.spec.get("stop") else {}),
        }
    )
    if record.error is not None:
        st.error(plain(f"{record.error.type}: {record.error.message}", 1000), icon=":material/error:")
    _show_next(sweep)
    _show_progress(sweep)


def _show_next(sweep: Sweep) -> None:
    """Say how the sweep goes on, where it can."""
    if sweep.status.value in ("CRASHED", "CANCELLED", "FAILED"):
        st.caption("Go on where it ended:")
        st.code(f"flowlearner sweeps resume {short_id(sweep.id)}", language="bash")
    elif sweep.counts.get("FAILED"):
        st.caption("Run again what failed:")
        st.code(f"flowlearner sweeps retry {short_id(sweep.id)}", language="bash")


def _show_going_on(client: Client, sweep: Sweep) -> None:
    counts, total = sweep.counts, sweep.record.spec.get("trials")
    ended = sum(counts.get(s, 0) for s in ("COMPLETED", "PRUNED", "FAILED"))
    is_missing = ended < total if total else sweep.status.value != "COMPLETED"
    if is_missing and st.button(
        "Resume", icon=":material/resume:", help="Launch the trials that are missing"
    ):
        _launch_resume(client, sweep, retry=False)
    if counts.get("FAILED") and st.button("Retry failed", icon=":material/replay:"):
        _launch_resume(client, sweep, retry=True)


def _launch_resume(client: Client, sweep: Sweep, *, retry: bool) -> None:
    try:
        launched = client.launch_resume(sweep.id, retry=retry)
    except FlowLearnerError as error:
        st.error(plain(error, 1000))
        return
    links.open_launched(launched, sweep=sweep.id)


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
    if total and sweep.status.value in OPEN:
        st.progress(min(ended / total, 1.0), f"{ended:,} of {total:,} trials")
    executed = sum(sweep.node_executions.values())
    saved = sum(s["shared"] + s["reused"] for s in sweep.node_savings.values())
    best = sweep.find_best()
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="large"):
        if best is not None:
            name = sweep.record.metrics[0]
            st.metric(plain(f"Best {name}"), show_number(best.values[0]), width="content")
        for status, count in counts.items():
            st.metric(status.capitalize(), f"{count:,}", width="content")
        st.metric("Calls", f"{executed:,}", width="content", help="How often an operator ran")
        st.metric(
            "Saved", f"{saved:,}", width="content", help="Calls that trials share, or that the cache had"
        )
    if best is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            params = ", ".join(f"{name} {show_value(value)}" for name, value in best.point.items())
            links.link_run(best.run_id, f"Best: trial {best.number}")
            links.link_clone(best.run_id, "Run the best again")
            st.markdown(plain(params))


def _show_trials(client: Client, sweep: Sweep) -> None:
    if not sweep.trial_records:
        st.info("No trial has begun.", icon=":material/schedule:")
        return
    table = sweep.trials()
    params = [p for p in sweep.record.spec.get("space", {}) if p in table]
    metric = sweep.record.metrics[0]
    if len(sweep.record.metrics) > 1:
        _show_pareto(sweep, table)
    else:
        _show_history(sweep, table)
    left, right = st.columns(2)
    with left:
        _show_importance(sweep)
    with right:
        _show_slice(table, params, metric)
    _show_parallel(table, params, metric)
    _show_curves(client, sweep, table)
    _show_table(sweep, table, params)


def _show_table(sweep: Sweep, table: pd.DataFrame, params: list[str]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Trials", anchor=False)
        st.download_button(
            "CSV", to_csv(table), f"{sweep.id}.csv", "text/csv", icon=":material/download:", on_click="ignore"
        )
        st.download_button(
            "Parquet",
            lambda: to_parquet(table),
            f"{sweep.id}.parquet",
            "application/octet-stream",
            icon=":material/download:",
            on_click="ignore",
        )
    numbers = [n for n in [*params, *sweep.record.metrics] if n in table and table[n].dtype == "float64"]
    st.dataframe(
        make_trials(table, get_zone()),
        hide_index=True,
        column_config={
            "number": st.column_config.NumberColumn("Trial", width=70, pinned=True),
            "run_id": st.column_config.LinkColumn("Run", display_text=r"id=(.{8})", width=90),
            "status": make_status_column(),
            **{name: st.column_config.NumberColumn(name, format="%.6g") for name in numbers},
            "started_at": st.column_config.DatetimeColumn("Started", format="HH:mm:ss", width=90),
            "duration_s": st.column_config.NumberColumn("Seconds", format="%.1f", width=80),
        },
        placeholder="—",
        alt="Trials, one in each row",
    )


def _show_history(sweep: Sweep, table: pd.DataFrame) -> None:
    history = sweep.history()
    metric = sweep.record.metrics[0]
    if history.empty or metric not in table:
        return
    st.subheader("History", anchor=False)
    ended = pd.DataFrame(
        {"number": table["number"], "value": table[metric], "status": table["status"]}
    ).dropna(subset=["value"])
    points = (
        alt.Chart(ended)
        .mark_circle(size=55, opacity=0.8)
        .encode(
            x=make_count_axis("number", "trial"),
            y=make_number_axis("value", metric),
            color=make_status_color(ended["status"]),
            tooltip=["number:Q", "value:Q", "status:N"],
        )
    )
    line = (
        alt.Chart(history.sort_values("number").assign(best=_running(history, sweep.record.modes[0])))
        .mark_line(interpolate="step-after", strokeWidth=1.5, color="#8a8f98")
        .encode(x=make_count_axis("number", "trial"), y=make_number_axis("best", metric))
    )
    show_chart(line + points, f"{metric} of each trial, and the best up to it")


def _running(history: pd.DataFrame, mode: str) -> pd.Series:
    values = history.sort_values("number")["value"]
    return values.cummax() if mode == "max" else values.cummin()


def _show_importance(sweep: Sweep) -> None:
    st.subheader("Importance", anchor=False)
    try:
        found = _compute_importance(sweep.id, sweep.counts.get("COMPLETED", 0), sweep)
    except FlowLearnerError as error:
        st.caption(plain(error, 300))
        return
    table = pd.DataFrame({"name": list(found), "share": list(found.values())})
    chart = (
        alt.Chart(table)
        .mark_bar(cornerRadius=2)
        .encode(
            x=alt.X(
                "share:Q",
                title="share of what varies",
                axis=alt.Axis(format="%"),
                scale=alt.Scale(domain=[0, 1]),
            ),
            y=alt.Y("name:N", sort="-x", title=None, axis=alt.Axis(labelLimit=160)),
            tooltip=["name:N", alt.Tooltip("share:Q", format=".1%")],
        )
    )
    show_chart(chart, "How much each parameter explains", 60 + 30 * len(table))


# A forest is fitted for it: once for as many trials, whoever looks.
@st.cache_data(show_spinner=False, max_entries=200)
def _compute_importance(sweep_id: str, completed: int, _sweep: Sweep) -> dict[str, float]:  # noqa: ARG001
    return _sweep.importance()


def _show_slice(table: pd.DataFrame, params: list[str], metric: str) -> None:
    st.subheader("Slice", anchor=False)
    if not params or metric not in table:
        st.caption("No parameter varies.")
        return
    name = st.selectbox("Parameter", params, key="slice", bind="query-params", label_visibility="collapsed")
    data = pd.DataFrame(
        {"x": table[name], "y": table[metric], "status": table["status"], "label": table["number"]}
    ).dropna(subset=["y"])
    show_scatter(data, name, metric, make_status_color(data["status"]))


def _show_pareto(sweep: Sweep, table: pd.DataFrame) -> None:
    first, second = sweep.record.metrics[:2]
    front = {t.number for t in sweep.find_pareto()}
    on_front = table["number"].isin(front)
    data = pd.DataFrame(
        {
            "x": table[first],
            "y": table[second],
            "label": table["number"],
            "front": on_front.map({True: "on the front", False: "beaten"}),
        }
    ).dropna(subset=["x", "y"])
    st.subheader("Pareto front", anchor=False)
    color = alt.Color(
        "front:N",
        scale=alt.Scale(domain=["on the front", "beaten"], range=["#2a9d63", "#a3a8b0"]),
        legend=alt.Legend(title=None, orient="top"),
    )
    show_scatter(data, first, second, color)


def _show_parallel(table: pd.DataFrame, params: list[str], metric: str) -> None:
    if not params or metric not in table:
        return
    st.subheader("Parallel coordinates", anchor=False)
    names = [*params, metric]
    show_parallel(
        make_parallel(table.assign(label=table["number"].astype("str")), names, metric), names, metric
    )


def _show_curves(client: Client, sweep: Sweep, table: pd.DataFrame) -> None:
    """Draw what trials reported of the metric, those that were stopped early among them."""
    if not st.toggle("Curves of the trials", key="curves", bind="query-params"):
        return
    metric = sweep.record.metrics[0]
    parts = []
    for row in table.tail(MOST_CURVES).itertuples():
        points = make_points(client.list_metric_points(str(row.run_id), metric), str(row.number))
        parts.append(points.assign(status=str(row.status)))
    curves = pd.concat(parts) if parts else pd.DataFrame()
    if curves.empty or curves.groupby("run").size().max() < 2:
        st.caption("No trial has reported it by steps.")
        return
    chart = (
        alt.Chart(curves)
        .mark_line(opacity=0.6)
        .encode(
            x=make_count_axis("step", "step"),
            y=make_number_axis("value", metric),
            detail="run:N",
            color=make_status_color(curves["status"]),
            tooltip=[alt.Tooltip("run:N", title="trial"), "step:Q", "value:Q", "status:N"],
        )
    )
    show_chart(chart, f"{metric} by step, a line for each trial")


show_page(show)
