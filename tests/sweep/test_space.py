"""The space of a sweep: what may be given, every mistake told at once, conditions, and its points."""

from __future__ import annotations

import itertools
import pickle
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlearner import (
    Choice,
    File,
    LogRange,
    Metric,
    Operator,
    Range,
    Secret,
    Seed,
    Static,
    operator,
    workflow,
)
from flowlearner.errors import InputError, ParameterError
from flowlearner.sweep.space import Dimension, Space, make_space


class Color(Enum):
    RED = 1
    BLUE = 2


@operator
def first(x: float) -> float:
    return x


@operator
def second(x: float) -> float:
    return -x


@workflow
def flow(
    needed: float,
    depth: Annotated[int, Range(1, 10)] = 3,
    rate: Annotated[float, LogRange(0.01, 0.5)] = 0.1,
    few: Annotated[int, Choice([1, 5])] = 1,
    x: float = 1.0,
    n: int = 0,
    flag: bool = True,
    odd: int | bool = 0,
    color: Color = Color.RED,
    name: str | None = None,
    maybe: int | None = None,
    booster: Annotated[str, Choice(["gbtree", "dart"])] = "gbtree",
    drop: Annotated[float, Range(0, 0.5, when={"booster": "dart"})] = 0.0,
    layers: Static[int] = 1,
    op: Operator = first,
    seed: Seed = None,
    token: Secret = "none",
    data: File = "none.csv",
    rows: pd.DataFrame | None = None,
) -> Metric:
    return op(x)


def describe(given: Any, **fixed: Any) -> dict[str, str]:
    return make_space(flow, given, fixed).describe()


@pytest.mark.parametrize(
    ("given", "described"),
    [
        ({"depth": "2..10"}, {"depth": "2..10"}),
        ({"depth": Range(2.0, 8.0, 2.0)}, {"depth": "2..8:2"}),
        ({"depth": "1e0..1e1"}, {"depth": "1..10"}),
        ({"rate": LogRange(0.01, 0.1)}, {"rate": "log(0.01,0.1)"}),
        ({"n": LogRange(1, 1000)}, {"n": "log(1,1000)"}),
        ({"n": Range(3, 3)}, {"n": "3..3"}),
        ({"x": [1, 2.5]}, {"x": "{1.0,2.5}"}),
        ({"x": {0.5, 0.25}}, {"x": "{0.25,0.5}"}),
        ({"odd": [0, False, 1, True]}, {"odd": "{0,False,1,True}"}),
        ({"color": list(Color)}, {"color": "{RED,BLUE}"}),
        ({"name": ["a", None, "None", "a,b"]}, {"name": "{a,None,'None','a,b'}"}),
        ({"maybe": "{None,3}"}, {"maybe": "{None,3}"}),
        ({"maybe": Range(0, 3)}, {"maybe": "0..3"}),
        ({"layers": "1..3"}, {"layers": "1..3"}),
        ({"op": Choice([first, second])}, {"op": "{first,second}"}),
        ({"op": "{first,second}"}, {"op": "{first,second}"}),
        ({"seed": Range(0, 9)}, {"seed": "0..9"}),
        ({"depth": None}, {"depth": "1..10"}),
        (["depth", "rate"], {"depth": "1..10", "rate": "log(0.01,0.5)"}),
        ({"x": Range(0, 1, when={"n": 1}), "n": [0, 1]}, {"n": "{0,1}", "x": "0..1 when n=1"}),
        (
            {"x": "0..1 when op=second", "op": [first, second]},
            {"op": "{first,second}", "x": "0..1 when op=second"},
        ),
        (
            {"x": Range(0, 1, when={"color": "RED"}), "color": list(Color)},
            {"color": "{RED,BLUE}", "x": "0..1 when color=RED"},
        ),
        ({"n": "1..3 when x=1", "x": [1, 2]}, {"x": "{1.0,2.0}", "n": "1..3 when x=1.0"}),
        (
            {"n": {"space": "1..3", "when": {"flag": [True]}}, "flag": [True, False]},
            {"flag": "{True,False}", "n": "1..3 when flag=True"},
        ),
        (
            {"n": "1..3 when name=None", "name": [None, "a"]},
            {"name": "{None,a}", "n": "1..3 when name=None"},
        ),
    ],
)
def test_a_domain_is_given_in_many_ways_and_said_in_one(given: Any, described: dict[str, str]) -> None:
    assert describe(given) == described


