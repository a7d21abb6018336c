"""Futures used as values: each mistake is listed once, with its cure, and never compiles in silence."""

from __future__ import annotations

import copy
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from flowlearner import CompileError, Metric, Model, UsageError, operator, workflow
from flowlearner.given import find_hidden_future
from flowlearner.graph import Collection, Literal, NodeRef
from tests.compiling import Parts, count, describe, evaluate, messages_of, problems_of, split, total, train


class Edges(NamedTuple):
    low: int
    high: int


@operator
def edges(n: int) -> Edges:
    return Edges(n, n)


@operator
def pair(n: int) -> tuple[int, int]:
    return n, n


@operator
def maybe_count(n: int | None) -> int:
    return n or 0


# One mistake, one problem


@pytest.mark.parametrize(
    "use",
    [
        lambda f: f[f > 3],
        lambda f: f[f == 3],
        lambda f: (f > 3).sum() + 1,
        lambda f: (f != 3).any(),
        lambda f: count(*f),
        lambda f: list(f),
        lambda f: total([*f]),
        lambda f: dict(**f),
        lambda f: ", ".join(f),
        lambda f: pd.Series(f),
        lambda f: pd.Series([1, 2]) * f,
        lambda f: np.array([f, 1]),
        lambda f: np.mean(f),
        lambda f: pd.read_csv(f),
        lambda f: pd.concat([f, f]),
        lambda f: os.path.join("a", f),
        lambda f: os.path.exists(f),
        lambda f: {1: count}.get(f),
        lambda f: {1: count}[f](3),
        lambda f: {f: 1},
        lambda f: {f, 3},
        lambda f: open(f),  # noqa: SIM115 - what is tested
        lambda f: pickle.dumps(f),
        lambda f: sorted([f, 2]),
        lambda f: 1 < f < 3,
    ],
)
def test_what_follows_from_a_mistake_on_its_line_is_not_listed(use: Any) -> None:
    @workflow
    def follows(n: int) -> int:
        use(count(n))
        return count(n)

    (problem,) = problems_of(follows)
    assert problem.node == "count"
    assert "'count' " in problem.message
    assert problem.location.startswith(__file__)


def test_a_raised_future_is_shown_by_name() -> None:
    @workflow
    def raises(n: int) -> int:
        raise ValueError(n)

    (problem,) = problems_of(raises)
    assert "ValueError: <future parameter 'n': int>" in problem.message


