"""Compiling: the graph that a workflow gives, and every mistake that types can show."""

from __future__ import annotations

import json
from typing import Annotated, Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pytest

from flowlearner import (
    Choice,
    Columns,
    CompileError,
    Metric,
    Model,
    Operator,
    ParameterError,
    Range,
    Static,
    operator,
    workflow,
)
from flowlearner.definition import CompileWarning
from flowlearner.graph import Collection, Literal, NodeRef, ParamRef, RunSeed
from tests.compiling import (
    calls,
    count,
    delays,
    evaluate,
    maybe,
    problems_of,
    split,
    total,
    train,
)


def test_a_workflow_compiles_to_nodes_in_call_order_with_typed_bindings() -> None:
    graph = delays.compile()
    assert [n.name for n in graph.nodes] == ["split", "train", "evaluate"]
    assert graph.by_name["train"].inputs == {
        "rows": NodeRef("split", "train"),
        "label": ParamRef("label"),
        "max_depth": ParamRef("max_depth"),
        "eta": ParamRef("eta"),
    }
    assert graph.by_name["split"].inputs["seed"] == RunSeed()
    assert graph.by_name["split"].inputs["test_size"] == Literal(0.2)
    assert graph.outputs == {"model": NodeRef("train", "result"), "auc": NodeRef("evaluate", "result")}


def test_compiling_runs_no_operator() -> None:
    calls.clear()
    delays.compile()
    assert calls == []


def test_the_json_form_is_equal_for_two_compilations_and_is_json() -> None:
    first, second = json.dumps(delays.compile().to_json()), json.dumps(delays.compile().to_json())
    assert first == second
    assert json.loads(first)["nodes"][0]["name"] == "split"


def test_a_second_call_of_an_operator_is_numbered() -> None:
    @workflow
    def twice(n: int) -> float:
        return total([count(n), count(n), 3])

    graph = twice.compile()
    assert [n.name for n in graph.nodes] == ["count", "count_2", "total"]
    binding = graph.by_name["total"].inputs["values"]
    assert binding == Collection(
        list, (NodeRef("count", "result"), NodeRef("count_2", "result"), Literal(3.0))
    )


def test_the_outputs_of_a_named_tuple_unpack() -> None:
    @workflow
    def unpacked(rows: pd.DataFrame) -> pd.DataFrame:
        _left, right = split(rows)
        return right

    assert unpacked.compile().outputs == {"result": NodeRef("split", "test")}


def test_a_nested_workflow_is_inlined_under_its_name() -> None:
    @workflow
    def outer(rows: pd.DataFrame) -> Metric:
        return delays(rows, max_depth=3).auc

    graph = outer.compile()
    assert [n.name for n in graph.nodes] == ["delays.split", "delays.train", "delays.evaluate"]
    assert graph.by_name["delays.train"].inputs["max_depth"] == Literal(3)
    assert graph.by_name["delays.train"].inputs["label"] == Literal("late")
    assert graph.outputs == {"result": NodeRef("delays.evaluate", "result")}


def test_a_static_parameter_is_a_plain_value_and_chooses_the_graph() -> None:
    @workflow
    def many(n: int, times: Static[int] = 2) -> float:
        return total([count(n) for _ in range(times)])

    assert len(many.compile().nodes) == 3
    assert len(many.compile(times=4).nodes) == 5


def test_static_parameters_that_are_left_out_unknown_or_wrong_are_listed_together() -> None:
    @workflow
    def many(n: int, trainer: Operator[..., Any], times: Static[int], size: Static[int] = 1) -> int:
        return count(n)

    with pytest.raises(ParameterError) as caught:
        many.compile(n=3, tims=2, size="a")
    text = str(caught.value)
    for words in (
        "'n' is a future while compiling",
        "no parameter 'tims'",
        "Did you mean 'times'?",
        "needs a value for 'trainer: Operator",
        "needs a value for 'times: int'",
        "'size': expected int, found str 'a'",
    ):
        assert words in text


def test_map_makes_one_call_for_each_element() -> None:
    @workflow
    def depths(rows: pd.DataFrame, label: str = "late", steps: Static[list[int]] = [1, 2, 3]) -> float:  # noqa: B006
        models = train.map(rows, label, max_depth=steps)
        return total([evaluate(m, rows, label) for m in models])

    graph = depths.compile()
    assert [graph.by_name[n].inputs["max_depth"] for n in ("train", "train_2", "train_3")] == [
        Literal(1),
        Literal(2),
        Literal(3),
    ]