def test_without_a_space_all_declared_ranges_vary_that_are_not_fixed() -> None:
    assert describe(None, depth=3, few=1) == {
        "rate": "log(0.01,0.5)",
        "booster": "{gbtree,dart}",
        "drop": "0..0.5 when booster=dart",
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "it is empty: nothing varies"),
        ("depth", "expected domains by name"),
        ({"detph": "1..2"}, "no parameter 'detph'.* Did you mean 'depth'"),
        ({"needed": "0..1"}, "'needed' is both fixed and in the space; leave one out"),
        ({"x": None}, "'x': the workflow declares no range for it"),
        ({"x": 0.5}, "expected a Range, .* found 0.5; what does not vary is given beside the space"),
        ({"depth": "1..20"}, "'depth': expected a value in 1..10, found 20"),
        ({"depth": [0, 11]}, "found 0; expected a value in 1..10, found 11"),
        ({"few": Range(1, 5)}, r"the workflow takes one of \{1,5\}; give a list of them, not 1..5"),
        ({"n": Range(0, 1, 0.5)}, "no whole numbers, but it is int"),
        ({"n": LogRange(0.5, 10)}, "no whole numbers, but it is int"),
        ({"name": "1..2"}, r"a range of numbers does not fit str \| None; give a list of values"),
        ({"flag": "0..1"}, "a range of numbers does not fit bool"),
        ({"flag": [0, 1]}, "expected bool, found int 0; expected bool, found int 1"),
        ({"x": [1, 1.0]}, "1.0 is in the list twice"),
        ({"token": ["a", "b"]}, "a Secret is recorded nowhere, so it cannot vary"),
        ({"op": [first, len]}, "expected an operator"),
        ({"n": {"space": "1..2", "wen": {}}}, "'space' and 'when', found 'wen'. Did you mean 'when'"),
        ({"n": "1..2 when flga=1"}, "its condition 'flga' is no parameter"),
        ({"n": "1..2 when flag=true"}, "its condition 'flag' is not in the space, so it does not vary"),
        ({"n": "1..2 when needed=1"}, "its condition 'needed' is a fixed parameter"),
        ({"n": "1..2 when x=1", "x": "0..1"}, "'x' must vary over a list of values, found 0..1"),
        (
            {"n": "1..2 when booster=dat", "booster": None},
            "'booster' is one of {gbtree,dart}, never dat. Did you mean 'dart'",
        ),
        (
            {"n": "{1,2} when x=1", "x": "{1,2} when n=1"},
            "the conditions of n, x depend on each other in a circle",
        ),
        ({"n": "{1,2} when n=1"}, "the conditions of n depend on each other in a circle"),
    ],
)
def test_a_mistake_in_the_space_is_told_with_the_parameter(given: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message) as raised:
        make_space(flow, given, {"needed": 1.0})
    assert str(raised.value).startswith("workflow 'flow', space: ")


def test_all_mistakes_of_a_space_are_told_at_once() -> None:
    given = {"depth": "9..1", "zz": "1..2", "rate": "log(0,1)", "x": "0..1 when depth=1", "few": [1, 2]}
    with pytest.raises(ParameterError) as raised:
        make_space(flow, given, {})
    message = str(raised.value)
    for part in ("Range(9, 1)", "'zz'", "LogRange(0, 1)", "found 2"):
        assert part in message
    # Its condition cannot be judged before 'depth' is mended.
    assert "'x'" not in message


def test_what_varies_under_a_condition_needs_a_default() -> None:
    with pytest.raises(ParameterError, match="'needed' varies under a condition, so it needs a default"):
        make_space(flow, {"needed": "0..1 when booster=dart", "booster": None}, {})


def test_files_of_the_space_are_looked_for_before_anything_runs(tmp_path: Path) -> None:
    there = tmp_path / "a.csv"
    there.write_text("x\n1\n")
    given = {"data": [there, tmp_path / "b.csv"], "rows": [str(there), str(tmp_path / "c.csv")]}
    with pytest.raises(InputError, match=r"no file '.*b.csv'.*no file '.*c.csv'"):
        make_space(flow, given, {})
    space = make_space(flow, {"data": [str(there)], "rows": [str(there)]}, {})
    assert space.count_points() == 1


