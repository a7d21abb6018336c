"""Graphs: static values, outputs, names of nodes, and the JSON form."""

from __future__ import annotations

import json
import linecache
import os
import subprocess
import sys
import time
from typing import Annotated, Any, NamedTuple

import pandas as pd
import pytest

from flowlearner import (
    Metric,
    ParameterError,
    Range,
    Secret,
    Static,
    operator,
    workflow,
)
from flowlearner.definition import CompileWarning
from flowlearner.graph import Literal, NodeRef, ParamRef
from tests.compiling import (
    Result,
    count,
    delays,
    describe,
    evaluate,
    messages_of,
    problems_of,
    split,
    total,
    train,
)

# Static values


def test_a_static_parameter_of_an_operator_or_nested_workflow_takes_no_future() -> None:
    @operator
    def repeat(n: int, times: Static[int] = 2) -> int:
        return n * times

    @workflow
    def many(n: int, times: Static[int] = 2) -> float:
        return total([count(n) for _ in range(times)])

    @workflow
    def wrong(n: int) -> float:
        return total([repeat(n, times=count(n)), many(n, times=count(n)), many(n, "3")])  # type: ignore[arg-type]

    found = problems_of(wrong)
    assert [(p.kind, p.node) for p in found] == [
        ("static", "repeat"),
        ("static", "many"),
        ("value", "many_2"),
    ]


def test_a_static_value_out_of_its_range_does_not_compile() -> None:
    @workflow
    def many(n: int, times: Annotated[Static[int], Range(1, 3)] = 2) -> float:
        return total([count(n) for _ in range(times)])

    with pytest.raises(ParameterError, match=r"expected a value in 1\.\.3, found 4"):
        many.compile(times=4)
    with pytest.raises(ParameterError, match="no parameter 'tims'.*Did you mean 'times'"):  # noqa: RUF043
        many.compile(tims=4)
    with pytest.raises(ParameterError, match="'n' is a future while compiling"):
        many.compile(n=4)


def test_each_static_value_compiles_a_graph_of_its_own() -> None:
    @workflow
    def many(n: int, times: Static[int] = 2) -> float:
        return total([count(n) for _ in range(times)])

    small, large = many.compile(times=1), many.compile(times=3)
    assert (small.static, large.static) == ({"times": 1}, {"times": 3})
    assert [n.name for n in large.nodes] == ["count", "count_2", "count_3", "total"]
    assert [n.name for n in many.compile(times=1).nodes] == [n.name for n in small.nodes]


def test_map_over_a_future_or_lists_of_different_lengths_says_what_to_do() -> None:
    @workflow
    def maps(n: int, m: int) -> float:
        total(count.map(n))
        return total(train.map([1, 2], "late", max_depth=[1, 2, 3]))  # type: ignore[arg-type]

    first, second = problems_of(maps)
    assert "take it from a Static parameter" in first.message
    assert "equal length, found rows: 2, max_depth: 3" in second.message


# Outputs


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda rows, n: None, "declares Result(model, auc) but returns nothing"),
        (lambda rows, n: count(n), "but returns 'count' (int). Return Result(model=..., auc=...)."),
        (lambda rows, n: (count(n), 1, 2), "but returns a tuple of 3"),
        (lambda rows, n: split(rows), "declares model, auc; returns train, test; missing: model, auc"),
        (lambda rows, n: {"model": n, "auk": 0.5}, "missing: auc; undeclared: auk"),
        (lambda rows, n: Result(model=n, auc=describe("x")), "output 'auc' expects Metric but gets str"),
    ],
)
def test_what_a_workflow_returns_is_held_against_what_it_declares(returned: Any, words: str) -> None:
    @workflow
    def wrong(rows: pd.DataFrame, n: int) -> Result:
        return returned(rows, n)  # type: ignore[no-any-return]

    assert words in messages_of(wrong)


def test_a_workflow_may_return_parameters_literals_and_nothing() -> None:
    class Mixed(NamedTuple):
        given: int
        written: float
        empty: str | None
        made: int

    @workflow
    def mixed(n: int) -> Mixed:
        return Mixed(given=n, written=3, empty=None, made=count(n))

    @workflow
    def nothing(n: int) -> None:
        describe("x")

    assert dict(mixed.compile().outputs) == {
        "given": ParamRef("n"),
        "written": Literal(3.0),
        "empty": Literal(None),
        "made": NodeRef("count", "result"),
    }
    with pytest.warns(CompileWarning):
        assert nothing.compile().outputs == {}


