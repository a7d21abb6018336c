"""Lets links between pages be one step each in the browser's history.

Streamlit makes two of a link with a query: first the new query at the old page, then the new page, and Back
would lead to the first. So a click becomes what Forward would do: the address changes once, and the page
follows.
"""

from __future__ import annotations

import streamlit as st

JS = """
const LINK = '[data-testid="stMain"] a[data-testid="stPageLink-NavLink"]';
export default function () {
  if (window.flowlearnerLinks) return;
  window.flowlearnerLinks = true;
  document.addEventListener("click", (event) => {
    const link = event.target.closest(LINK);
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    history.pushState({}, "", link.href);
    window.dispatchEvent(new PopStateEvent("popstate"));
  }, true);
}
"""
_watch = st.components.v2.component("flowlearner.history", html="<span></span>", js=JS)


def watch_links() -> None:
    """Start it, once for each time that somebody opens the pages."""
    with st.container(key="history"):
        _watch(key="history-links")
