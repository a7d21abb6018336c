"""All operators: what they take and give, who uses them, how they fare."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from flowlearner.client import Client
from ui.components import links
from ui.components.page import get_client, get_param, set_title, show_facts, show_page
from ui.components.text import plain, show_duration, show_time, split_doc
from ui.frames import make_interface


def show() -> None:
    client = get_client()
    st.title("Operators", anchor=False)
    found = client.list_operators()
    if not found:
        st.info("No operator has run yet.", icon=":material/function:")
        st.code("flowlearner demo", language="bash")
        return
    asked = get_param("name")
    if asked and asked not in [o.name for o in found]:
        st.warning(plain(f"There is no operator '{asked}'."), icon=":material/search_off:")
    text = st.text_input(
        "Search",
        key="q",
        bind="query-params",
        type="search",
        placeholder="name, text, or a type such as Model",
    )
    wanted = [
        o
        for o in found
        if (text or "").lower() in f"{o.name} {o.doc} {_read_types(client, o.name, o.version_count)}".lower()
    ]
    if not wanted:
        st.info("No operator fits.", icon=":material/filter_alt_off:")
        return
    st.dataframe(
        pd.DataFrame(
            {
                "operator": [o.name for o in wanted],
                "about": [o.doc.split("\n")[0] for o in wanted],
                "types": [_read_types(client, o.name, o.version_count) for o in wanted],
                "ran": [o.executed_count for o in wanted],
                "cached": [o.cached_count for o in wanted],
                "success": pd.Series([o.success_rate for o in wanted], dtype="float64") * 100,
                "seconds": pd.Series([o.mean_duration_s for o in wanted], dtype="float64"),
                "workflows": [o.workflow_count for o in wanted],
            }
        ),
        hide_index=True,
        column_config={
            "operator": st.column_config.TextColumn("Operator", pinned=True),
            "about": st.column_config.TextColumn("About", width="medium"),
            "types": st.column_config.TextColumn("Takes and gives", width="medium"),
            "ran": st.column_config.NumberColumn("Ran", width=70),
            "cached": st.column_config.NumberColumn("Cached", width=75),
            "success": st.column_config.NumberColumn("Success", format="%.0f %%", width=80),
            "seconds": st.column_config.NumberColumn("Mean seconds", format="%.3f", width=110),
            "workflows": st.column_config.NumberColumn("Workflows", width=90),
        },
        placeholder="—",
        alt="Operators, one in each row",
    )
    name = st.selectbox("Operator", [o.name for o in wanted], key="name", bind="query-params", width=400)
    _show_operator(client, name)


@st.cache_data(show_spinner=False, max_entries=5000)
def _read_types(_client: Client, name: str, version_count: int) -> str:  # noqa: ARG001 - what it is kept by
    interface = _client.get_operator(name).versions[0].interface
    takes = ", ".join(str(p.get("type", "")) for p in interface.get("params", ()))
    gives = ", ".join(str(o.get("type", "")) for o in interface.get("outputs", ()))
    return f"{takes} → {gives}"


def _show_operator(client: Client, name: str) -> None:
    detail = client.get_operator(name)
    set_title(name)
    latest = detail.versions[0]
    show_facts(
        {
            "Versions": str(detail.summary.version_count),
            "Takes": show_duration(detail.summary.mean_duration_s),
            "Last run": show_time(detail.summary.last_run_at),
        }
    )
    if detail.workflows:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption("Used by", width="content")
            for workflow in detail.workflows:
                links.link_workflow(workflow)
    summary, example = split_doc(latest.doc)
    if summary:
        st.text(summary)
    interface = make_interface(latest.interface)
    if len(interface):
        st.dataframe(interface, hide_index=True, alt="What it takes and gives")
    st.caption("To use it")
    params = ", ".join(p["name"] for p in latest.interface.get("params", ()) if p.get("required", True))
    call = example or f"{name}({params})"
    st.code(f"from {latest.module} import {name}\n\n{call}", language="python")
    st.subheader("Source", anchor=False)
    st.code(latest.source, language="python", line_numbers=True)
    for version in detail.versions[1:]:
        with st.expander(plain(f"Version of {show_time(version.first_seen)}")):
            st.code(version.source, language="python")


show_page(show)
