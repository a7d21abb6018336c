"""Small operators and a workflow that tests of the local executor share."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from flowlearner import (
    Metric,
    operator,
    workflow,
)
from tests.engine.calls import called


@operator
def load(n: int) -> pd.DataFrame:
    called("load")
    return pd.DataFrame({"x": range(n), "y": [float(i) for i in range(n)]})


@operator
def parity(n: int) -> int:
    called("parity")
    return n % 2


@operator
def mean(rows: pd.DataFrame) -> Metric:
    called("mean")
    return float(rows["y"].mean())


@operator
def add(a: float, b: float) -> float:
    called("add")
    return a + b


class Outputs(NamedTuple):
    rows: pd.DataFrame
    mean: Metric


@workflow(executor="local")
def simple(n: int = 4) -> Outputs:
    rows = load(n)
    return Outputs(rows=rows, mean=mean(rows))
