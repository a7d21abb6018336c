"""What a run records of operators that raise, return something else, or end Python."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from flowlearner import Columns, Metric, RunFailed, Secret, operator, workflow
from flowlearner.client import Run
from flowlearner.engine.node import MAX_MESSAGE_CHARS, MAX_TRACEBACK_CHARS
from flowlearner.records import ErrorInfo, Status
from tests.engine.calls import called


class Pair(NamedTuple):
    low: int
    high: int


class Other(NamedTuple):
    first: int
    second: int


def fail(run: Callable[[], Any]) -> Run:
    with pytest.raises(RunFailed) as caught:
        run()
    assert caught.value.run.status is Status.FAILED
    return caught.value.run


def error_of(run: Run, node: str) -> ErrorInfo:
    error = next(n for n in run.nodes if n.name == node).error
    assert error is not None
    return error


def helper(n: int) -> int:
    return 1 // n


@operator
def divide(n: int) -> int:
    return helper(n)


@operator
def leave(code: int) -> int:
    raise SystemExit(code)


@operator
def interrupt(n: int) -> int:
    raise KeyboardInterrupt


@operator
def unprintable(n: int) -> int:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    raise Broken


@operator
def chained(n: int) -> int:
    try:
        return helper(n)
    except ZeroDivisionError as error:
        raise RuntimeError("cannot divide") from error


@operator
def wrong_tuple(n: int) -> Pair:
    return Other(1, 2)  # type: ignore[return-value]


@operator
def short_tuple(n: int) -> Pair:
    return (n,)  # type: ignore[return-value]


@operator
def wrong_field(n: int) -> Pair:
    return Pair(low=1, high="two")  # type: ignore[arg-type]


@operator
def surplus_column(n: int) -> Annotated[pd.DataFrame, Columns(x=int)]:
    return pd.DataFrame({"x": [n], "y": [n]})


@operator
def nothing(n: int) -> None:
    return n  # type: ignore[return-value]


@operator
def add_one(n: int) -> int:
    return n + 1


def test_the_traceback_holds_the_users_frames_and_none_of_the_engines() -> None:
    @workflow(executor="local")
    def flow(n: int = 0) -> int:
        return divide(n)

    error = error_of(fail(flow.run), "divide")
    assert error.type == "ZeroDivisionError"
    assert "in divide" in error.traceback
    assert "in helper" in error.traceback
    assert f"flowlearner{os.sep}engine" not in error.traceback


def test_of_chained_errors_the_last_comes_first_and_says_what_caused_it() -> None:
    @workflow(executor="local")
    def flow(n: int = 0) -> int:
        return chained(n)

    error = error_of(fail(flow.run), "chained")
    assert error.message == "cannot divide"
    last, link, cause = error.traceback.partition("\n\nIt was caused by:\n\n")
    assert link
    assert last.splitlines()[2].strip() == 'raise RuntimeError("cannot divide") from error'
    assert last.endswith("RuntimeError: cannot divide")
    assert "in helper" in cause
    assert cause.endswith("ZeroDivisionError: integer division or modulo by zero\n")


def test_an_error_that_met_another_says_so() -> None:
    @operator
    def handle(n: int) -> int:
        try:
            return helper(n)
        except ZeroDivisionError:
            return int({}["missing"])

    @workflow(executor="local")
    def flow(n: int = 0) -> int:
        return handle(n)

    text = error_of(fail(flow.run), "handle").traceback
    last, link, before = text.partition("\nIt was raised while this exception was handled:\n")
    assert "KeyError: 'missing'" in last
    assert link
    assert "ZeroDivisionError" in before


def test_every_error_of_a_group_is_kept() -> None:
    @operator
    def several(n: int) -> int:
        raise ExceptionGroup("two of them", [ValueError("the first"), TypeError("the second")])

    @workflow(executor="local")
    def flow(n: int = 0) -> int:
        return several(n)

    text = error_of(fail(flow.run), "several").traceback
    assert "ValueError: the first" in text
    assert "TypeError: the second" in text


def test_a_huge_message_is_cut_in_the_traceback_too() -> None:
    @operator
    def verbose(n: int) -> int:
        raise ValueError("x" * 1_000_000)

    @workflow(executor="local")
    def flow(n: int = 0) -> int:
        return verbose(n)

    error = error_of(fail(flow.run), "verbose")
    assert len(error.message) == MAX_MESSAGE_CHARS
    assert len(error.traceback) == MAX_TRACEBACK_CHARS


def test_a_message_that_is_no_unicode_is_recorded_readably() -> None:
    @operator
    def read(n: int) -> int:
        raise ValueError("no file 'caf\udce9\0'")

    @workflow(executor="local")
    def flow(n: int = 0) -> int:
        return read(n)

    error = error_of(fail(flow.run), "read")
    assert error.message == "no file 'caf\\udce9\N{REPLACEMENT CHARACTER}'"
    error.traceback.encode()


def test_an_operator_that_ends_python_fails_its_node_only() -> None:
    class Both(NamedTuple):
        left: int
        added: int

    @workflow(executor="local")
    def flow(n: int = 3) -> Both:
        return Both(leave(n), add_one(n))

    run = fail(flow.run)
    assert error_of(run, "leave").message == "the operator called sys.exit(3)"
    assert run.nodes[1].status is Status.COMPLETED


def test_an_operator_that_raises_keyboard_interrupt_fails_its_node() -> None:
    @workflow(executor="local")
    def flow(n: int = 1) -> int:
        return interrupt(n)

    assert error_of(fail(flow.run), "interrupt").type == "KeyboardInterrupt"


def test_an_exception_without_printable_message_is_recorded() -> None:
    @workflow(executor="local")
    def flow(n: int = 1) -> int:
        return unprintable(n)

    assert "cannot be shown (RuntimeError)" in error_of(fail(flow.run), "unprintable").message


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (wrong_tuple, r"returned .*Other\(first, second\), but declares Pair\(low, high\)"),
        (short_tuple, r"returned tuple of 1, but declares Pair\(low, high\)"),
        (wrong_field, "output 'high': expected int, found str 'two'"),
    ],
    ids=["another NamedTuple", "too few", "another type in a field"],
)
def test_outputs_other_than_declared_fail_with_both_named(broken: Any, words: str) -> None:
    @workflow(executor="local")
    def flow(n: int = 1) -> int:
        return broken(n).low

    with pytest.raises(RunFailed, match=words):
        flow.run()


def test_a_value_from_an_operator_that_declares_none_fails() -> None:
    @workflow(executor="local")
    def flow(n: int = 1) -> None:
        nothing(n)

    with pytest.raises(RunFailed, match="returned int, but declares None"):
        flow.run()


def test_an_undeclared_column_of_an_output_fails_its_node() -> None:
    @workflow(executor="local")
    def flow(n: int = 1) -> Any:
        return surplus_column(n)

    with pytest.raises(RunFailed, match=r"output 'result': .*undeclared y"):
        flow.run()


def test_the_nodes_behind_a_failed_one_are_skipped_at_any_depth() -> None:
    @workflow(executor="local")
    def flow(n: int = 0) -> int:
        return add_one(add_one(divide(n)))

    run = fail(flow.run)
    assert [n.status for n in run.nodes] == [Status.FAILED, Status.SKIPPED, Status.SKIPPED]
    assert dict(run.outputs) == {} if isinstance(run.outputs, dict) else list(run.outputs) == []


def test_a_failed_attempt_that_is_retried_leaves_its_logs_and_not_its_metrics() -> None:
    @operator(retries=1, cache=False)
    def flaky(path: str) -> int:
        import flowlearner

        first = not Path(path).exists()
        Path(path).touch()
        print("first" if first else "second")
        flowlearner.report(step=0 if first else 1, seen=1.0)
        if first:
            raise RuntimeError("once")
        return 1

    @workflow(executor="local")
    def flow(path: str) -> int:
        return flaky(path)

    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        run = flow.run(path=str(Path(folder, "seen")))
    from flowlearner import Client

    client = Client()
    assert run.nodes[0].attempt == 2
    assert [line.message for line in client.logs(run.id)] == ["first", "second"]
    assert [p.step for p in client.list_metric_points(run.id)] == [1]


def test_retries_that_are_used_up_fail_the_node_with_its_last_attempt() -> None:
    @operator(retries=2)
    def never(n: int) -> int:
        raise RuntimeError("never")

    @workflow(executor="local")
    def flow(n: int = 1) -> int:
        return never(n)

    assert fail(flow.run).nodes[0].attempt == 3


def test_a_secret_is_hidden_also_as_repr_shows_it_and_line_by_line(own_home: Path) -> None:
    @operator
    def leak(key: Secret) -> int:
        print(repr(key))
        for line in key.splitlines():
            print(line)
        raise RuntimeError(f"refused {key!r}")

    @workflow(executor="local")
    def flow(key: Secret) -> int:
        return leak(key)

    lines = ["BEGIN" + " OF MY KEY", "qwerty" * 5]
    fail(lambda: flow.run(key="\n".join(lines)))
    stored = b"".join(f.read_bytes() for f in own_home.rglob("*") if f.is_file())
    assert [line for line in lines if line.encode() in stored] == []


def test_an_output_that_holds_a_secret_is_refused(own_home: Path) -> None:
    @operator
    def make_url(password: Secret) -> str:
        return f"postgres://me:{password}@host"

    @workflow(executor="local")
    def flow(password: Secret) -> str:
        return make_url(password)

    text = "".join(["pass", "word", "123"])
    with pytest.raises(RunFailed, match="output 'result': it holds the text of a Secret"):
        flow.run(password=text)
    assert not any(text.encode() in f.read_bytes() for f in own_home.rglob("*") if f.is_file())


def test_another_secret_does_not_change_the_key(calls: list[str]) -> None:
    @operator
    def fetch(password: Secret, n: int) -> int:
        called("fetch")
        return n

    @workflow(executor="local")
    def flow(password: Secret, n: int = 1) -> int:
        return fetch(password, n)

    flow.run(password="one secret")
    run = flow.run(password="another secret")
    assert calls == ["fetch"]
    assert run.nodes[0].inputs["password"] is None


def test_metric_outputs_and_reported_names_that_collide_are_prefixed() -> None:
    @operator
    def learn(n: int) -> Metric:
        import flowlearner

        flowlearner.report(auc=n / 10, loss=float(n))
        return n / 100

    class Scores(NamedTuple):
        auc: Metric
        other: Metric

    @workflow(executor="local")
    def flow(n: int = 4) -> Scores:
        return Scores(auc=learn(n), other=learn(2))

    assert dict(flow.run().metrics) == {
        "auc": 0.04,
        "other": 0.02,
        "learn.auc": 0.4,
        "learn_2.auc": 0.2,
        "learn.loss": 4.0,
        "learn_2.loss": 2.0,
    }


def test_a_workflow_may_return_a_list_of_outputs_and_its_own_parameters() -> None:
    class Outputs(NamedTuple):
        values: list[int]
        label: str

    @workflow(executor="local")
    def flow(n: int = 1, label: str = "late") -> Outputs:
        return Outputs([add_one(n), add_one(5)], label)

    run = flow.run()
    assert run.outputs.values == [2, 6]
    assert run.outputs.label == "late"


@pytest.mark.parametrize("where", ["here", "in a child"])
def test_each_consumer_has_a_value_of_its_own(where: str) -> None:
    """Tables, arrays, containers and models: what one consumer changes, the next does not see."""

    class Things(NamedTuple):
        table: pd.DataFrame
        array: np.ndarray  # type: ignore[type-arg]
        words: dict[str, list[int]]

    @operator
    def make(n: int) -> Things:
        return Things(pd.DataFrame({"x": [1.0] * n}), np.ones(n), {"a": [1]})

    isolate = where == "in a child"

    @operator(isolate=isolate)
    def spoil(table: pd.DataFrame, array: np.ndarray, words: dict[str, list[int]]) -> int:  # type: ignore[type-arg]
        table["x"] = 0.0
        table.loc[0, "x"] = 7.0
        array[:] = 9
        words["a"].append(2)
        words["b"] = []
        return 1

    @operator
    def look(table: pd.DataFrame, array: np.ndarray, words: dict[str, list[int]], after: int) -> list[float]:  # type: ignore[type-arg]
        return [float(table["x"].sum()), float(array.sum()), float(len(words)), float(len(words["a"]))]

    @workflow(executor="local")
    def flow(n: int = 20_000) -> list[float]:
        things = make(n)
        after = spoil(things.table, things.array, things.words)
        return look(things.table, things.array, things.words, after)

    assert flow.run().outputs.result == [20_000.0, 20_000.0, 1.0, 1.0]


def test_a_literal_list_is_each_consumers_own() -> None:
    @operator
    def spoil(values: list[int]) -> int:
        values.append(100)
        return len(values)

    @operator
    def count(values: list[int], after: int) -> int:
        return len(values)

    shared = [1, 2]

    @workflow(executor="local")
    def flow() -> int:
        return count(shared, spoil(shared))

    assert flow.run().outputs.result == 2
    assert shared == [1, 2]
