"""Operators and a workflow that the tests of the compiler share."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import pandas as pd
import pytest

from flowlearner import (
    CompileError,
    Metric,
    Model,
    Range,
    Seed,
    operator,
    workflow,
)

calls: list[str] = []


class Parts(NamedTuple):
    train: pd.DataFrame
    test: pd.DataFrame


@operator
def split(rows: pd.DataFrame, test_size: float = 0.2, seed: Seed = None) -> Parts:
    calls.append("split")
    return Parts(rows, rows)


@operator
def train(rows: pd.DataFrame, label: str, max_depth: int, eta: float = 0.1) -> Model:
    calls.append("train")
    return None


@operator
def evaluate(model: Model, rows: pd.DataFrame, label: str) -> Metric:
    calls.append("evaluate")
    return 0.5


@operator
def total(values: list[float]) -> float:
    return sum(values)


@operator
def describe(text: str) -> str:
    return text


@operator
def maybe(rows: pd.DataFrame) -> int | None:
    return None


@operator
def count(n: int) -> int:
    return n


class Result(NamedTuple):
    model: Model
    auc: Metric


@workflow
def delays(
    rows: pd.DataFrame, label: str = "late", max_depth: Annotated[int, Range(1, 12)] = 6, eta: float = 0.1
) -> Result:
    parts = split(rows)
    model = train(parts.train, label, max_depth, eta=eta)
    return Result(model=model, auc=evaluate(model, parts.test, label))


def problems_of(definition: Any, **static: Any) -> list[Any]:
    with pytest.raises(CompileError) as caught:
        definition.compile(**static)
    return list(caught.value.problems)


def messages_of(definition: Any, **static: Any) -> str:
    return "\n".join(str(p) for p in problems_of(definition, **static))
