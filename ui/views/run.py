"""One run: what it was given, what it did, what came out, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from flowlearner.client import Client, FlowLearnerError, NotFoundError, Run
from ui.components import links
from ui.components.charts import show_curves
from ui.components.code import diff_code
from ui.components.lineage import show_lineage, show_reasons
from ui.components.nodes import show_nodes
from ui.components.outputs import show_output
from ui.components.page import get_client, get_param, set_title, show_facts, show_page, telling
from ui.components.status import OPEN, show_status, show_verdict
from ui.components.text import (
    cut,
    plain,
    short_id,
    show_ago,
    show_duration,
    show_number,
    show_time,
    show_value,
)
from ui.frames import list_curves, make_metric_facts, make_points

UNFINISHED = ("FAILED", "CANCELLED", "CRASHED")
REFRESH_S = 2.0
MOST_LINES = 2000
MOST_METRICS = 8
MOST_CURVES = 6
LONGEST_NOTES = 20_000
TABS = ("Results", "Graph", "Parameters", "Logs", "Why", "Code", "Lineage")


def show() -> None:
    client, run_id = get_client(), get_param("id")
    if not run_id:
        st.title("Run", anchor=False)
        st.info("The address names no run.", icon=":material/info:")
        st.page_link(links.RUNS, label="See all runs", icon=":material/list:")
        return
    run = client.get_run(run_id)
    set_title(f"{run.workflow} {short_id(run.id)}")

    @st.fragment(run_every=REFRESH_S if run.status.value in OPEN else None)
    def draw() -> None:
        with telling():
            was_open = run.status.value in OPEN
            fresh = run.refresh()
            if was_open and fresh.status.value not in OPEN:
                st.rerun()
            _show_header(client, fresh)
            _show_tabs(client, fresh)

    draw()


def _show_header(client: Client, run: Run) -> None:
    record = run.record
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(plain(run.workflow), anchor=False, width="content")
        show_status(run.status.value)
        if record.reproduction is not None:
            show_verdict(record.reproduction.verdict)
        if record.deleted_at is not None:
            st.badge("Deleted", color="gray", icon=":material/delete:")
    show_facts(
        {
            "Run": run.id,
            "Experiment": run.experiment,
            "By": record.owner,
            "Started": f"{show_time(record.started_at)} ({show_ago(record.started_at)})",
            "Took": show_duration(run.duration_s),
            "Executor": record.executor,
            "Seed": str(record.run_seed),
        }
    )
    with st.container(horizontal=True):
        if record.parent_id:
            links.link_run(record.parent_id, f"Made of {short_id(record.parent_id)}")
        if record.sweep_id:
            links.link_sweep(record.sweep_id, f"Trial {record.trial_number} of {short_id(record.sweep_id)}")
        for child in client.list_runs(parent_id=run.id, limit=10):
            links.link_run(child.id, f"Run again as {short_id(child.id)}")
    if run.error is not None:
        st.error(plain(f"{run.error.type}: {run.error.message}", 1000), icon=":material/error:")
    _show_notes(client, run)


def _show_notes(client: Client, run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        for name, value in run.tags.items():
            st.badge(plain(f"{name}: {value}", 60), color="gray", icon=":material/label:")
        with st.popover("Link", icon=":material/link:"):
            st.caption("Who opens it sees this run")
            st.code(f"{(st.context.url or '').rstrip('/')}?id={run.id}", language=None)
        with st.popover("Tags and notes", icon=":material/edit:"), st.form("notes", border=False):
            text = "\n".join(f"{name}={value}" for name, value in run.tags.items())
            tags = st.text_area("Tags, one NAME=VALUE in each line", text)
            notes = st.text_area("Notes", run.notes)
            if st.form_submit_button("Save"):
                _save(client, run, tags, notes)
        if run.status.value in OPEN and st.button("Cancel", icon=":material/block:"):
            _try(lambda: client.cancel_run(run.id, wait_s=0))
        links.link_clone(run.id)
        if run.status.value not in OPEN:
            _show_again(client, run)
        if run.status.value not in OPEN and run.record.deleted_at is None:
            if st.button("Delete", icon=":material/delete:"):
                _try(lambda: client.delete_runs([run.id]))
        elif run.record.deleted_at is not None and st.button("Restore"):
            _try(lambda: client.restore_runs([run.id]))
    if run.notes:
        st.text(cut(run.notes, LONGEST_NOTES))


def _show_again(client: Client, run: Run) -> None:
    if st.button("Run again", icon=":material/replay:", help="Launch it as it was"):
        _launch(run, lambda: client.launch(clone=run.id))
    is_missing = run.status.value in UNFINISHED and run.record.sweep_id is None
    if is_missing and st.button("Resume", icon=":material/resume:", help="Launch what is missing"):
        _launch(run, lambda: client.launch_resume(run.id))


def _launch(run: Run, launch: Callable[[], str]) -> None:
    try:
        launched = launch()
    except FlowLearnerError as error:
        st.error(plain(error, 1000))
        return
    links.open_launched(launched, run=run.id)


def _save(client: Client, run: Run, text: str, notes: str) -> None:
    pairs = [line.partition("=") for line in text.splitlines() if line.strip()]
    wrong = [name for name, equals, _ in pairs if not equals or not name.strip()]
    if wrong:
        st.error(plain(f"Expected NAME=VALUE, found '{wrong[0]}'"))
        return
    tags = {name.strip(): value.strip() for name, _, value in pairs}
    client.remove_tags(run.id, [name for name in run.tags if name not in tags])
    client.set_tags(run.id, tags)
    client.set_notes(run.id, notes)
    st.rerun(scope="fragment")


def _try(act: Any) -> None:
    try:
        act()
    except FlowLearnerError as error:
        st.error(plain(error, 1000))
        return
    st.rerun()


def _show_tabs(client: Client, run: Run) -> None:
    chosen = st.segmented_control(
        "Part", TABS, default=TABS[0], key="part", bind="query-params", label_visibility="collapsed"
    )
    draw = {
        "Graph": show_nodes,
        "Parameters": _show_params,
        "Logs": _show_logs,
        "Why": show_reasons,
        "Code": _show_code,
        "Lineage": show_lineage,
    }.get(chosen or TABS[0], _show_results)
    draw(client, run)


def _show_results(client: Client, run: Run) -> None:
    points = make_points(client.list_metric_points(run.id), short_id(run.id))
    if run.metrics:
        _show_metrics(run, points)
    curves = list_curves(points)
    shown = curves[:MOST_CURVES]
    if len(curves) > MOST_CURVES:
        shown = st.multiselect("Curves", curves, shown, key="curves", bind="query-params")
    show_curves(points, shown)
    if not run.record.outputs:
        st.caption("It gave no output." if run.status.value not in OPEN else "Its outputs come at its end.")
    for name, output in run.record.outputs.items():
        if name not in run.metrics:
            show_output(client, name, output)


def _show_metrics(run: Run, points: pd.DataFrame) -> None:
    names = sorted(run.metrics)
    if len(names) <= MOST_METRICS and points.groupby("metric").size().max() == 1:
        with st.container(horizontal=True, gap="large"):
            for name in names:
                value = run.metrics[name]
                st.metric(plain(name, 60), show_number(value), width="content", help=plain(repr(value)))
        return
    st.dataframe(
        make_metric_facts(run.metrics, points),
        hide_index=True,
        height=min(35 * (len(names) + 1) + 3, 388),
        column_config={
            "metric": "Metric",
            **{
                name: st.column_config.NumberColumn(name.capitalize(), format="%.6g")
                for name in ("last", "least", "greatest")
            },
            "values": st.column_config.NumberColumn("Values", width=80),
        },
        alt="Metrics, one in each row",
    )


def _show_params(client: Client, run: Run) -> None:  # noqa: ARG001 - all parts are called alike
    if run.record.changes:
        st.caption("What differs from the run that it was made of")
        st.dataframe(
            {
                "what": [c.kind for c in run.record.changes],
                "name": [c.name for c in run.record.changes],
                "before": [show_value(c.before) for c in run.record.changes],
                "now": [show_value(c.after) for c in run.record.changes],
            },
            hide_index=True,
        )
    st.dataframe(
        {"parameter": list(run.params), "value": [show_value(v) for v in run.params.values()]},
        hide_index=True,
    )


def _show_logs(client: Client, run: Run) -> None:
    names = [n.name for n in run.nodes]
    node = st.selectbox("Node", ["All", *names], width=300)
    lines = client.list_logs(run.id, None if node == "All" else node, MOST_LINES)
    if not lines:
        st.caption("It logged and printed nothing.")
        return
    text = "\n".join(f"{show_time(x.at)[11:]} {x.level:7} {x.node or '':15} {x.message}" for x in lines)
    st.code(text, language=None, height=500)
    st.download_button("Download", text, f"{run.id}.log", "text/plain", icon=":material/download:")


def _show_code(client: Client, run: Run) -> None:
    record = run.record
    code = record.code
    show_facts(
        {
            "Commit": (code.commit or "—")[:12],
            "Branch": code.branch or "—",
            "Changed since": "yes" if code.dirty else "no",
            "Python": record.environment.python if record.environment else "—",
        }
    )
    if record.command:
        st.caption("Command")
        st.code(cut(record.command, 5000), language="bash", wrap_lines=True)
    if record.parent_id:
        _show_difference(client, run, record.parent_id)
    if code.diff:
        with st.expander("Changed since the commit"):
            st.code(cut(code.diff, 100_000), language="diff")
    versions = client.get_workflow(run.workflow).versions
    source = next((v.source for v in versions if v.fingerprint == record.workflow_fingerprint), None)
    if source:
        st.caption("Workflow")
        st.code(source, language="python", line_numbers=True)
    if record.environment:
        packages = record.environment.packages
        with st.expander(f"{len(packages):,} packages"):
            st.dataframe({"package": list(packages), "version": list(packages.values())}, hide_index=True)


def _show_difference(client: Client, run: Run, parent_id: str) -> None:
    """Draw in what code and environment differ from the run that this one was made of."""
    try:
        found = client.compare([parent_id, run.id])
    except NotFoundError:
        st.caption(f"The run that it was made of, {short_id(parent_id)}, is not there any more.")
        return
    st.caption(f"Difference to {short_id(parent_id)}, which it was made of")
    diffs = diff_code(client, found)
    rows = [r for part in (found.code, found.environment) for r in part if r.differs]
    if not rows and not diffs:
        st.markdown("Same code, same environment.")
    if rows:
        st.dataframe(
            {
                "what": [r.name for r in rows],
                "before": [show_value(r.values[0]) for r in rows],
                "now": [show_value(r.values[1]) for r in rows],
            },
            hide_index=True,
        )
    for name, text in diffs.items():
        with st.expander(plain(name)):
            st.code(text, language="diff")


show_page(show)
