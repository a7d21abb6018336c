"""Mistakes: each is found with its place and cure, and tracing goes on."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import pandas as pd
import pytest

from flowlearner import (
    Columns,
    Metric,
    Secret,
    Seed,
    operator,
    workflow,
)
from flowlearner.definition import CompileWarning
from flowlearner.graph import Collection, Literal, NodeRef, ParamRef, RunSeed
from tests.compiling import (
    Parts,
    count,
    describe,
    evaluate,
    maybe,
    messages_of,
    problems_of,
    split,
    total,
    train,
)

# What the compiler is told while it goes on


def test_every_problem_says_workflow_node_line_and_cure() -> None:
    @workflow
    def broken(rows: pd.DataFrame, n: int) -> Metric:
        parts = split(rows, test_sise=0.1)  # type: ignore[call-arg]
        model = train(parts.trian, "late", "deep")  # type: ignore[attr-defined, arg-type]
        count(maybe(rows))  # type: ignore[arg-type]
        count(n, 4)  # type: ignore[call-arg]
        count()  # type: ignore[call-arg]
        if count(n) > 3:
            describe(3)  # type: ignore[arg-type]
        return evaluate(model, n, "late")  # type: ignore[arg-type]

    found = problems_of(broken)
    start = broken.fn.__code__.co_firstlineno
    lines = [(p.node, int((p.location or ":0").rpartition(":")[2]) - start, p.kind) for p in found]
    assert lines == [
        ("split", 2, "unknown-argument"),
        ("split", 3, "unknown-output"),
        ("train", 3, "value"),
        ("count", 4, "type"),
        ("count_2", 5, "surplus-argument"),
        ("count_3", 6, "missing-argument"),
        ("count_4", 7, "future-as-value"),
        ("describe", 8, "value"),
        ("evaluate", 9, "type"),
    ]
    cures = ("Did you mean", "Give", "Handle None", "Remove", "Add it", "Move this", "change one")
    for problem in found:
        assert problem.workflow == "broken"
        assert any(cure in problem.message for cure in cures), problem.message


def test_one_mistake_is_listed_once_and_what_follows_from_it_is_not() -> None:
    @workflow
    def cascade(rows: pd.DataFrame) -> Metric:
        parts = split(rows)
        model = train(parts.trian + 1, parts.trian.name[0], 3)  # type: ignore[attr-defined]
        return evaluate(model, parts.test, "late")

    assert [p.kind for p in problems_of(cascade)] == ["unknown-output"]


def test_tracing_goes_on_after_a_future_was_iterated_or_unpacked() -> None:
    @workflow
    def iterates(n: int) -> float:
        left, right = count(n)  # type: ignore[misc]
        first, *rest = count(n)  # type: ignore[misc]
        values = [count(x) for x in count(n)]  # type: ignore[attr-defined]
        for value in count(n):  # type: ignore[attr-defined]
            values.append(value)
        return total([left, right, first, *rest, "x", *values])  # type: ignore[list-item]

    assert [p.kind for p in problems_of(iterates)] == ["future-as-value"] * 4 + ["value"]


def test_a_loop_on_a_future_ends() -> None:
    @workflow
    def loops(n: int) -> int:
        score = count(n)
        while score < 10:
            score = count(score)
        while not (score == 3):  # noqa: SIM201 - what is tested
            score = count(score)
        while count(n):
            pass
        return score

    assert [p.kind for p in problems_of(loops)] == ["future-as-value"] * 3


def test_two_mistakes_on_one_line_are_two() -> None:
    @workflow
    def line(n: int, m: int) -> int:
        return count(1) if (n > 1) | (m > 1) else count(2)

    assert len(problems_of(line)) == 2


def test_a_mistake_in_a_nested_workflow_names_it_and_the_outer_one_goes_on() -> None:
    @workflow
    def inner(n: int) -> int:
        raise RuntimeError("not today")

    @workflow
    def outer(n: int) -> int:
        a = inner(n)
        return count(a, 3)  # type: ignore[call-arg]

    first, second = problems_of(outer)
    assert (first.node, first.kind) == ("inner", "body")
    assert "RuntimeError: not today" in first.message
    assert (second.node, second.kind) == ("count", "surplus-argument")


def test_an_endless_recursion_of_helpers_is_a_problem_of_the_body() -> None:
    def helper(n: Any) -> Any:
        return helper(n)

    @workflow
    def deep(n: int) -> int:
        return helper(n)  # type: ignore[no-any-return]

    (problem,) = problems_of(deep)
    assert "RecursionError" in problem.message
    assert problem.location is not None
    assert problem.location.startswith(__file__)


def test_a_body_that_ends_python_is_a_problem() -> None:
    @workflow
    def leaves(n: int) -> int:
        raise SystemExit(3)

    (problem,) = problems_of(leaves)
    assert "SystemExit: 3" in problem.message


def test_a_mistake_inside_a_library_is_placed_at_the_users_line() -> None:
    @workflow
    def concat(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([rows, rows])

    found = problems_of(concat)
    assert found
    assert all(p.location is not None and p.location.startswith(__file__) for p in found)


def test_a_cycle_over_two_workflows_names_the_way() -> None:
    @workflow
    def ping(n: int) -> int:
        return pong(n)

    @workflow
    def pong(n: int) -> int:
        return ping(n)

    (problem,) = problems_of(ping)
    assert problem.kind == "cycle"
    assert "ping calls pong calls ping" in problem.message


def test_two_workflows_of_one_name_are_no_cycle() -> None:
    def make() -> Any:
        @workflow
        def same(n: int) -> int:
            return count(n)

        return same

    inner = make()

    @workflow
    def same(n: int) -> int:
        return inner(n)  # type: ignore[no-any-return]

    assert [n.name for n in same.compile().nodes] == ["same.count"]


def test_a_mistake_in_a_loop_is_listed_once() -> None:
    @workflow
    def loop(n: int) -> float:
        scores = [count(describe("x")) for _ in range(50)]  # type: ignore[arg-type]
        return total([*scores, count(n, k=3), count(n, k=3)])  # type: ignore[call-arg, list-item]

    assert [p.kind for p in problems_of(loop)] == ["type", "unknown-argument"]


def test_a_misspelt_argument_is_not_missing_too_and_its_value_is_checked() -> None:
    @workflow
    def misspelt(rows: pd.DataFrame) -> Metric:
        return evaluate(train(rows, labl=3, max_depth=3), rows, "late")  # type: ignore[call-arg]

    first, second = problems_of(misspelt)
    assert (first.kind, second.kind) == ("unknown-argument", "value")
    assert "input 'label': expected str, found int 3" in second.message


# Types between nodes


def test_neither_none_nor_a_text_is_a_model() -> None:
    @workflow
    def wrong(rows: pd.DataFrame) -> list[float]:
        return [evaluate(None, rows, "late"), evaluate("best", rows, "late")]

    text = messages_of(wrong)
    assert "input 'model': expected Model, found None" in text
    assert "input 'model' expects Model but gets the text 'best'" in text


def test_a_value_of_type_any_does_not_go_from_node_to_node() -> None:
    @operator
    def anything(n: int) -> Any:
        return n

    @workflow
    def vague(n: int) -> int:
        return count(anything(n))

    (problem,) = problems_of(vague)
    assert problem.kind == "any"
    assert "gets Any from 'anything'. Declare what the operator returns" in problem.message


def test_any_is_allowed_where_users_give_and_get() -> None:
    @operator
    def show(value: Any) -> str:
        return str(value)

    @operator
    def anything(n: int) -> Any:
        return n

    class Edge(NamedTuple):
        shown: str
        value: Any

    @workflow
    def edge(given: Any, n: int) -> Edge:
        value = anything(n)
        count(given)
        return Edge(show(value), value)

    with pytest.warns(CompileWarning):
        assert len(edge.compile().nodes) == 3


def test_a_bool_is_not_an_int_between_nodes_as_in_literals() -> None:
    @operator
    def is_big(n: int) -> bool:
        return n > 3

    @workflow
    def mixes(n: int) -> int:
        return total([count(is_big(n)), count(True)])  # type: ignore[return-value]

    assert [p.kind for p in problems_of(mixes)] == ["type", "value", "type"]


def test_a_seed_parameter_may_be_given_where_an_int_is_expected() -> None:
    @workflow
    def seeded(seed: Seed = None) -> int:
        return count(seed)  # type: ignore[arg-type]

    assert seeded.compile().by_name["count"].inputs["n"] == ParamRef("seed")


def test_a_seed_given_as_none_is_that_of_the_run() -> None:
    @workflow
    def seeded(rows: pd.DataFrame) -> pd.DataFrame:
        return split(rows, seed=None).train

    assert seeded.compile().by_name["split"].inputs["seed"] == RunSeed()


def test_a_secret_goes_to_secret_inputs_only() -> None:
    @operator
    def fetch(token: Secret) -> str:
        return ""

    @operator
    def show(value: Any) -> str:
        return ""

    @workflow
    def leaks(token: Secret, name: str) -> list[str]:
        return [fetch(token), describe(token), show(token), fetch(name)]

    assert [p.kind for p in problems_of(leaks)] == ["type"] * 3


def test_the_columns_of_a_producer_pass_through_a_nested_workflow() -> None:
    @operator
    def make(n: int) -> Annotated[pd.DataFrame, Columns(age=int)]:
        return pd.DataFrame()

    @operator
    def use(rows: Annotated[pd.DataFrame, Columns(label=float)]) -> int:
        return 1

    @workflow
    def inner(rows: pd.DataFrame) -> int:
        return use(rows)

    @workflow
    def outer(n: int) -> int:
        return inner(make(n))

    (problem,) = problems_of(outer)
    assert (problem.kind, problem.node) == ("columns", "inner.use")


def test_a_table_without_declared_columns_may_be_given_for_any_columns() -> None:
    @operator
    def use(rows: Annotated[pd.DataFrame, Columns(label=float)]) -> int:
        return 1

    @workflow
    def later(rows: pd.DataFrame) -> int:
        return use(split(rows).train)

    later.compile()


def test_lists_dicts_tuples_and_named_tuples_of_futures_are_checked_item_by_item() -> None:
    @operator
    def by_name(values: dict[str, float]) -> float:
        return 0.0

    @operator
    def pair(values: tuple[int, str]) -> int:
        return 0

    @operator
    def parts(values: list[Parts]) -> int:
        return 0

    @workflow
    def collects(rows: pd.DataFrame, n: int) -> list[Any]:
        return [
            by_name({"a": count(n), "b": 2}),
            pair((count(n), describe("x"))),
            parts([split(rows), split(rows)]),
        ]

    graph = collects.compile()
    assert graph.by_name["by_name"].inputs["values"] == Collection(
        dict, (NodeRef("count", "result"), Literal(2.0)), ("a", "b")
    )
    assert isinstance(binding := graph.by_name["parts"].inputs["values"], Collection)
    assert isinstance(binding.items[0], Collection)
    assert binding.items[0].make is Parts

    @workflow
    def wrong(rows: pd.DataFrame, n: int) -> list[Any]:
        return [
            by_name({"a": describe("x")}),  # type: ignore[dict-item]
            pair((count(n), count(n))),  # type: ignore[arg-type]
            total({"a": count(n)}),  # type: ignore[arg-type]
            total({count(n)}),  # type: ignore[arg-type]
        ]

    text = messages_of(wrong)
    assert "input 'values['a']' expects float but gets str" in text
    assert "input 'values[1]' expects str but gets int" in text
    assert "gets a dict of futures. Give a list[float]." in text
    assert "'count_4' is used as a key or put into a set instead of a list, but it is a future" in text


def test_the_operator_itself_in_place_of_its_result_says_to_call_it() -> None:
    @workflow
    def forgets(n: int) -> int:
        return count(count)  # type: ignore[arg-type]

    assert "gets the operator 'count' itself. Call it: count(...)." in messages_of(forgets)

    @workflow
    def outer(n: int) -> int:
        return count(forgets)  # type: ignore[arg-type]

    assert "gets the workflow 'forgets' itself. Call it: forgets(...)." in messages_of(outer)


def test_a_tuple_of_futures_has_as_many_items_as_declared() -> None:
    @workflow
    def longer(n: int) -> tuple[int, str]:
        return count(n), "a", 3  # type: ignore[return-value]

    (problem,) = problems_of(longer)
    assert "expects tuple[int, str] of 2 items but gets 3" in problem.message


def test_neither_all_outputs_nor_a_list_is_a_model() -> None:
    @workflow
    def wrong(rows: pd.DataFrame) -> list[float]:
        parts = split(rows)
        model = train(rows, "late", 3)
        return [evaluate(parts, rows, "late"), evaluate([model, model], rows, "late")]

    text = messages_of(wrong)
    assert "expects Model but gets all outputs of 'split'. Choose one of: split.train, split.test." in text
    assert "expects Model but gets a list of futures" in text


def test_an_item_of_a_literal_that_does_not_fit_is_named_with_its_place() -> None:
    @workflow
    def wrong(n: int) -> float:
        return total([1, "a"])  # type: ignore[list-item]

    assert "input 'values'[1]: expected float, found str 'a'. Give a value" in messages_of(wrong)
