"""How a run fares, in colour and words."""

from __future__ import annotations

from typing import Any

import streamlit as st

COLORS = {
    "PENDING": "gray",
    "RUNNING": "blue",
    "COMPLETED": "green",
    "FAILED": "red",
    "SKIPPED": "gray",
    "CANCELLED": "orange",
    "CRASHED": "red",
    "PRUNED": "violet",
}
ICONS = {
    "PENDING": ":material/schedule:",
    "RUNNING": ":material/progress_activity:",
    "COMPLETED": ":material/check_circle:",
    "FAILED": ":material/error:",
    "SKIPPED": ":material/skip_next:",
    "CANCELLED": ":material/block:",
    "CRASHED": ":material/bolt:",
    "PRUNED": ":material/content_cut:",
}
VERDICT_COLORS = {"REPRODUCED": "green", "DRIFTED": "red", "ENVIRONMENT-CHANGED": "orange"}
OPEN = ("PENDING", "RUNNING")


def show_status(status: str) -> None:
    """Draw a status."""
    st.badge(status.capitalize(), icon=ICONS[status], color=_color(status))


def show_verdict(verdict: str) -> None:
    """Draw a verdict on whether a run reproduces."""
    color: Any = VERDICT_COLORS.get(verdict, "gray")
    st.badge(verdict.capitalize(), icon=":material/verified:", color=color)


def make_status_column() -> Any:
    """Return how a column of statuses is drawn in a table; its cells are lists of one."""
    return st.column_config.MultiselectColumn(
        "Status", options=list(COLORS), color=list(COLORS.values()), width="small"
    )


def _color(status: str) -> Any:
    return COLORS[status]
