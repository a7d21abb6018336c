"""Runs side by side: what differs, how far from a baseline, curves laid over each other, any two columns."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd
import streamlit as st

from flowlearner.client import Client, Comparison, NotFoundError, Run
from ui.components import links
from ui.components.page import get_client, get_param, show_page
from ui.components.text import get_zone, plain, short_id
from ui.frames import (
    group_by_seed,
    list_names,
    make_comparison,
    make_deltas,
    make_points,
    make_runs,
)

MOST = 100
SECTIONS = {
    "metrics": "Metrics",
    "params": "Parameters",
    "tags": "Tags",
    "outputs": "Outputs",
    "nodes": "Nodes",
    "code": "Code",
    "environment": "Environment",
}


def show() -> None:
    st.title("Compare", anchor=False)
    client = get_client()
    ids = list(dict.fromkeys(i.strip() for i in get_param("runs").split(",") if i.strip()))
    if len(ids) < 2:
        st.info("Select two or more runs in the list, then Compare.", icon=":material/compare_arrows:")
        st.page_link(links.RUNS, label="See all runs", icon=":material/list:")
        return
    runs = _read(client, ids[:MOST])
    if len(runs) < 2:
        st.info("Fewer than two of these runs are there.", icon=":material/info:")
        return
    comparison = client.compare([r.id for r in runs])
    with st.container(horizontal=True):
        for run in comparison.runs[:12]:
            links.link_run(run.id, f"{run.workflow} {short_id(run.id)}")
    _show_sections(comparison)
    _show_charts(client, comparison.runs)
    _show_groups(comparison.runs)


def _read(client: Client, ids: Sequence[str]) -> list[Run]:
    runs: dict[str, Run] = {}
    for run_id in ids:
        try:
            run = client.get_run(run_id)
        except NotFoundError as error:
            st.warning(plain(error, 500), icon=":material/search_off:")
            continue
        runs[run.id] = run
    return list(runs.values())


def _show_sections(comparison: Comparison) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with_equal = st.toggle("Show what is equal, too", key="equal", bind="query-params")
        labels = [short_id(r.id) for r in comparison.runs]
        baseline = st.selectbox("Baseline", labels, key="baseline", bind="query-params", width=200)
    shown = False
    for section, title in SECTIONS.items():
        table = make_comparison(comparison, section, with_equal=with_equal)
        if table.empty:
            continue
        shown = True
        st.subheader(title, anchor=False)
        st.dataframe(table, alt=title)
        if section == "metrics":
            deltas = make_deltas(comparison, labels.index(baseline))
            if not deltas.empty:
                st.caption(f"Difference to {baseline}")
                st.dataframe(deltas.style.format("{:+.6g}", na_rep="—"))
    if not shown:
        st.info("Nothing differs.", icon=":material/check:")


def _show_charts(client: Client, runs: Sequence[Run]) -> None:
    points = pd.concat([make_points(client.list_metric_points(r.id), short_id(r.id)) for r in runs])
    curves = points.groupby(["run", "metric"]).filter(lambda g: len(g) > 1) if len(points) else points
    if len(curves):
        st.subheader("Curves", anchor=False)
        metric = st.selectbox("Metric", sorted(curves["metric"].unique()), key="curve", width=300)
        st.altair_chart(
            alt.Chart(curves[curves["metric"] == metric])
            .mark_line()
            .encode(x="step:Q", y=alt.Y("value:Q", title=metric, scale=alt.Scale(zero=False)), color="run:N")
        )
    names = [n for kind in ("metric", "param") for n in list_names(runs)[kind]]
    if len(names) < 2:
        return
    st.subheader("Any two columns", anchor=False)
    with st.container(horizontal=True):
        x = st.selectbox("Across", names, index=min(1, len(names) - 1), key="x", bind="query-params")
        y = st.selectbox("Up", names, key="y", bind="query-params")
    table = make_runs(runs, list(dict.fromkeys([x, y])), get_zone()).drop(columns=["status"])
    table.columns = [str(c).replace(".", "_") for c in table.columns]
    across, up = x.replace(".", "_"), y.replace(".", "_")
    st.altair_chart(
        alt.Chart(table)
        .mark_circle(size=90)
        .encode(
            x=alt.X(across, title=x, scale=alt.Scale(zero=False)),
            y=alt.Y(up, title=y, scale=alt.Scale(zero=False)),
            color="workflow:N",
            tooltip=["run", across, up],
        )
    )


def _show_groups(runs: Sequence[Run]) -> None:
    metrics = sorted({name for run in runs for name in run.metrics})
    if len(runs) < 3 or not metrics:
        return
    st.subheader("By all parameters but the seed", anchor=False)
    st.dataframe(group_by_seed(runs, metrics), hide_index=True)


show_page(show)