def test_a_workflow_that_returns_nothing_but_declares_a_value_says_so() -> None:
    @workflow
    def forgets(n: int) -> int:  # type: ignore[return]
        count(n)

    @workflow
    def surprises(n: int) -> None:
        return count(n)  # type: ignore[return-value]

    assert "declares int but returns nothing" in messages_of(forgets)
    assert "declares no output but returns 'count' (int)" in messages_of(surprises)


def test_a_workflow_without_nodes_compiles() -> None:
    @workflow
    def same(n: int) -> int:
        return n

    graph = same.compile()
    assert (graph.nodes, graph.outputs) == ((), {"result": ParamRef("n")})


def test_a_published_mistake_in_a_nested_workflow_names_both_too() -> None:
    class IrisOutputs(NamedTuple):
        mse: Metric

    @workflow
    def iris(rows: pd.DataFrame) -> IrisOutputs:
        return IrisOutputs(logloss=evaluate(train(rows, "species", 3), rows, "species"))  # type: ignore[call-arg]

    @workflow
    def outer(rows: pd.DataFrame) -> Metric:
        return iris(rows).mse

    (problem,) = problems_of(outer)
    assert problem.node == "iris"
    assert "declares mse but returns logloss" in problem.message


# Names and JSON


def test_node_names_are_unique_also_where_an_operator_is_named_like_a_number() -> None:
    @operator
    def count_2(n: int) -> int:
        return n

    @workflow
    def names(n: int) -> float:
        return total([count(n), count_2(n), count(n), count_2(n)])

    assert [n.name for n in names.compile().nodes] == ["count", "count_2", "count_3", "count_2_2", "total"]


def test_nested_names_stay_the_same_when_another_call_is_added_outside() -> None:
    @workflow
    def inner(n: int) -> int:
        return count(count(n))

    @workflow
    def outer(n: int) -> float:
        return total([count(n), inner(n), inner(n)])

    assert [n.name for n in outer.compile().nodes] == [
        "count",
        "inner.count",
        "inner.count_2",
        "inner_2.count",
        "inner_2.count_2",
        "total",
    ]


def test_the_graph_is_json_also_with_literals_that_json_lacks_and_shows_no_secret() -> None:
    @operator
    def odd(values: Any, token: Secret = "hush") -> int:
        return 0

    @workflow
    def odds(n: int, sets: Static[frozenset[str]] = frozenset("abc")) -> float:
        return total(
            [odd({"b", "a"}), odd(float("nan")), odd(pd.DataFrame()), odd(len), odd([count(n)], "hush")]
        )

    document = odds.compile().to_json()
    text = json.dumps(document, allow_nan=False)
    assert "hush" not in text
    literals = [node["inputs"]["values"] for node in document["nodes"] if node["operator"] == "odd"]
    assert literals[0] == {"literal": ["a", "b"]}
    assert literals[1] == {"literal": "nan"}
    assert literals[2] == {"literal": "pandas.DataFrame"}
    assert document["static"] == {"sets": ["a", "b", "c"]}


PROGRAM = """
import json, sys
sys.path.insert(0, {folder!r})
import tests.compiling as t
print(json.dumps([t.delays.compile().to_json(), t.delays.interface.to_json()]))
"""


@pytest.mark.slow
def test_the_json_form_is_the_same_in_every_process() -> None:
    code = PROGRAM.format(folder=os.path.dirname(os.path.dirname(__file__)))
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {json.dumps([delays.compile().to_json(), delays.interface.to_json()]) + "\n"}


def test_an_operator_that_is_declared_in_the_body_with_a_future_as_default_says_so() -> None:
    @workflow
    def declares(n: int) -> int:
        @operator
        def late(x: int = n) -> int:
            return x

        return late()

    assert "default of parameter 'x': expected int, found Future" in messages_of(declares)


def test_operators_of_a_notebook_cell_have_their_cells_lines() -> None:
    cell = (
        "from flowlearner import operator, workflow\n"
        "@operator\n"
        "def half(n: int) -> float:\n"
        "    return n / 2\n"
        "@workflow\n"
        "def halves(n: int) -> int:\n"
        "    return half(n)\n"
    )
    name = "<ipython-input-1-abc>"
    linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(cell, name, "exec"), space)
    (problem,) = problems_of(space["halves"])
    assert problem.location == f"{name}:5"
    assert "def half" in space["half"].fingerprint().source
    assert not space["half"].fingerprint().problems


def test_a_hundred_nodes_compile_in_milliseconds() -> None:
    @workflow
    def grid(n: int) -> float:
        values = [n] * 10
        for _ in range(10):
            values = [count(v) for v in values]
        return total(values)  # type: ignore[arg-type]

    grid.compile()
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        grid.compile()
        taken.append(time.perf_counter() - start)
    assert min(taken) < 0.02
