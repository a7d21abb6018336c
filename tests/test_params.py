"""Parameters of a run: names, types, ranges and completeness, checked before anything runs."""

from __future__ import annotations

from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import pyarrow as pa
import pytest

from flowlearner import (
    Choice,
    CompileError,
    File,
    Model,
    Operator,
    ParameterError,
    Range,
    Secret,
    Seed,
    Static,
    operator,
    workflow,
)
from flowlearner.interface import Param
from flowlearner.params import bind_params, parse_param
from flowlearner.spec import make_spec


class Colour(Enum):
    RED = "r"


@operator
def size(rows: pd.DataFrame, n: int) -> int:
    return len(rows) + n


@operator
def other(rows: pd.DataFrame, n: int) -> int:
    return n


@workflow
def sizes(
    rows: pd.DataFrame,
    max_depth: Annotated[int, Range(1, 12)] = 6,
    eta: float = 1,
    kind: Annotated[str, Choice(["gbtree", "dart"])] = "gbtree",
    times: Static[int] = 2,
    measure: Operator[..., Any] = size,
    seed: Seed = None,
    token: Secret = "",
    start: Model | None = None,
    file: File | None = None,
) -> int:
    return measure(rows, max_depth)  # type: ignore[no-any-return]


def bind(**given: Any) -> Any:
    return bind_params(sizes, {"rows": "flights.parquet", **given}, seed=7)


def test_what_is_left_out_keeps_its_default_as_its_declared_type() -> None:
    bound = bind()
    assert bound.values["eta"] == 1.0
    assert isinstance(bound.values["eta"], float)
    assert bound.static == {"times": 2, "measure": size}


