"""All workflows: what they are for, what they take, how their runs ended."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ui.components import links
from ui.components.graph import show_shape
from ui.components.page import get_client, get_param, set_title, show_facts, show_page
from ui.components.text import get_zone, plain, show_time, split_doc
from ui.frames import make_interface


def show() -> None:
    client = get_client()
    found = client.list_workflows()
    names = [w.name for w in found]
    st.title("Workflows", anchor=False)
    if not names:
        st.info("No workflow has run yet.", icon=":material/account_tree:")
        st.code("flowlearner demo", language="bash")
        return
    wanted = get_param("name")
    if wanted and wanted not in names:
        st.warning(plain(f"There is no workflow '{wanted}'."), icon=":material/search_off:")
    st.dataframe(
        pd.DataFrame(
            {
                "workflow": names,
                "about": [w.doc.split("\n")[0] for w in found],
                "runs": [w.run_count - w.trial_count for w in found],
                "trials": [w.trial_count for w in found],
                "completed": [w.completed_count for w in found],
                "failed": [w.failed_count for w in found],
                "last": pd.Series([w.last_run_at for w in found], dtype="datetime64[us, UTC]").dt.tz_convert(
                    get_zone()
                ),
            }
        ),
        hide_index=True,
        column_config={
            "workflow": "Workflow",
            "about": st.column_config.TextColumn("About", width="large"),
            "last": st.column_config.DatetimeColumn("Last run", format="YYYY-MM-DD HH:mm:ss", width=160),
            **{
                n: st.column_config.NumberColumn(n.capitalize())
                for n in ("runs", "trials", "completed", "failed")
            },
        },
        alt="Workflows, one in each row",
    )
    name = st.selectbox("Workflow", names, key="name", bind="query-params", width=400)
    detail = client.get_workflow(name)
    set_title(name)
    latest = detail.versions[0]
    show_facts(
        {
            "Versions": str(detail.summary.version_count),
            "Last run": show_time(detail.summary.last_run_at),
            "Calls": ", ".join(detail.operators) or "—",
        }
    )
    with st.container(horizontal=True):
        links.link_runs("See its runs", workflow=name)
        st.page_link(links.LAUNCH, label=":primary[Launch it]", query_params={"workflow": name})
    summary, example = split_doc(latest.doc)
    if summary:
        st.text(summary)
    interface = make_interface(latest.interface)
    if len(interface):
        st.dataframe(interface, hide_index=True, alt="What it takes and gives")
    if example:
        st.code(example, language="python")
    if latest.graph.get("nodes"):
        st.subheader("Graph", anchor=False)
        show_shape(dict(latest.graph), name)
    st.subheader("Source", anchor=False)
    st.code(latest.source, language="python", line_numbers=True)


show_page(show)
