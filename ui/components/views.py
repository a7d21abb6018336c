"""Lists of runs that people have given a name: open, save and remove them."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import streamlit as st

from flowlearner.client import Client, FlowLearnerError
from ui.components import links
from ui.components.text import cut, plain

LONGEST_NAME = 60


def show_views(client: Client) -> None:
    """Draw what there is, and a form that saves the list that is shown."""
    views = client.list_views()
    for view in views:
        links.link_runs(cut(view.name, LONGEST_NAME), **_read_query(view.query))
    if not views:
        st.caption("Filters, columns and order of this list can be kept under a name, for everybody.")
    with st.form("view", border=False):
        name = st.text_input("Name", max_chars=200)
        if st.form_submit_button("Save this list"):
            _save(client, name)
    if views:
        gone = st.selectbox(
            "Remove", [v.name for v in views], index=None, format_func=lambda n: cut(n, LONGEST_NAME)
        )
        if gone is not None and st.button("Remove", icon=":material/delete:"):
            _remove(client, gone)


def _save(client: Client, name: str) -> None:
    query = urlencode([(key, value) for key in st.query_params for value in st.query_params.get_all(key)])
    try:
        client.save_view(name, query)
    except FlowLearnerError as error:
        st.error(plain(error))
        return
    st.rerun()


def _remove(client: Client, name: str) -> None:
    try:
        client.delete_view(name)
    except FlowLearnerError as error:
        st.error(plain(error))
        return
    st.rerun()


def _read_query(query: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in parse_qsl(query):
        found.setdefault(key, []).append(value)
    return found
