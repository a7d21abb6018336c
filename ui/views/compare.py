"""Runs side by side: what differs, how far from a baseline, curves laid over each other, any two columns."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from flowlearner.client import Client, Comparison, NotFoundError, Run
from ui.components import links
from ui.components.charts import show_curve, show_parallel, show_scatter
from ui.components.code import diff_code
from ui.components.page import get_client, get_param, set_title, show_page
from ui.components.text import cut, get_zone, plain, short_id
from ui.frames import (
    METRIC_VIEWS,
    choose_columns,
    group_by_seed,
    list_curves,
    list_names,
    make_comparison,
    make_metrics,
    make_parallel,
    make_points,
    make_runs,
    to_csv,
)

MOST = 100
MOST_LINKS = 12
SECTIONS = {
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
        links.link_runs("See all runs")
        return
    if len(ids) > MOST:
        st.warning(f"The first {MOST} of {len(ids):,} runs are shown.", icon=":material/info:")
    runs = _read(client, ids[:MOST])
    if len(runs) < 2:
        st.info("Fewer than two of these runs are there.", icon=":material/info:")
        links.link_runs("See all runs")
        return
    set_title(f"Compare {len(runs)} runs")
    comparison = client.compare([r.id for r in runs])
    with st.container(horizontal=True):
        for run in comparison.runs[:MOST_LINKS]:
            links.link_run(run.id, f"{run.workflow} {short_id(run.id)}")
        if len(runs) > MOST_LINKS:
            st.caption(f"and {len(runs) - MOST_LINKS} more")
    points = pd.concat(
        [make_points(client.list_metric_points(r.id), short_id(r.id)) for r in comparison.runs]
    )
    with_equal = _show_metrics(comparison, points)
    _show_sections(comparison, with_equal)
    if len(runs) == 2:
        _show_code(client, comparison)
    _show_curves(points)
    _show_columns(comparison.runs)
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


def _show_metrics(comparison: Comparison, points: pd.DataFrame) -> bool:
    """Draw the metrics; return whether what is equal is asked for, too."""
    labels = [short_id(r.id) for r in comparison.runs]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        view = st.segmented_control(
            "Metrics", list(METRIC_VIEWS), default="Last", key="view", bind="query-params", required=True
        )
        baseline = st.selectbox("Baseline", labels, key="baseline", bind="query-params", width=160)
        with_equal = st.toggle("Show what is equal, too", key="equal", bind="query-params")
    kind = METRIC_VIEWS[view or "Last"]
    table = make_metrics(comparison, points, kind, labels.index(baseline), with_equal=with_equal)
    if table.empty:
        st.caption("No metric differs.")
    else:
        form = "%+.6g" if kind == "difference" else "%.6g"
        st.dataframe(
            table,
            column_config={name: st.column_config.NumberColumn(name, format=form) for name in labels},
            placeholder="—",
            alt="Metrics, one in each row; runs in columns",
        )
        if kind == "difference":
            st.caption(f"How far each run is from {baseline}")
    return with_equal


def _show_sections(comparison: Comparison, with_equal: bool) -> None:
    equal = []
    for section, title in SECTIONS.items():
        table = make_comparison(comparison, section, with_equal=with_equal)
        if table.empty:
            if comparison.sections[section]:
                equal.append(title.lower())
            continue
        st.subheader(title, anchor=False)
        st.dataframe(table, placeholder="—", alt=f"{title}, one in each row; runs in columns")
    if equal:
        st.caption(f"The same in all: {', '.join(equal)}.")


def _show_code(client: Client, comparison: Comparison) -> None:
    for name, text in diff_code(client, comparison).items():
        with st.expander(plain(f"Difference of {name}")):
            st.code(text, language="diff")


def _show_curves(points: pd.DataFrame) -> None:
    names = list_curves(points)
    if not names:
        return
    st.subheader("Curves", anchor=False)
    metric = st.selectbox("Metric", names, key="curve", bind="query-params", width=300)
    show_curve(points[points["metric"] == metric], metric, 300)


def _show_columns(runs: Sequence[Run]) -> None:
    names = [n for kind in ("metric", "param") for n in list_names(runs)[kind]]
    if len(names) < 2:
        return
    st.subheader("Any two columns", anchor=False)
    with st.container(horizontal=True):
        x = st.selectbox("Across", names, index=1, key="x", bind="query-params", format_func=_shorten)
        y = st.selectbox("Up", names, key="y", bind="query-params", format_func=_shorten)
    labels = [short_id(r.id) for r in runs]
    table = make_runs(runs, [x, y], get_zone())
    points = pd.DataFrame({"x": table[x], "y": table[y], "label": labels}).dropna()
    if points.empty:
        st.caption("No run has both.")
    else:
        show_scatter(points, x, y)
    metrics = list_names(runs)["metric"]
    chosen = choose_columns(runs, 12)
    params = [n for n in chosen if n.startswith("param.")]
    if len(runs) < 3 or not metrics or not params:
        return
    st.subheader("Parallel coordinates", anchor=False)
    metric = st.selectbox("Coloured by", metrics, key="color", bind="query-params", width=300)
    shown = [*params, metric]
    table = make_runs(runs, shown, get_zone()).assign(label=labels)
    show_parallel(make_parallel(table, shown, metric), shown, metric)


def _shorten(name: str) -> str:
    return cut(name, 60)


def _show_groups(runs: Sequence[Run]) -> None:
    metrics = sorted({name for run in runs for name in run.metrics})
    if len(runs) < 3 or not metrics:
        return
    table = group_by_seed(runs, metrics)
    st.subheader("By all parameters but the seed", anchor=False)
    st.dataframe(table, hide_index=True, placeholder="—", alt="Groups of runs, one in each row")
    st.download_button(
        "CSV", to_csv(table), "groups.csv", "text/csv", icon=":material/download:", on_click="ignore"
    )


show_page(show)
