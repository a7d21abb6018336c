"""All operators: what they take and give, who uses them, how they fare."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ui.components.page import get_client, set_title, show_facts, show_page
from ui.components.text import plain, show_duration, show_time


def show() -> None:
    client = get_client()
    st.title("Operators", anchor=False)
    found = client.list_operators()
    if not found:
        st.info("No operator has run yet.", icon=":material/info:")
        return
    text = st.text_input("Search", key="q", bind="query-params", type="search", placeholder="name or text")
    wanted = [o for o in found if (text or "").lower() in f"{o.name} {o.doc}".lower()]
    if not wanted:
        st.info("No operator fits.", icon=":material/filter_alt_off:")
        return
    st.dataframe(
        pd.DataFrame(
            {
                "operator": [o.name for o in wanted],
                "about": [o.doc.split("\n")[0] for o in wanted],
                "ran": [o.executed_count for o in wanted],
                "cached": [o.cached_count for o in wanted],
                "success": pd.Series([o.success_rate for o in wanted], dtype="float64"),
                "seconds": pd.Series([o.mean_duration_s for o in wanted], dtype="float64"),
                "workflows": [o.workflow_count for o in wanted],
            }
        ),
        hide_index=True,
        column_config={
            "success": st.column_config.ProgressColumn("success", format="percent", min_value=0, max_value=1),
            "seconds": st.column_config.NumberColumn("mean seconds", format="%.3f"),
        },
        alt="Operators, one in each row",
    )
    name = st.selectbox("Operator", [o.name for o in wanted], key="name", bind="query-params")
    detail = client.get_operator(name)
    set_title(name)
    show_facts(
        {
            "Versions": str(detail.summary.version_count),
            "Used by": ", ".join(detail.workflows) or "—",
            "Takes": show_duration(detail.summary.mean_duration_s),
            "Last run": show_time(detail.summary.last_run_at),
        }
    )
    latest = detail.versions[0]
    if latest.doc:
        st.text(latest.doc)
    st.caption(plain(f"from {latest.module} import {name}"))
    st.code(latest.source, language="python", line_numbers=True)


show_page(show)