def test_an_operator_parameter_chooses_the_trainer() -> None:
    @operator
    def other(rows: pd.DataFrame, label: str, max_depth: int, eta: float = 0.1) -> Model:
        return None

    @workflow
    def chosen(rows: pd.DataFrame, trainer: Operator[..., Any] = train) -> Model:
        return trainer(rows, "late", 3)

    assert [n.name for n in chosen.compile().nodes] == ["train"]
    assert [n.name for n in chosen.compile(trainer=other).nodes] == ["other"]


def test_outside_a_compile_operators_and_workflows_are_plain_python() -> None:
    frame = pd.DataFrame({"a": [1]})
    assert split(frame).train is frame
    assert delays(frame).auc == 0.5


def test_an_unused_node_warns_and_stays_in_the_graph() -> None:
    @workflow
    def wasteful(n: int) -> int:
        count(n)
        return count(n)

    with pytest.warns(CompileWarning, match="nothing uses the outputs of count;"):
        graph = wasteful.compile()
    assert len(graph.nodes) == 2


def test_the_published_iris_workflow_is_rejected_with_both_names() -> None:
    class IrisOutputs(NamedTuple):
        mse: Metric

    @workflow
    def iris(rows: pd.DataFrame) -> IrisOutputs:
        model = train(rows, "species", 3)
        logloss = evaluate(model, rows, "species")
        return IrisOutputs(logloss=logloss)  # type: ignore[call-arg]

    (problem,) = problems_of(iris)
    assert problem.kind == "outputs"
    assert "mse" in problem.message
    assert "logloss" in problem.message
    assert problem.location
    assert "test_compile.py:" in problem.location


def test_a_dict_of_outputs_is_checked_by_name() -> None:
    class Outputs(NamedTuple):
        mse: Metric

    @workflow
    def iris(rows: pd.DataFrame) -> Outputs:
        return {"logloss": evaluate(train(rows, "species", 3), rows, "species")}  # type: ignore[return-value]

    (problem,) = problems_of(iris)
    assert "missing: mse" in problem.message
    assert "undeclared: logloss" in problem.message


def test_all_mistakes_are_listed_together() -> None:
    @workflow
    def broken(rows: pd.DataFrame, n: int) -> Metric:
        parts = split(rows, test_sise=0.1)  # type: ignore[call-arg]
        model = train(parts.trian, "late", "deep")  # type: ignore[attr-defined, arg-type]
        if n > 3:
            count(n, 4)  # type: ignore[call-arg]
        return evaluate(model, n)  # type: ignore[arg-type, call-arg]

    found = problems_of(broken)
    texts = [str(p) for p in found]
    kinds = [p.kind for p in found]
    assert kinds.count("unknown-argument") == 1
    assert "Did you mean 'test_size'?" in texts[0]
    assert any("has no output 'trian'" in t and "Did you mean 'train'?" in t for t in texts)
    assert any("input 'max_depth'" in t and "'deep'" in t for t in texts)
    assert "future-as-value" in kinds
    assert "surplus-argument" in kinds
    assert "missing-argument" in kinds
    assert any("input 'rows' expects pandas.DataFrame but gets int" in t for t in texts)
    assert all(p.location and "test_compile.py:" in p.location for p in found)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda f: bool(f), "used as a condition"),
        (lambda f: f > 1, "compared"),
        (lambda f: f == 1, "compared"),
        (lambda f: f + 1, "arithmetic"),
        (lambda f: 1 - f, "arithmetic"),
        (lambda f: list(f), "iterated"),
        (lambda f: len(f), "length"),
        (lambda f: f[0], "indexed"),
        (lambda f: f"{f}", "text"),
        (lambda f: str(f), "text"),
        (lambda f: int(f), "int"),
        (lambda f: range(f), "index"),
        (lambda f: f.real, "attribute|output 'real'"),
        (lambda f: f(), "called"),
        (lambda f: 3 in f, "'in'"),
    ],
)
def test_a_future_used_as_a_value_is_a_mistake(use: Any, words: str) -> None:
    @workflow
    def misuse(n: int) -> int:
        use(count(n))
        return count(n)

    with pytest.raises(CompileError, match=words):
        misuse.compile()


def test_the_cure_for_a_parameter_used_as_a_value_is_static() -> None:
    @workflow
    def branch(n: int) -> int:
        return count(1) if n else count(2)

    (problem,) = problems_of(branch)
    assert "Static[int]" in problem.message


