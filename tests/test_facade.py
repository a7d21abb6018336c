"""The workflow that users hold: options, parameters by name, plain calls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import cloudpickle
import pytest

from flowlearner import (
    Choice,
    CompileError,
    DefinitionError,
    Metric,
    NotFoundError,
    ParameterError,
    Range,
    RunFailed,
    Seed,
    operator,
    workflow,
)

calls: list[int] = []


class Both(NamedTuple):
    value: int
    half: Metric


@operator
def double(n: int) -> int:
    calls.append(n)
    return 2 * n


@operator
def halve(n: int) -> float:
    return n / 2


@operator
def refuse(n: int) -> int:
    raise ValueError("no")


@workflow(experiment="numbers", tags={"team": "ops"}, executor="local")
def numbers(n: Annotated[int, Range(1, 9)] = 1) -> Both:
    """Two numbers."""
    value = double(n)
    return Both(value=value, half=halve(value))


def test_a_workflow_runs_and_its_outputs_load() -> None:
    run = numbers.run(n=3)
    assert (run.outputs.value, run.outputs.half) == (6, 3.0)
    assert run.experiment == "numbers"
    assert run.tags == {"team": "ops"}


def test_a_workflow_called_outside_a_compile_is_plain_python() -> None:
    assert numbers(4) == Both(8, 4.0)


def test_options_make_another_workflow_and_keep_what_is_left_out() -> None:
    other = numbers.with_options(tags={"stage": "try"}, seed=7, cache=False, notes="a note")
    assert other.options.tags == {"team": "ops", "stage": "try"}
    assert (other.options.seed, other.options.cache, other.options.notes) == (7, False, "a note")
    assert other.options.experiment == "numbers"
    assert numbers.options.seed == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"experimnt": "x"}, "no option 'experimnt'; there are experiment, tags"),
        ({"experimnt": "x"}, "Did you mean 'experiment'?"),
        ({"executor": "loca"}, "no executor 'loca'; there are prefect, local. Did you mean 'local'?"),
        ({"executor": 3}, "executor: expected text, found 3"),
        ({"experiment": ""}, "experiment: expected a name"),
        ({"tags": {"team": 3}}, "tags: expected texts by name"),
        ({"tags": "ops"}, "tags: expected texts by name"),
        ({"seed": "7"}, "seed: expected a whole number"),
        ({"seed": -1}, "seed: expected a whole number"),
        ({"seed": True}, "seed: expected a whole number"),
        ({"cache": "no"}, "cache: expected True or False"),
        ({"refresh": "double"}, "refresh: expected a list of names"),
        ({"notes": 3}, "notes: expected text"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_with_what_it_takes(options: Any, words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        numbers.with_options(**options)
    assert words in str(caught.value)


def test_all_options_that_make_no_sense_are_listed_together() -> None:
    with pytest.raises(ParameterError, match=r"no executor 'x'.*seed: expected"):
        numbers.with_options(executor="x", seed=-1)


def test_an_unknown_option_of_the_decorator_is_refused_with_the_nearest() -> None:
    with pytest.raises(DefinitionError, match=r"no option 'experimnt'. Did you mean 'experiment'?"):
        workflow(experimnt="x")  # type: ignore[call-overload]


def test_a_node_to_refresh_that_the_workflow_lacks_is_refused_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no node 'duoble'.*Did you mean 'double'?"):
        numbers.with_options(refresh=["duoble"]).run()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"unknown": 1}, "no parameter 'unknown'"),
        ({"nn": 1}, "Did you mean 'n'?"),
        ({"n": 10}, "expected a value in 1..9, found 10"),
        ({"n": "3"}, "expected int, found str '3'"),
    ],
)
def test_nothing_runs_with_parameters_that_do_not_fit(params: Any, words: str) -> None:
    calls.clear()
    with pytest.raises(ParameterError) as caught:
        numbers.run(**params)
    assert words in str(caught.value)
    assert calls == []


def test_nothing_runs_of_a_workflow_that_does_not_compile() -> None:
    @workflow(executor="local")
    def wrong(n: int) -> int:
        double(n)
        return halve(double(n))  # type: ignore[return-value]

    calls.clear()
    with pytest.raises(CompileError):
        wrong.run(n=1)
    assert calls == []


def test_a_run_that_fails_raises_with_the_run_in_hand() -> None:
    @workflow(executor="local")
    def fails(n: int) -> int:
        return refuse(n)

    with pytest.raises(RunFailed, match="node 'refuse' failed: ValueError: no") as caught:
        fails.run(n=1)
    assert caught.value.run.status == "FAILED"


def test_what_a_workflow_hands_on_or_puts_together_are_outputs_too() -> None:
    class Mixed(NamedTuple):
        same: int
        plain: str
        numbers: list[float]
        made: dict[str, int]
        pairs: list[Both]

    @workflow(executor="local")
    def mixed(n: int = 4) -> Mixed:
        made = double(n)
        return Mixed(n, "text", [halve(made), 1], {"made": made, "n": n}, [numbers(n)])  # type: ignore[list-item]

    outputs = mixed.run().outputs
    assert (outputs.same, outputs.plain) == (4, "text")
    assert outputs.numbers == [4.0, 1.0]
    assert outputs.made == {"made": 8, "n": 4}
    assert outputs.pairs == [Both(8, 4.0)]


def test_a_workflow_without_nodes_runs() -> None:
    @workflow(executor="local")
    def same(n: int = 3) -> int:
        return n

    assert same.run(n=5).outputs.result == 5


def test_a_seed_that_is_left_out_is_that_of_the_run() -> None:
    @operator
    def draw(n: int, seed: Seed = None) -> int:
        return n + (seed or 0)

    @workflow(executor="local")
    def drawn(n: int = 1) -> list[int]:
        return [draw(n), draw(n, seed=None), draw(n, seed=5)]

    assert drawn.with_options(seed=7).run().outputs.result == [8, 8, 6]


def test_a_workflow_of_a_function_travels_by_cloudpickle() -> None:
    found = cloudpickle.loads(cloudpickle.dumps(numbers.with_options(seed=3)))
    assert found.options.seed == 3
    assert [n.name for n in found.compile().nodes] == ["double", "halve"]
    assert found(2) == Both(4, 2.0)


def test_nothing_runs_while_another_workflow_compiles() -> None:
    @workflow
    def runs(n: int) -> int:
        return double(numbers.run(n=3).outputs.value)

    @workflow
    def flows(n: int) -> int:
        return numbers.flow(n=3)  # type: ignore[no-any-return]

    calls.clear()
    for wrong in (runs, flows):
        with pytest.raises(CompileError, match=r"nothing runs while a workflow .*call it: numbers\(\.\.\.\)"):
            wrong.compile()
    assert calls == []


@pytest.mark.parametrize("name", ["run", "submit", "plan", "compile"])
def test_values_without_the_names_of_their_parameters_are_refused(name: str) -> None:
    with pytest.raises(ParameterError, match=r"workflow 'numbers': give its parameters by name: n=\.\.\."):
        getattr(numbers, name)(3)


def test_begin_and_end_of_a_run_are_logged_for_who_asks(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="flowlearner"):
        run = numbers.run(n=4)
    texts = [r.getMessage() for r in caplog.records if r.name == "flowlearner"]
    assert texts == [
        "workflow 'numbers' begins on executor 'local'",
        f"run {run.id} of workflow 'numbers' is COMPLETED",
    ]


@pytest.mark.parametrize("name", ["run", "submit", "plan"])
def test_a_mistake_of_the_user_is_raised_without_frames_from_within(name: str) -> None:
    with pytest.raises(ParameterError) as caught:
        getattr(numbers, name)(n=10)
    files = [Path(str(entry.path)).name for entry in caught.traceback]
    assert set(files) == {"test_facade.py", "facade.py"}
    assert caught.value.__context__ is None


def test_the_limits_of_nested_workflows_hold_for_the_parameters_that_reach_them() -> None:
    @workflow
    def inner(n: Annotated[int, Range(1, 3)], kind: Annotated[str, Choice(["a", "b"])] = "a") -> int:
        return double(n)

    @workflow
    def middle(n: int, kind: str = "a") -> int:
        return inner(n, kind)

    @workflow(executor="local")
    def outer(count: int, word: str = "b") -> list[int]:
        return [middle(count, word), middle(2)]

    calls.clear()
    with pytest.raises(ParameterError) as caught:
        outer.run(count=50, word="z")
    text = str(caught.value)
    assert (
        "parameter 'count': expected a value in 1..3, found 50; 'middle.inner.n', which receives it" in text
    )
    assert "parameter 'word': expected one of {a,b}, found 'z'; 'middle.inner.kind'" in text
    assert calls == []
    assert outer.run(count=3).outputs.result == [6, 4]
