"""Workflows whose runs have everything that a page can show, and what nobody should have put into one."""

from __future__ import annotations

import math
from typing import NamedTuple

import altair as alt
import pandas as pd
from sklearn.linear_model import LinearRegression

from flowlearner import Metric, Model, operator, report, workflow

HOSTILE = (
    "<script>window.hacked = 1</script> <img src=x onerror='window.hacked = 1'> **b** :red[x] $x$ [a](b) `c`"
)


@operator
def load(n: int) -> pd.DataFrame:
    """Make rows.

    Args:
        n: how many.
    """
    print(f"{n} rows")
    return pd.DataFrame(
        {"x": range(n), "y": [2.0 * i + i % 3 for i in range(n)], "team": ["a", "b"] * (n // 2)}
    )


@operator
def fit(rows: pd.DataFrame, rate: float, rounds: int) -> Model:
    """Fit a line."""
    for step in range(rounds):
        report(step=step, loss=rate / (step + 1), accuracy=step / rounds)
    return LinearRegression().fit(rows[["x"]], rows["y"])


@operator
def judge(model: Model, rows: pd.DataFrame, rate: float) -> Metric:
    """Judge a line."""
    return float(model.score(rows[["x"]], rows["y"])) - rate


@operator
def draw(rows: pd.DataFrame) -> alt.Chart:
    return alt.Chart(rows).mark_point().encode(x="x:Q", y="y:Q")


@operator
def describe(rows: pd.DataFrame) -> str:
    return f"{len(rows)} rows"


class Line(NamedTuple):
    rows: pd.DataFrame
    model: Model
    score: Metric
    chart: alt.Chart
    words: str


@workflow(executor="local")
def line(n: int = 20, rate: float = 0.1, rounds: int = 5) -> Line:
    """Fit a line to rows.

    Args:
        n: how many rows.
        rate: learning rate.
        rounds: how often it reports.
    """
    rows = load(n)
    model = fit(rows, rate, rounds)
    return Line(
        rows=rows, model=model, score=judge(model, rows, rate), chart=draw(rows), words=describe(rows)
    )


class Two(NamedTuple):
    gain: Metric
    cost: Metric


@operator
def weigh(size: int) -> Two:
    return Two(gain=math.sqrt(size), cost=float(size))


@workflow(executor="local")
def weighing(size: int = 3) -> Two:
    return weigh(size)


@operator
def refuse(text: str) -> str:
    raise ValueError(text)


@operator
def keep(text: str) -> str:
    return text


@workflow(executor="local")
def failing(text: str = HOSTILE) -> str:
    return keep(refuse(text))


@operator
def go_wrong(n: int) -> Metric:
    report(step=0, loss=1.0)
    report(step=1, loss=math.nan)
    report(step=2, loss=math.inf)
    return math.nan


@workflow(executor="local")
def unbounded(n: int = 1) -> Metric:
    return go_wrong(n)
