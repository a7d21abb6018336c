"""What a declared type takes: between nodes by its type, and for a value that is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from flowlearner import Choice, Columns, File, Metric, Model, Range, Secret, Seed
from flowlearner.spec import Mismatch, conform, explain_columns, explain_mismatch, make_spec, type_text

Rows = NewType("Rows", int)


class Colour(Enum):
    RED = "r"


class Pair(NamedTuple):
    left: int
    right: float


@pytest.mark.parametrize(
    ("produced", "expected", "fits"),
    [
        (int, int, True),
        (int, float, True),
        (float, int, False),
        (bool, int, False),
        (bool, float, False),
        (int, bool, False),
        (str, Path, False),
        (int, int | None, True),
        (int | None, int, False),
        (int | None, int | None, True),
        (int, int | str, True),
        (int | str, int, False),
        (int | str, float | str, True),
        (Literal["a"], str, True),
        (Literal["a"], Literal["a", "b"], True),
        (Literal["a", "c"], Literal["a", "b"], False),
        (str, Literal["a"], False),
        (list[int], list[float], True),
        (list[str], list[float], False),
        (list[int], Sequence[float], True),
        (list[int | None], list[int], False),
        (dict[str, int], Mapping[str, float], True),
        (dict[str, int], dict[int, int], False),
        (tuple[int, str], tuple[int, str], True),
        (tuple[int, str], tuple[int, ...], False),
        (tuple[int, int], tuple[float, ...], True),
        (tuple[int, ...], tuple[int, int], False),
        (tuple[int, ...], Sequence[float], True),
        (list, list[int], True),
        (pd.DataFrame, pa.Table, True),
        (pd.DataFrame, pd.Series, False),
        (Metric, float, True),
        (Metric, int, False),
        (int, Metric, True),
        (Model, LogisticRegression, True),
        (LogisticRegression, Model, True),
        (Model, pd.DataFrame, False),
        (Model, float, False),
        (dict, Model, False),
        (Path, Model, False),
        (np.ndarray, Model, False),
        (Model, pd.Series, False),
        (File, File, True),
        (str, File, False),
        (File, str, False),
        (Seed, int, True),
        (int, Seed, True),
        (Rows, int, True),
        (int, Rows, True),
        (Rows, str, False),
        (int, Any, True),
        (int, object, True),
        (Secret, Secret, True),
        (Secret, str, False),
        (Secret, Any, False),
        (str, Secret, False),
        (Colour, str, False),
        (Pair, tuple, True),
    ],
)
def test_what_may_be_given_for_a_declared_type(produced: Any, expected: Any, fits: bool) -> None:
    assert (explain_mismatch(make_spec(produced), make_spec(expected)) is None) is fits


@pytest.mark.parametrize(
    ("produced", "expected", "words"),
    [
        (Columns(age=int, city=str), Columns(label=float), "Missing: label"),
        (Columns(age=int), Columns(agee=int), "Did you mean 'age'"),
        (Columns(age=str), Columns(age=float), "age is str, expected float"),
        (Columns(age=int), Columns(age=float), None),
        (Columns("age"), Columns(age=float), None),
        (Columns(age=int, city=str), Columns("age"), None),
    ],
)
def test_the_columns_of_a_producer_are_all_that_there_are(
    produced: Columns, expected: Columns, words: str | None
) -> None:
    reason = explain_columns(
        make_spec(Annotated[pd.DataFrame, produced]), make_spec(Annotated[pd.DataFrame, expected]), "'load'"
    )
    assert reason is None if words is None else reason is not None and words in reason


@pytest.mark.parametrize(
    ("value", "hint", "result"),
    [
        (3, float, 3.0),
        (np.int64(3), int, 3),
        (np.float32(0.5), float, 0.5),
        (np.bool_(True), bool, True),
        (np.str_("a"), str, "a"),
        ([1, 2], list[float], [1.0, 2.0]),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        ((1, "a"), tuple[float, str], (1.0, "a")),
        (None, int | None, None),
        (3, int | str, 3),
        ("a", Literal["a", "b"], "a"),
        (Pair(1, 2.0), Pair, Pair(1, 2.0)),
    ],
)
def test_a_value_becomes_its_declared_type(value: Any, hint: Any, result: Any) -> None:
    found = conform(value, make_spec(hint))
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        ("3", int, "expected int, found str '3'"),
        (3.5, int, "expected int, found float 3.5"),
        (True, int, "expected int, found bool True"),
        (True, float, "expected float, found bool True"),
        (None, int, "expected int, found None"),
        ([1, "a"], list[int], r"value\[1\]: expected int, found str 'a'"),
        ({"a": "b"}, dict[str, int], r"value\['a'\]: expected int"),
        ((1,), tuple[int, int], "of 2 items, found 1"),
        (13, Annotated[int, Range(1, 12)], r"expected a value in 1\.\.12, found 13"),
        (
            "dartt",
            Annotated[str, Choice(["gbtree", "dart"])],
            "expected one of {gbtree,dart}, found 'dartt'. Did",
        ),
        ("c", Literal["a", "b"], "expected one of 'a', 'b', found 'c'"),
        (pd.DataFrame(), int, "expected int, found pandas.DataFrame$"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_place(value: Any, hint: Any, message: str) -> None:
    with pytest.raises(Mismatch, match=message):
        conform(value, make_spec(hint))


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (pd.DataFrame, "pandas.DataFrame"),
        (pa.Table, "pyarrow.Table"),
        (int | None, "int | None"),
        (list[float], "list[float]"),
        (Literal["a", 1], "Literal['a', 1]"),
        (Model, "Model"),
        (Metric, "Metric"),
        (Seed, "Seed"),
        (dict[str, Metric], "dict[str, Metric]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (None, "None"),
        (Any, "Any"),
    ],
)
def test_a_type_reads_as_people_write_it(hint: Any, text: str) -> None:
    assert type_text(hint) == text
