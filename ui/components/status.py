"""How a run fares, in colour and words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import altair as alt
import streamlit as st

STATUS_WIDTH = 118
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
# Told apart on white and on black.
CHART_COLORS = {
    "PENDING": "#8a8f98",
    "RUNNING": "#3b82f6",
    "COMPLETED": "#2a9d63",
    "FAILED": "#dc4c4c",
    "SKIPPED": "#a3a8b0",
    "CANCELLED": "#e08a2e",
    "CRASHED": "#a83232",
    "PRUNED": "#8f6fd6",
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
        "Status", options=list(COLORS), color=list(COLORS.values()), width=STATUS_WIDTH
    )


def make_status_color(found: Iterable[str]) -> Any:
    """Return how marks of a chart are coloured by the column `status`, with a legend of those that it has."""
    shown = [s for s in CHART_COLORS if s in set(found)]
    return alt.Color(
        "status:N",
        scale=alt.Scale(domain=shown, range=[CHART_COLORS[s] for s in shown]),
        legend=alt.Legend(title=None, orient="top") if len(shown) > 1 else None,
    )


def _color(status: str) -> Any:
    return COLORS[status]