def test_optional_to_plain_is_an_error_and_plain_to_optional_is_not() -> None:
    @operator
    def accepts(n: int | None) -> int:
        return 0

    @workflow
    def wrong(rows: pd.DataFrame) -> int:
        return count(maybe(rows))  # type: ignore[arg-type]

    @workflow
    def right(n: int) -> int:
        return accepts(count(n))

    (problem,) = problems_of(wrong)
    assert "may be None" in problem.message
    right.compile()


def test_int_goes_to_float_and_float_does_not_go_to_int() -> None:
    @operator
    def half(x: float) -> float:
        return x / 2

    @workflow
    def widen(n: int) -> float:
        return half(count(n))

    @workflow
    def narrow(x: float) -> int:
        return count(half(x))  # type: ignore[arg-type]

    widen.compile()
    assert problems_of(narrow)[0].kind == "type"


def test_frames_and_arrow_tables_go_to_each_other() -> None:
    @operator
    def arrow(rows: pd.DataFrame) -> pa.Table:
        return pa.Table.from_pandas(rows)

    @operator
    def frame(rows: pd.DataFrame) -> int:
        return len(rows)

    @workflow
    def both(rows: pd.DataFrame) -> int:
        return frame(arrow(rows))  # type: ignore[arg-type]

    both.compile()


def test_a_column_that_the_producer_does_not_declare_is_an_error() -> None:
    @operator
    def make(n: int) -> Annotated[pd.DataFrame, Columns(age=int, city=str)]:
        return pd.DataFrame()

    @operator
    def use(rows: Annotated[pd.DataFrame, Columns(label=float, age=float)]) -> int:
        return 1

    @workflow
    def columns(n: int) -> int:
        return use(make(n))

    (problem,) = problems_of(columns)
    assert problem.kind == "columns"
    assert "Missing: label" in problem.message


def test_a_literal_outside_its_range_or_choice_is_an_error() -> None:
    @operator
    def bounded(depth: Annotated[int, Range(1, 12)], kind: Annotated[str, Choice(["a", "b"])] = "a") -> int:
        return depth

    @workflow
    def outside(n: int) -> int:
        return total([bounded(13), bounded(3, "c")])  # type: ignore[return-value]

    texts = [p.message for p in problems_of(outside)]
    assert any("1..12" in t and "13" in t for t in texts)
    assert any("{a,b}" in t and "'c'" in t for t in texts)


def test_a_near_choice_is_suggested() -> None:
    @operator
    def boost(kind: Annotated[str, Choice(["gbtree", "dart"])]) -> int:
        return 0

    @workflow
    def typo() -> int:
        return boost("gbtre")

    assert "found 'gbtre'. Did you mean 'gbtree'? Give a value" in problems_of(typo)[0].message


def test_two_types_of_one_name_are_told_apart() -> None:
    def make() -> Any:
        class Setting(NamedTuple):
            depth: int

        return Setting

    first, second = make(), make()

    def gives(n): ...  # type: ignore[no-untyped-def]

    def takes(given): ...  # type: ignore[no-untyped-def]

    gives.__annotations__ = {"n": int, "return": list[first]}
    takes.__annotations__ = {"given": list[second], "return": int}
    give, take = operator(gives), operator(takes)

    @workflow
    def stale(n: int) -> int:
        return take(give(n))  # type: ignore[no-any-return]

    assert "two types of one name. Where the class was defined again" in problems_of(stale)[0].message


def test_a_type_without_codec_is_an_error() -> None:
    class Odd:
        pass

    @operator
    def make_odd(n: int) -> Odd:
        return Odd()

    @workflow
    def odd(n: int) -> Odd:
        return make_odd(n)

    assert [p.kind for p in problems_of(odd)] == ["codec"]


def test_all_outputs_given_where_one_is_expected_lists_the_choices() -> None:
    @workflow
    def whole(rows: pd.DataFrame) -> Model:
        return train(split(rows), "late", 3)  # type: ignore[arg-type]

    (problem,) = problems_of(whole)
    assert "split.train" in problem.message
    assert "split.test" in problem.message


def test_a_workflow_that_contains_itself_is_a_cycle() -> None:
    @workflow
    def snake(n: int) -> int:
        return snake(count(n))

    (problem,) = problems_of(snake)
    assert problem.kind == "cycle"


def test_an_exception_in_the_body_is_a_problem_with_its_line() -> None:
    @workflow
    def fails(n: int) -> int:
        return {}["missing"]  # type: ignore[no-any-return, typeddict-item]

    (problem,) = problems_of(fails)
    assert "KeyError" in problem.message
    assert problem.location
    assert "test_compile.py:" in problem.location
