"""Shows the nodes of a run: their graph, when they ran, and all about the one that is chosen."""

from __future__ import annotations

import altair as alt
import streamlit as st

from flowlearner.client import Client, NotFoundError, Run
from ui.components import links
from ui.components.charts import show_chart
from ui.components.graph import show_graph
from ui.components.outputs import show_output
from ui.components.page import show_facts
from ui.components.status import make_status_color, make_status_column
from ui.components.text import cut, get_zone, plain, short_id, show_duration
from ui.frames import make_nodes, make_timeline

MOST_LINES = 500
ROW_HEIGHT = 22


def show_nodes(client: Client, run: Run) -> None:
    """Draw the graph, the node that is chosen in it, and how all of them fared."""
    if not run.nodes:
        st.info("This run has no nodes.", icon=":material/account_tree:")
        return
    chosen = show_graph(client.get_graph(run.id), run)
    if any(n.name == chosen for n in run.nodes):
        _show_node(client, run, str(chosen))
    else:
        st.caption("Choose a node to see what it took and gave, what it printed, and why it ran.")
    _show_timeline(run)
    st.dataframe(
        make_nodes(run, get_zone()),
        hide_index=True,
        column_config={
            "node": "Node",
            "operator": "Operator",
            "status": make_status_column(),
            "cached": "Cached",
            "started": st.column_config.DatetimeColumn("Started", format="HH:mm:ss.SSS", width=110),
            "duration": st.column_config.NumberColumn("Seconds", format="%.3f", width=90),
            "why": st.column_config.TextColumn("Why it ran", width="large"),
        },
        alt="Nodes, one in each row",
    )


def _show_node(client: Client, run: Run, name: str) -> None:
    node = next(n for n in run.nodes if n.name == name)
    seconds = (
        (node.finished_at - node.started_at).total_seconds() if node.finished_at and node.started_at else None
    )
    with st.container(border=True):
        st.subheader(plain(node.name), anchor=False)
        show_facts(
            {
                "Operator": node.operator,
                "Status": f"{node.status.value.lower()}{', cached' if node.cached else ''}",
                "Took": show_duration(seconds),
                "Attempt": str(node.attempt),
                "Why it ran": node.miss_reason or "—",
            }
        )
        if node.cached_from:
            links.link_run(node.cached_from, f"Taken from run {short_id(node.cached_from)}")
        if node.error is not None:
            st.error(plain(f"{node.error.type}: {node.error.message}", 1000), icon=":material/error:")
            if node.error.traceback:
                st.code(cut(node.error.traceback, 20_000), language="python")
        if node.inputs:
            st.caption("Inputs")
            known = client.find_artifacts([h for h in node.inputs.values() if h])
            st.dataframe(
                {
                    "input": list(node.inputs),
                    "type": [known[h].type if h in known else "" for h in node.inputs.values()],
                    "hash": [(h or "")[:12] for h in node.inputs.values()],
                },
                hide_index=True,
            )
        for output in node.outputs:
            show_output(client, output.name, output)
        lines = client.list_logs(run.id, node.name, MOST_LINES)
        if lines:
            st.caption("What it printed and logged")
            st.code("\n".join(line.message for line in lines), language=None, height="content")
        source = _find_source(client, node.operator, node.fingerprint)
        if source:
            with st.expander("Source"):
                st.code(source, language="python")


def _find_source(client: Client, operator: str, fingerprint: str) -> str:
    try:
        versions = client.get_operator(operator).versions
    except NotFoundError:
        return ""
    return next((v.source for v in versions if v.fingerprint == fingerprint), "")


def _show_timeline(run: Run) -> None:
    table = make_timeline(run, get_zone())
    table = table[table["duration"] > 0]
    if len(table) < 2:
        return
    st.subheader("Timeline", anchor=False)
    start = table["started"].min()
    for name in ("started", "finished"):
        table[name] = (table[name] - start).dt.total_seconds()
    chart = (
        alt.Chart(table)
        .mark_bar(height=alt.RelativeBandSize(0.7), cornerRadius=2)
        .encode(
            x=alt.X("started:Q", title="seconds from the start of the first"),
            x2="finished:Q",
            y=alt.Y("node:N", sort=None, title=None, axis=alt.Axis(labelLimit=180, labelOverlap=False)),
            color=make_status_color(table["status"]),
            tooltip=["node:N", "status:N", alt.Tooltip("duration:Q", title="seconds", format=".3f")],
        )
    )
    show_chart(chart, "When each node ran", 60 + ROW_HEIGHT * len(table))