def test_tables_in_memory_may_be_listed() -> None:
    tables = [pd.DataFrame({"x": [1, 2]}), pd.DataFrame({"x": [1, 2]})]
    space = make_space(flow, {"rows": tables}, {})
    assert space.get_point(1)["rows"] is tables[1]
    assert space.dimensions[0].index_of(tables[1]) == 1
    assert space.describe() == {"rows": "{<DataFrame>,<DataFrame>}"}


# Points


@pytest.mark.parametrize(
    ("dimension", "values"),
    [
        (Dimension("x", Range(1, 10, 4), True), [1, 5, 9]),
        (Dimension("x", Range(-5, -1, 3), True), [-5, -2]),
        (Dimension("x", Range(0.1, 0.9, 0.2)), [0.1, 0.3, 0.5, 0.7, 0.9]),
        (Dimension("x", Range(0, 1, 0.3)), [0.0, 0.3, 0.6, 0.9]),
        (Dimension("x", Range(1e-7, 3e-7, 1e-7)), [1e-7, 2e-7, 3e-7]),
        (Dimension("x", Range(0.1234567890123456, 1, 5)), [0.1234567890123456]),
        (Dimension("x", Range(2, 2), True), [2]),
        (Dimension("x", LogRange(1, 4), True), [1, 2, 3, 4]),
        (Dimension("x", Choice([True, 1, None, "a"])), [True, 1, None, "a"]),
    ],
)
def test_a_finite_dimension_has_exactly_the_values_that_were_written(
    dimension: Dimension, values: list[Any]
) -> None:
    assert dimension.count == len(values)
    found = [dimension.value_at(i) for i in range(len(values))]
    assert [(type(v), v) for v in found] == [(type(v), v) for v in values]
    assert [dimension.index_of(v) for v in values] == list(range(len(values)))


def test_a_value_that_is_none_of_a_list_has_no_place() -> None:
    with pytest.raises(ValueError, match=r"True is none of \{1,2\}"):
        Dimension("x", Choice([1, 2])).index_of(True)


def test_counts_are_exact_beyond_what_a_float_holds() -> None:
    seeds = Dimension("seed", Range(0, 2**63 - 1), True)
    assert seeds.count == 2**63
    assert seeds.value_at(2**63 - 1) == 2**63 - 1
    assert seeds.index_of(2**63 - 1) == 2**63 - 1


def test_a_grid_larger_than_memory_is_found_by_number() -> None:
    space = Space(tuple(Dimension(name, Range(0, 999), True) for name in "abc"))
    assert space.count_points() == 10**9
    assert space.get_point(123_456_789) == {"a": 123, "b": 456, "c": 789}
    assert space.get_point(10**9 - 1) == {"a": 999, "b": 999, "c": 999}


def test_a_large_grid_with_conditions_is_found_by_number() -> None:
    number = Range(1, 10**6)
    space = Space(
        (
            Dimension("kind", Choice(["small", "large"])),
            Dimension("a", number, True, (("kind", ("large",)),)),
            Dimension("b", number, True, (("kind", ("large",)),)),
        )
    )
    assert space.count_points() == 1 + 10**12
    assert space.get_point(0) == {"kind": "small"}
    assert space.get_point(1) == {"kind": "large", "a": 1, "b": 1}
    assert space.get_point(10**12) == {"kind": "large", "a": 10**6, "b": 10**6}


def test_a_continuous_range_has_no_count() -> None:
    assert Space((Dimension("n", Range(0, 1), True), Dimension("x", Range(0, 1)))).count_points() is None


def test_conditions_reach_through_chains() -> None:
    space = make_space(
        flow,
        {
            "n": "{1,2} when booster=dart",
            "x": "{1,2} when n=2",
            "booster": None,
            "flag": "{true,false}",
        },
        {},
    )
    points = list(space.iter_points())
    assert len(points) == space.count_points() == 2 * (1 + 1 + 2)
    assert {tuple(p) for p in points} == {
        ("booster", "flag"),
        ("booster", "flag", "n"),
        ("booster", "flag", "n", "x"),
    }
    assert all(("x" in p) == (p.get("n") == 2) for p in points)


