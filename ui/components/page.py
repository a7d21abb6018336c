"""What every page does: its title, its client, a message where something is not there or does not work."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import streamlit as st

from flowlearner.client import Client, FlowLearnerError, NotFoundError
from ui.components.history import watch_links
from ui.components.text import plain

# A picture of our own: Streamlit would fetch its icons for the browser's tab from the internet.
ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="#0b57d0">
<path d="M6 6 12 18 18 6" fill="none" stroke="#0b57d0" stroke-width="2"/>
<circle cx="6" cy="6" r="3"/><circle cx="18" cy="6" r="3"/><circle cx="12" cy="18" r="3"/></svg>"""
# Streamlit leaves a sixth of the window empty above a page.
CSS = """
[data-testid="stMainBlockContainer"] { padding-top: 3.5rem; }
@media (min-width: 768px) {
  [data-testid="stMainBlockContainer"] { padding-left: 3rem; padding-right: 3rem; }
}
.st-key-history { display: none; }
/* Grey enough to stand back, dark enough to be read. */
[data-testid="stMetricLabel"] { opacity: 0.75; }
[data-testid="stMain"] [data-testid="stCaptionContainer"] { color: inherit; opacity: 0.75; }
[data-testid="stMain"] [data-testid="stPageLink"] a { padding-left: 0; }
"""


def set_up() -> None:
    """Say what holds for all pages."""
    st.set_page_config(page_title="flowlearner", page_icon=ICON, layout="wide")
    st.html(f"<style>{CSS}</style>")
    watch_links()


def get_client() -> Client:
    """Return the client of the configured catalog; all viewers share it."""
    prefix = "FLOWLEARNER_"
    return _open_client(tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith(prefix))))


@st.cache_resource(show_spinner=False)
def _open_client(environment: tuple[tuple[str, str], ...]) -> Client:  # noqa: ARG001 - what it is kept by
    return Client()


def show_page(show: Callable[[], None]) -> None:
    """Draw a page; what cannot be shown is said in words."""
    with telling():
        show()


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """Say in words what cannot be shown; parts that are drawn again by themselves need it for themselves."""
    try:
        yield
    except NotFoundError as error:
        st.error(plain(error, 1000), icon=":material/search_off:")
        st.caption("It may have been removed, or the address is not whole.")
        st.page_link("views/runs.py", label="See all runs", icon=":material/list:")
    except FlowLearnerError as error:
        st.error(plain(error, 2000), icon=":material/cloud_off:")
        st.caption("Nothing was lost: the catalog is only read here. Try again once this is mended.")
        st.button("Try again", icon=":material/refresh:")


def set_title(text: str) -> None:
    """Name the tab of the browser."""
    st.set_page_config(page_title=f"{text} · flowlearner")


def get_param(name: str) -> str:
    """Return a parameter of the URL; empty where it is missing."""
    return st.query_params.get(name, "").strip()


def show_facts(facts: dict[str, str]) -> None:
    """Draw short facts side by side, each under its name."""
    with st.container(horizontal=True, gap="medium"):
        for name, text in facts.items():
            with st.container(width="content", gap=None):
                st.caption(name)
                st.markdown(plain(text) or "—")