def test_a_seed_that_is_left_out_or_none_is_that_of_the_run() -> None:
    assert bind().values["seed"] == 7
    assert bind(seed=None).values["seed"] == 7
    assert bind(seed=3).values["seed"] == 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_dept": 3}, "no parameter 'max_dept'; it takes rows, max_depth"),
        ({"max_dept": 3}, "Did you mean 'max_depth'?"),
        ({"max_depth": 13}, "'max_depth': expected a value in 1..12, found 13"),
        ({"max_depth": "4"}, "'max_depth': expected int, found str '4'"),
        ({"max_depth": 4.0}, "'max_depth': expected int, found float 4.0"),
        ({"max_depth": True}, "'max_depth': expected int, found bool True"),
        ({"max_depth": None}, "'max_depth': expected int, found None"),
        ({"kind": "drat"}, "'kind': expected one of {gbtree,dart}, found 'drat'. Did you mean 'dart'?"),
        ({"rows": 3}, "'rows': expected pandas.DataFrame, found int 3"),
        ({"measure": len}, "'measure': expected an operator"),
        ({"seed": "x"}, "'seed': expected Seed"),
        ({"start": "model.ubj"}, "'start': expected a fitted model or 'artifact:HASH', found 'model.ubj'"),
        ({"times": "2"}, "'times': expected int, found str '2'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_is_expected(given: Any, words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        bind(**given)
    assert words in str(caught.value)
    assert "workflow 'sizes'" in str(caught.value)


def test_an_operator_outside_of_its_choice_is_refused() -> None:
    @operator
    def other(rows: pd.DataFrame) -> int:
        return 0

    @workflow
    def chooses(rows: pd.DataFrame, measure: Annotated[Operator[..., Any], Choice([size])] = size) -> int:
        return measure(rows)  # type: ignore[no-any-return]

    wrong = "'measure': expected one of {size}, found the operator 'other'"
    with pytest.raises(ParameterError, match=wrong):
        bind_params(chooses, {"rows": "a.csv", "measure": other}, seed=0)
    with pytest.raises(ParameterError, match=wrong):
        chooses.compile(measure=other)

    @workflow
    def outer(rows: pd.DataFrame) -> int:
        return chooses(rows, other)

    with pytest.raises(CompileError, match=wrong):
        outer.compile()


def test_an_optional_operator_may_be_left_out() -> None:
    @workflow
    def maybe(rows: pd.DataFrame, measure: Operator[..., Any] | None = None) -> int:
        return measure(rows, 1) if measure else 0

    assert bind_params(maybe, {"rows": "a.csv"}, seed=0).static == {"measure": None}
    assert [n.name for n in maybe.compile(measure=size).nodes] == ["size"]
    assert maybe.compile(measure=None).nodes == ()

    @workflow
    def outer(rows: pd.DataFrame) -> list[int]:
        return [maybe(rows), maybe(rows, None), maybe(rows, size)]

    assert [n.name for n in outer.compile().nodes] == ["maybe_3.size"]


def test_all_mistakes_are_listed_together() -> None:
    with pytest.raises(ParameterError) as caught:
        bind_params(sizes, {"max_depth": 13, "etta": 1}, seed=0)
    text = str(caught.value)
    assert "needs a value" in text
    assert "'max_depth'" in text
    assert "Did you mean 'eta'?" in text


def test_a_table_may_be_a_path_a_url_an_artifact_or_a_table_of_either_kind() -> None:
    frame = pd.DataFrame({"a": [1]})
    table = pa.Table.from_pandas(frame)
    assert bind(rows=Path("a/b.csv")).values["rows"] == "a/b.csv"
    assert bind(rows="s3://b/c.parquet").values["rows"] == "s3://b/c.parquet"
    assert bind(rows=frame).values["rows"] is frame
    assert bind(rows=table).values["rows"] is table


def test_an_artifact_may_stand_for_any_value_but_text() -> None:
    assert bind(start="artifact:abc").values["start"] == "artifact:abc"
    assert bind(max_depth="artifact:abc").values["max_depth"] == "artifact:abc"
    with pytest.raises(ParameterError):
        bind(kind="artifact:abc")


def test_secrets_are_named_so_that_nobody_records_them() -> None:
    assert bind(token="hush").secrets == {"token"}


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (int, "-4", -4),
        (int, "10_000", 10_000),
        (float, "1e-3", 0.001),
        (bool, "yes", True),
        (bool, "Off", False),
        (str, "none", "none"),
        (int | None, "none", None),
        (int | str, "3", 3),
        (int | str, "x", "x"),
        (Literal["a", 2], "2", 2),
        (date, "2013-01-31", date(2013, 1, 31)),
        (Path, "a/b", Path("a/b")),
        (Colour, "RED", Colour.RED),
        (Colour, "r", Colour.RED),
        (list[int], "[1, 2]", [1, 2]),
        (tuple[int, ...], "[1, 2]", (1, 2)),
        (dict[str, float], '{"a": 1}', {"a": 1}),
        (Any, "[1, 'a']", [1, "a"]),
        (Any, "plain words", "plain words"),
        (pd.DataFrame, "a.csv", "a.csv"),
        (Secret, "artifact:x", "artifact:x"),
        (str, "artifact:x", "artifact:x"),
        (int, "artifact:x", "artifact:x"),
        (Annotated[float, Choice([0.1, 0.5])], "0.10", 0.1),
        (Annotated[Colour, Choice([Colour.RED])], "RED", Colour.RED),
    ],
)
def test_text_becomes_a_value_of_the_declared_type(hint: Any, text: str, value: Any) -> None:
    found = parse_param(Param("x", make_spec(hint)), text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("hint", "text", "words"),
    [
        (int, "4.5", "expected int, found '4.5'"),
        (int, "", "expected int, found ''"),
        (float, "fast", "expected float, found 'fast'"),
        (bool, "maybe", "expected bool, found 'maybe'"),
        (date, "31.1.2013", "expected date"),
        (Colour, "BLUE", "expected one of RED, found 'BLUE'"),
        (list[int], "1, 2", "expected list[int], found '1, 2'"),
        (Literal["a"], "b", "expected Literal['a'], found 'b'"),
        (Annotated[int, Choice([1, 2])], "x", "expected one of {1,2}, found 'x'"),
    ],
)
def test_text_that_is_no_value_of_the_type_is_refused(hint: Any, text: str, words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_param(Param("x", make_spec(hint)), text)
    assert words in str(caught.value)
