"""Shows why nodes ran, and where the outputs of a run came from and went."""

from __future__ import annotations

from typing import Any

import streamlit as st

from flowlearner.client import Client, FlowLearnerError, Run
from ui.components import links
from ui.components.text import cut, plain, short_id, show_value

MOST_USES = 20
DEEPEST = 12
LONGEST_VALUE = 80
INDENT = "  "


def show_reasons(client: Client, run: Run) -> None:
    """Draw why each node ran, or did not."""
    nodes = client.explain_run(run.id).nodes
    if not nodes:
        st.info("This run has no nodes.", icon=":material/account_tree:")
        return
    st.dataframe(
        {
            "node": [n.name for n in nodes],
            "what": [n.action for n in nodes],
            "why": [n.summary for n in nodes],
        },
        hide_index=True,
        column_config={
            "node": "Node",
            "what": st.column_config.TextColumn("It", width=80),
            "why": st.column_config.TextColumn("Why", width="large"),
        },
        alt="Nodes, and why each ran",
    )


def show_lineage(client: Client, run: Run) -> None:
    """Draw what made each output, up to files and parameters, and which runs used it."""
    names = list(run.record.outputs)
    if not names:
        st.info("This run gave no output.", icon=":material/account_tree:")
        return
    name = st.selectbox("Output", names, key="output", bind="query-params", width=300)
    try:
        found = client.trace_lineage(f"{run.id}.{name}")
    except FlowLearnerError as error:
        st.warning(plain(error, 1000), icon=":material/link_off:")
        return
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.subheader("Made of", anchor=False)
        if found.origin is None:
            st.caption("No kept run made it.")
        else:
            lines: list[str] = []
            _write_origin(lines, found.origin, "", 0)
            st.code("\n".join(lines), language=None)
        if found.made_in > 1:
            st.caption(f"{found.made_in:,} runs have given the same.")
    with right:
        st.subheader("Used by", anchor=False)
        others = [u for u in found.uses if u.run.id != run.id]
        if not others:
            st.caption("No other run has used it.")
        for use in others[:MOST_USES]:
            links.link_run(use.run.id, f"{use.run.workflow} {short_id(use.run.id)}: {use.node.name}")
        if len(others) > MOST_USES:
            st.caption(f"and {len(others) - MOST_USES:,} more")
        if found.models:
            st.caption("Models among that")
            for model in found.models[:MOST_USES]:
                links.link_run(model.run.id, f"{model.run.workflow} {short_id(model.run.id)}: {model.output}")


def _write_origin(lines: list[str], origin: Any, name: str, depth: int) -> None:
    value = "" if origin.value is None else f" = {cut(show_value(origin.value), LONGEST_VALUE)}"
    node = origin.name.partition(".")[0]
    by = f" by {origin.operator}" if origin.operator and origin.operator != node else ""
    again = " …" if origin.is_repeated or origin.is_cut or depth > DEEPEST else ""
    label = f"{name}: " if name else ""
    lines.append(f"{INDENT * depth}{label}{origin.kind} {origin.name}{by}{value}{again}")
    if depth > DEEPEST:
        return
    for key, other in origin.inputs.items():
        # A constant in the code of the workflow is no origin that people ask for.
        if other.kind != "literal":
            _write_origin(lines, other, key, depth + 1)
