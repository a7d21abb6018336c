"""Charts that several pages draw. Data have names of our own, since a user's may mean something to Vega."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from ui.components.text import cut, plain

HEIGHT = 260
SMALL_HEIGHT = 190
IN_A_ROW = 3
LONGEST_TITLE = 60


def make_count_axis(name: str, title: str) -> Any:
    """Return an axis of whole numbers."""
    return alt.X(
        f"{name}:Q", title=title, axis=alt.Axis(format="d", tickMinStep=1), scale=alt.Scale(nice=False)
    )


def make_number_axis(name: str, title: str) -> Any:
    """Return an axis of numbers that need not begin at zero."""
    return alt.Y(f"{name}:Q", title=cut(title, LONGEST_TITLE), scale=alt.Scale(zero=False))


def show_chart(chart: Any, alt_text: str, height: int = HEIGHT) -> None:
    """Draw a chart of the usual size."""
    st.altair_chart(chart.properties(height=height), alt=alt_text)


def show_curve(
    points: pd.DataFrame, name: str, height: int = SMALL_HEIGHT, *, with_title: bool = True
) -> None:
    """Draw one metric against its steps, a line for each `run`."""
    several = points["run"].nunique() > 1
    chart = (
        alt.Chart(points)
        .mark_line(point=alt.OverlayMarkDef(size=18) if len(points) < 100 else False)
        .encode(
            x=make_count_axis("step", "step"),
            y=make_number_axis("value", name if with_title else ""),
            color=alt.Color("run:N", legend=alt.Legend(title=None, orient="top"))
            if several
            else alt.Undefined,
            tooltip=["run:N", "step:Q", "value:Q"] if several else ["step:Q", "value:Q"],
        )
    )
    show_chart(chart, f"{cut(name, LONGEST_TITLE)} by step", height)


def show_curves(points: pd.DataFrame, names: Sequence[str]) -> None:
    """Draw metrics side by side, each on a scale of its own."""
    for first in range(0, len(names), IN_A_ROW):
        for place, name in zip(st.columns(IN_A_ROW), names[first : first + IN_A_ROW], strict=False):
            with place:
                st.caption(plain(name, LONGEST_TITLE))
                show_curve(points[points["metric"] == name], name, with_title=False)


def show_scatter(data: pd.DataFrame, x: str, y: str, color: Any = None) -> None:
    """Draw column `x` against column `y`; `label` names each point."""
    chart = (
        alt.Chart(data)
        .mark_circle(size=70, opacity=0.8)
        .encode(
            x=alt.X("x", title=cut(x, LONGEST_TITLE), scale=alt.Scale(zero=False))
            if pd.api.types.is_numeric_dtype(data["x"])
            else alt.X("x:N", title=cut(x, LONGEST_TITLE)),
            y=alt.Y("y", title=cut(y, LONGEST_TITLE), scale=alt.Scale(zero=False))
            if pd.api.types.is_numeric_dtype(data["y"])
            else alt.Y("y:N", title=cut(y, LONGEST_TITLE)),
            tooltip=[
                alt.Tooltip("label:N", title="run"),
                alt.Tooltip("x", title="x"),
                alt.Tooltip("y", title="y"),
            ],
            **({} if color is None else {"color": color}),
        )
    )
    show_chart(chart, f"{cut(y, LONGEST_TITLE)} against {cut(x, LONGEST_TITLE)}")


def show_parallel(lines: pd.DataFrame, names: Sequence[str], metric: str) -> None:
    """Draw what `frames.make_parallel` gives: a line for each run, across columns each with its scale."""
    chart = (
        alt.Chart(lines)
        .mark_line(opacity=0.55)
        .encode(
            x=alt.X("name:N", sort=list(names), title=None, axis=alt.Axis(labelAngle=0, labelLimit=160)),
            y=alt.Y(
                "place:Q", title=None, axis=alt.Axis(labels=False, ticks=False, grid=False, domain=False)
            ),
            detail="label:N",
            color=alt.Color(
                "value:Q",
                title=cut(metric, LONGEST_TITLE),
                scale=alt.Scale(scheme="viridis"),
                legend=alt.Legend(orient="right", gradientLength=160),
            ),
            tooltip=[alt.Tooltip("label:N", title="run"), "name:N", "shown:N"],
        )
    )
    show_chart(chart, "Parallel coordinates")
