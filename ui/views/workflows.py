"""All workflows: what they are for, what they take, how their runs ended."""

from __future__ import annotations

import streamlit as st

from ui.components.page import get_client, get_param, set_title, show_facts, show_page
from ui.components.text import plain, show_time


def show() -> None:
    client = get_client()
    names = [w.name for w in client.list_workflows()]
    st.title("Workflows", anchor=False)
    if not names:
        st.info("No workflow has run yet.", icon=":material/info:")
        return
    wanted = get_param("name")
    if wanted and wanted not in names:
        st.warning(plain(f"There is no workflow '{wanted}'."), icon=":material/search_off:")
    name = st.selectbox("Workflow", names, key="name", bind="query-params")
    found = client.get_workflow(name)
    set_title(name)
    show_facts(
        {
            "Runs": f"{found.summary.run_count - found.summary.trial_count:,}",
            "Trials": f"{found.summary.trial_count:,}",
            "Completed": f"{found.summary.completed_count:,}",
            "Failed": f"{found.summary.failed_count:,}",
            "Versions": str(found.summary.version_count),
            "Last run": show_time(found.summary.last_run_at),
        }
    )
    latest = found.versions[0]
    if latest.doc:
        st.text(latest.doc)
    st.page_link("views/runs.py", label="Its runs", query_params={"workflow": name}, icon=":material/list:")
    st.caption(plain(f"Calls {', '.join(found.operators)}"))
    st.code(latest.source, language="python", line_numbers=True)


show_page(show)
