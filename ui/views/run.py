"""One run: what it was given, what it did, what came out, and why."""

from __future__ import annotations

from typing import Any

import altair as alt
import streamlit as st

from flowlearner.client import Client, FlowLearnerError, Run
from ui.components import links
from ui.components.graph import show_graph
from ui.components.outputs import show_output
from ui.components.page import get_client, get_param, set_title, show_facts, show_page
from ui.components.status import OPEN, make_status_column, show_status, show_verdict
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
from ui.frames import make_nodes, make_points

REFRESH_S = 2.0
MOST_LINES = 2000
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
        fresh = run.refresh()
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
            st.badge(plain(f"{name}: {value}", 80), color="gray", icon=":material/label:")
        with st.popover("Tags and notes", icon=":material/edit:"), st.form("notes", border=False):
            text = "\n".join(f"{name}={value}" for name, value in run.tags.items())
            tags = st.text_area("Tags, one NAME=VALUE in each line", text)
            notes = st.text_area("Notes", run.notes)
            if st.form_submit_button("Save"):
                _save(client, run, tags, notes)
        if run.status.value in OPEN and st.button("Cancel", icon=":material/block:"):
            _try(lambda: client.cancel_run(run.id, wait_s=0))
        if run.status.value not in OPEN and run.record.deleted_at is None:
            if st.button("Delete", icon=":material/delete:"):
                _try(lambda: client.delete_runs([run.id]))
        elif run.record.deleted_at is not None and st.button("Restore"):
            _try(lambda: client.restore_runs([run.id]))
    if run.notes:
        st.text(run.notes)


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
        "Graph": _show_graph,
        "Parameters": _show_params,
        "Logs": _show_logs,
        "Why": _show_why,
        "Code": _show_code,
        "Lineage": _show_lineage,
    }.get(chosen or TABS[0], _show_results)
    draw(client, run)


def _show_results(client: Client, run: Run) -> None:
    if run.metrics:
        with st.container(horizontal=True):
            for name, value in run.metrics.items():
                st.metric(plain(name), show_number(value), width="content")
    points = make_points(client.list_metric_points(run.id))
    curves = points.groupby("metric").filter(lambda g: len(g) > 1) if len(points) else points
    if len(curves):
        chart = (
            alt.Chart(curves)
            .mark_line(point=len(curves) < 200)
            .encode(x="step:Q", y=alt.Y("value:Q", scale=alt.Scale(zero=False)), color="metric:N")
        )
        st.altair_chart(chart)
    if not run.record.outputs:
        st.caption("It gave no output.")
    for name, output in run.record.outputs.items():
        show_output(client, name, output)


def _show_graph(client: Client, run: Run) -> None:
    if not run.nodes:
        st.caption("It has no nodes.")
        return
    chosen = show_graph(client.get_graph(run.id), run)
    st.dataframe(
        make_nodes(run, get_zone()),
        hide_index=True,
        column_config={
            "status": make_status_column(),
            "started": st.column_config.DatetimeColumn("started", format="HH:mm:ss.SSS"),
            "duration": st.column_config.NumberColumn("seconds", format="%.3f"),
        },
    )
    node = next((n for n in run.nodes if n.name == chosen), None)
    if node is None:
        st.caption("Choose a node to see what it took and gave.")
        return
    st.subheader(plain(node.name), anchor=False)
    show_facts(
        {
            "Operator": node.operator,
            "Status": f"{node.status.value.lower()}{', cached' if node.cached else ''}",
            "Attempt": str(node.attempt),
            "Why it ran": node.miss_reason or "—",
        }
    )
    if node.cached_from:
        links.link_run(node.cached_from, f"Taken from run {short_id(node.cached_from)}")
    if node.error is not None:
        st.error(plain(f"{node.error.type}: {node.error.message}", 1000))
        st.code(node.error.traceback or "", language="python")
    left, right = st.columns(2)
    with left:
        st.caption("Inputs")
        st.dataframe({"input": list(node.inputs), "hash": [h or "" for h in node.inputs.values()]})
    with right:
        st.caption("Outputs")
        st.dataframe(
            {
                "output": [o.name for o in node.outputs],
                "type": [o.type for o in node.outputs],
                "value": [show_value(o.value) for o in node.outputs],
                "hash": [o.hash for o in node.outputs],
            }
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


def _show_why(client: Client, run: Run) -> None:
    explanation = client.explain_run(run.id)
    for node in explanation.nodes:
        st.markdown(f"**{plain(node.name)}** — {plain(node.summary, 1000)}")


def _show_code(client: Client, run: Run) -> None:
    record = run.record
    code = record.code
    show_facts(
        {
            "Commit": code.commit or "—",
            "Branch": code.branch or "—",
            "Changed since": "yes" if code.dirty else "no",
            "Python": record.environment.python if record.environment else "—",
            "Command": record.command or "—",
        }
    )
    version = client.get_workflow(run.workflow).versions
    source = next((v.source for v in version if v.fingerprint == record.workflow_fingerprint), None)
    if source:
        st.code(source, language="python", line_numbers=True)
    if record.environment:
        with st.expander(f"{len(record.environment.packages)} packages"):
            packages = record.environment.packages
            st.dataframe({"package": list(packages), "version": list(packages.values())}, hide_index=True)


def _show_lineage(client: Client, run: Run) -> None:
    for name, output in run.record.outputs.items():
        uses = client.find_consumers(output.hash)
        st.markdown(f"**{plain(name)}**")
        others = [u for u in uses if u.run_id != run.id]
        if not others:
            st.caption("No other run has used it.")
        for use in others:
            links.link_run(
                use.run_id, f"{use.workflow} {short_id(use.run_id)}: {use.node or 'parameter'} {use.name}"
            )


show_page(show)