@st.composite
def domains(draw: Any) -> tuple[Any, bool]:
    kind = draw(st.sampled_from(["int", "float", "int step", "float step", "log", "int log", "choice"]))
    if kind == "choice":
        return Choice(draw(st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True))), False
    is_int = kind.startswith("int")
    numbers = (
        st.integers(-(2**62), 2**62)
        if is_int
        else st.floats(-1e100, 1e100, allow_nan=False, allow_subnormal=False)
    )
    if kind.endswith("log"):
        numbers = st.integers(1, 2**62) if is_int else st.floats(1e-100, 1e100)
    low, high = sorted((draw(numbers), draw(numbers)))
    if kind.endswith("log"):
        return LogRange(low, high), is_int
    if kind.endswith("step"):
        step = st.integers(1, 2**62) if is_int else st.floats(1e-9, 1e100)
        return Range(low, high, draw(step)), is_int
    return Range(low, high), is_int


@given(domains(), st.floats(0, 1, exclude_max=True))
def test_a_value_at_any_share_lies_in_its_domain(drawn: tuple[Any, bool], share: float) -> None:
    domain, is_int = drawn
    dimension = Dimension("x", domain, is_int)
    value = dimension.value_of(share)
    assert domain.contains(value)
    assert isinstance(domain, Choice) or type(value) is (int if is_int else float)


@given(domains(), st.data())
def test_each_place_of_a_finite_domain_has_a_value_in_it_and_leads_back(
    drawn: tuple[Any, bool], data: Any
) -> None:
    domain, is_int = drawn
    dimension = Dimension("x", domain, is_int)
    if dimension.count is None:
        return
    for index in (0, dimension.count - 1, data.draw(st.integers(0, dimension.count - 1))):
        value = dimension.value_at(index)
        assert domain.contains(value)
        if is_int or isinstance(domain, Choice):
            assert dimension.index_of(value) == index


@given(
    st.integers(-2, 14), st.integers(-2, 14), st.none() | st.integers(1, 5), st.floats(0, 1, exclude_max=True)
)
def test_a_point_lies_in_the_bounds_of_the_workflow_or_its_space_is_refused(
    low: int, high: int, step: int | None, share: float
) -> None:
    given = {"depth": f"{low}..{high}" + (f":{step}" if step else ""), "rate": f"log({abs(low) + 1}e-2,0.5)"}
    try:
        space = make_space(flow, given, {})
    except ParameterError:
        assert low > high or low < 1 or high > 10
        return
    point = space.point_of([share, share])
    assert 1 <= low <= point["depth"] <= high <= 10
    assert 0.01 <= point["rate"] <= 0.5


@st.composite
def conditional_spaces(draw: Any) -> Space:
    dimensions: list[Dimension] = []
    for i in range(draw(st.integers(1, 5))):
        values = list(range(draw(st.integers(1, 3))))
        when: tuple[Any, ...] = ()
        for other in draw(st.sets(st.sampled_from(dimensions), max_size=2)) if dimensions else ():
            assert isinstance(other.domain, Choice)
            chosen = draw(st.sets(st.sampled_from(other.domain.values), min_size=1))
            when += ((other.name, tuple(chosen)),)
        dimensions.append(Dimension(f"p{i}", Choice(values), False, when))
    return Space(tuple(dimensions))


@given(conditional_spaces())
def test_points_of_a_conditional_grid_are_those_of_the_product_that_differ(space: Space) -> None:
    expected: list[dict[str, Any]] = []
    for values in itertools.product(*(d.domain.values for d in space.dimensions)):  # type: ignore[union-attr]
        point: dict[str, Any] = {}
        for dimension, value in zip(space.dimensions, values, strict=True):
            if dimension.is_active(point):
                point[dimension.name] = value
        if point not in expected:
            expected.append(point)
    assert space.count_points() == len(expected)
    assert list(space.iter_points()) == expected


def test_a_space_travels_by_pickle() -> None:
    space = make_space(flow, {"n": Range(0, 4, when={"booster": "dart"}), "booster": None}, {})
    space.count_points()
    assert pickle.loads(pickle.dumps(space)) == space