def test_a_library_that_uses_a_future_is_named() -> None:
    @workflow
    def concat(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([rows, split(rows).train])

    (problem, *_) = problems_of(concat)
    assert "parameter 'rows' is used as a value by 'pandas', but it is a future" in problem.message
    assert "Static" not in problem.message


def test_an_endless_loop_on_a_future_is_left() -> None:
    @workflow
    def waits(n: int) -> int:
        score = count(n)
        while not score > 3 or not score < 9:
            score = score + 1
        while score < 3:
            score = score + 1
        return score

    assert {p.kind for p in problems_of(waits)} == {"future-as-value"}


# What Python answers without asking the future


def test_a_parameter_compared_with_none_is_a_mistake() -> None:
    @workflow
    def optional(n: int | None = None, m: int = 3) -> int:
        if n is None:
            n = 3
        return maybe_count(n) if isinstance(m, int) else count(m)

    first, second = problems_of(optional)
    start = optional.fn.__code__.co_firstlineno
    assert "parameter 'n' is compared with 'is', but it is a future" in first.message
    assert "Annotate the parameter as Static[int | None]" in first.message
    assert first.location == f"{__file__}:{start + 2}"
    assert "parameter 'm' is asked for its type" in second.message


def test_what_an_operator_gave_compared_with_none_is_a_mistake() -> None:
    @operator
    def find(n: int) -> int | None:
        return n

    @operator
    def note(n: int) -> None: ...

    @workflow
    def branches(n: int) -> int:
        found = find(n)
        nothing = note(n)  # type: ignore[func-returns-value]
        plain = None
        plain = count(n)
        if nothing is None and plain is not None:
            count(n)
        return 1 if found is None else 2

    (problem,) = problems_of(branches)
    assert problem.location == f"{__file__}:{branches.fn.__code__.co_firstlineno + 8}"
    assert "'found' is compared with 'is', but it is a future" in problem.message


def test_a_static_parameter_and_a_plain_value_may_be_compared_with_none() -> None:
    from flowlearner import Static

    @workflow
    def chosen(n: int, m: Static[int | None] = None) -> int:
        n = 3
        return count(1) if m is None and n is not None else count(2)

    assert chosen.compile().by_name["count"].inputs["n"] == Literal(1)


def test_a_parameter_of_a_nested_workflow_compared_with_none_is_a_mistake() -> None:
    @workflow
    def inner(n: int | None = None) -> int:
        return count(1) if n is None else count(2)

    @workflow
    def outer() -> int:
        return inner(3)

    (problem,) = problems_of(outer)
    assert (problem.node, problem.kind) == ("inner", "future-as-value")
    assert "'inner.n' is compared with 'is'" in problem.message


def test_a_text_made_of_a_future_is_no_text() -> None:
    @workflow
    def texts(n: int) -> list[str]:
        return [describe(f"{n!r}"), describe(str([count(n)]))]

    first, second = problems_of(texts)
    assert "made of the future parameter 'n'" in first.message
    assert "made of the future 'count'" in second.message


def test_an_object_or_a_table_made_of_a_future_is_no_value() -> None:
    @dataclass(slots=True)
    class Setting:
        depth: int

    @operator
    def use(setting: Setting) -> int:
        return setting.depth

    @operator
    def use_all(settings: list[Setting]) -> int:
        return len(settings)

    @operator
    def measure(rows: pd.DataFrame) -> int:
        return len(rows)

    @workflow
    def wraps(n: int) -> list[int]:
        return [
            use(Setting(count(n))),
            measure(pd.DataFrame({"auc": [1, count(n)]})),
            use_all([Setting(3), Setting(count(n))]),
            use(Setting(3)),
            measure(pd.DataFrame({"auc": [1, "a"]})),
        ]

    first, second, third = problems_of(wraps)
    assert "gets a list of 2, made of the future 'count_3'" in third.message
    assert "made of the future 'count'" in first.message
    assert "made of the future 'count_2'" in second.message


def test_an_estimator_made_of_a_future_is_no_value() -> None:
    @operator
    def fit(model: Model, rows: pd.DataFrame) -> Model:
        return model

    @workflow
    def builds(rows: pd.DataFrame, depth: int) -> list[Any]:
        model = DecisionTreeClassifier(max_depth=depth)
        return [fit(model, rows), fit(make_pipeline(StandardScaler(), model), rows)]

    first, second = problems_of(builds)
    assert "DecisionTreeClassifier, made of the future parameter 'depth'" in first.message
    assert "Pipeline, made of the future parameter 'depth'" in second.message


def test_an_estimator_that_holds_itself_is_a_value() -> None:
    class Own:
        def get_params(self, deep: int) -> None: ...

    own = Own()
    own.self = own  # type: ignore[attr-defined]
    assert find_hidden_future([own]) is None


def test_copies_of_a_future_are_the_future() -> None:
    @workflow
    def copies(n: int, rows: pd.DataFrame) -> list[int]:
        settings = copy.deepcopy({"n": count(n), "parts": split(rows)})
        copy.copy(settings["parts"])
        return [settings["n"], copy.copy(settings["n"])]  # type: ignore[list-item]

    with pytest.warns(match="split"):
        outputs = copies.compile().outputs
    assert outputs["result"] == Collection(list, (NodeRef("count", "result"),) * 2)


# Futures of another compilation


def test_a_future_kept_from_another_compilation_is_a_mistake() -> None:
    kept: list[Any] = []

    @workflow
    def keeps(n: int) -> int:
        kept.append(count(n))
        return kept[-1]  # type: ignore[no-any-return]

    @workflow
    def uses(n: int) -> list[float]:
        count(n)
        return [total(kept), kept[0]]

    keeps.compile()
    found = problems_of(uses)
    assert [p.kind for p in found] == ["foreign-future"] * 2
    assert "gets 'count', a future of another compilation" in found[0].message


def test_what_a_mistake_gave_in_another_compilation_is_a_mistake_too() -> None:
    kept: list[Any] = []

    @workflow
    def keeps(n: int) -> int:
        kept.append(count(n) + 1)
        return kept[-1]  # type: ignore[no-any-return]

    with pytest.raises(CompileError):
        keeps.compile()
    with pytest.raises(CompileError):
        keeps.compile()

    @workflow
    def uses(n: int) -> int:
        return count(kept[0])

    assert [p.kind for p in problems_of(uses)] == ["foreign-future"]


def test_a_future_is_no_value_after_the_compilation_either() -> None:
    kept: list[Any] = []

    @workflow
    def keeps(rows: pd.DataFrame) -> Parts:
        kept.extend([split(rows), split(rows).train])
        return kept[0]  # type: ignore[no-any-return]

    with pytest.warns(match="split_2"):
        keeps.compile()
    for use in (lambda: bool(kept[1]), lambda: kept[1] + 1, lambda: kept[1].shape, lambda: kept[0].trian):
        with pytest.raises(UsageError, match="a future of another compilation, which has no value"):
            use()


# Outputs of a call


def test_an_operator_that_a_thread_of_the_body_calls_with_futures_does_not_run() -> None:
    ran: list[object] = []

    @operator
    def work(n: object) -> int:
        ran.append(n)
        return 1

    @workflow
    def threaded(n: int) -> list[int]:
        with ThreadPoolExecutor() as pool:
            return list(pool.map(work, [n, n]))

    @workflow
    def mapped(n: int) -> list[int]:
        with ThreadPoolExecutor() as pool:
            return pool.submit(work.map, [edges(n)]).result()

    for flow, shown in ((threaded, "<future parameter 'n': int>"), (mapped, "Edges(low=<future")):
        (problem,) = problems_of(flow)
        assert f"operator 'work' gets {shown}" in problem.message
        assert "in a thread that it has started. Call operators in the body itself" in problem.message
    assert ran == []


def test_outputs_read_wrongly_say_which_there_are_and_tracing_goes_on() -> None:
    @workflow
    def reads(n: int) -> int:
        given = edges(n)
        a = given["high"]  # type: ignore[call-overload]
        b = given[5]  # type: ignore[misc]
        c, d, e = edges(n)  # type: ignore[misc]
        count(n, a, b, c, d, e)  # type: ignore[call-arg]
        low, *_ = given
        return given[0] + given[:1][0] if False else low

    found = problems_of(reads)
    assert [p.kind for p in found] == ["unknown-output"] * 3 + ["surplus-argument"]
    words = "'edges' has no output ['high']; it gives low, high. Read one by its name, such as .high."
    assert words in found[0].message
    assert "'edges' has no output [5]" in found[1].message
    assert "gives 2 outputs (low, high) but is unpacked into 3 names" in found[2].message


def test_outputs_with_one_replaced_are_still_outputs() -> None:
    @operator
    def join(parts: Parts) -> pd.DataFrame:
        return parts.train

    @workflow
    def replaced(rows: pd.DataFrame) -> pd.DataFrame:
        return join(split(rows)._replace(train=rows))

    assert isinstance(replaced.compile().by_name["join"].inputs["parts"], Collection)


def test_unpacking_a_tuple_says_that_a_named_tuple_has_outputs() -> None:
    @workflow
    def unpacks(n: int) -> int:
        a, b = pair(n)
        return count(a, b)  # type: ignore[call-arg]

    assert "let the operator return a NamedTuple: each field is an output" in messages_of(unpacks)


def test_a_surplus_value_of_the_declared_outputs_says_what_is_declared() -> None:
    @workflow
    def surplus(n: int) -> Edges:
        return Edges(count(n), 2, 3)  # type: ignore[call-arg]

    (problem,) = problems_of(surplus)
    assert problem.kind == "outputs"
    assert "declares low, high but returns 3 values" in problem.message


def test_a_table_used_as_a_value_is_not_told_to_be_static() -> None:
    @workflow
    def indexes(rows: pd.DataFrame) -> Metric:
        return evaluate(train(rows, "late", 3), rows["late"], "late")

    assert "Static" not in messages_of(indexes)
