"""What operators print, log, warn and report: where it goes, and whose it is."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any

import numpy as np
import pytest

import flowlearner
from flowlearner import Client, operator, workflow
from flowlearner.engine.logs import MAX_LINES, NodeContext, captured, current_node
from flowlearner.facade import Workflow
from flowlearner.records import LogLine


@operator(cache=False)
def talk(n: int) -> int:
    print("to stdout", n)
    print("to stderr", n, file=sys.stderr)
    logging.getLogger("mine").info("an info")
    logging.getLogger("mine").warning("a %s warning", "logged")
    logging.getLogger("mine").debug("too fine")
    return n


@operator(cache=False, isolate=True)
def talk_apart(n: int) -> int:
    print("to stdout", n)
    logging.getLogger("mine").warning("a %s warning", "logged")
    return n


@operator(cache=False)
def warn(n: int) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("about to be removed", FutureWarning, stacklevel=1)
    return n


@operator(cache=False)
def half_a_line(n: int) -> int:
    print("first\nsecond", end="")
    return n


@operator(cache=False)
def progress(n: int) -> int:
    for i in range(n):
        print(f"\r{i} of {n}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return n


@operator(cache=False)
def bad_format(n: int) -> int:
    raised = logging.raiseExceptions
    logging.raiseExceptions = False
    logging.getLogger("mine").info("%d", "text")
    logging.raiseExceptions = raised
    return n


def make(operator_: Any) -> Workflow[..., Any]:
    @workflow(executor="local")
    def flow(n: int = 3) -> int:
        result: int = operator_(n)
        return result

    return flow


def lines_of(operator_: Any) -> list[tuple[str | None, str, str]]:
    run = make(operator_).run()
    return [(line.node, line.level, line.message) for line in Client().logs(run.id)]


def test_prints_and_records_are_kept_in_order_with_their_node() -> None:
    assert lines_of(talk) == [
        ("talk", "PRINT", "to stdout 3"),
        ("talk", "PRINT", "to stderr 3"),
        ("talk", "INFO", "an info"),
        ("talk", "WARNING", "a logged warning"),
    ]


@pytest.mark.slow
def test_a_child_process_says_the_same() -> None:
    assert lines_of(talk_apart) == [
        ("talk_apart", "PRINT", "to stdout 3"),
        ("talk_apart", "WARNING", "a logged warning"),
    ]


@pytest.mark.parametrize("where", ["here", pytest.param("apart", marks=pytest.mark.slow)])
def test_what_the_threads_of_an_operator_say_and_report_is_the_nodes(where: str) -> None:
    def say(i: int) -> None:
        print("printed", i)
        logging.getLogger("mine").warning("logged %s", i)
        flowlearner.report(step=i, loss=float(i))

    @operator(cache=False, isolate=where == "apart")
    def threaded(n: int) -> int:
        import threading
        from concurrent.futures import ThreadPoolExecutor

        thread = threading.Thread(target=say, args=(0,))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            list(pool.map(say, range(1, n)))
        return n

    run = make(threaded).run()
    assert [line.message for line in Client().logs(run.id)] == [
        f"{word} {i}" for i in range(3) for word in ("printed", "logged")
    ]
    assert [p.value for p in Client().list_metric_points(run.id, "loss")] == [0.0, 1.0, 2.0]


def test_a_thread_that_outlives_its_node_is_no_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    import threading

    go_on = threading.Event()
    threads: list[threading.Thread] = []

    def say_late() -> None:
        go_on.wait(30)
        print("late")

    @operator(cache=False)
    def leave(n: int) -> int:
        threads.append(threading.Thread(target=say_late))
        threads[0].start()
        return n

    @operator(cache=False)
    def join(n: int) -> int:
        go_on.set()
        threads[0].join()
        return n

    @workflow(executor="local")
    def flow(n: int = 3) -> int:
        return join(leave(n))

    assert Client().logs(flow.run().id) == []
    assert capsys.readouterr().out == "late\n"


def test_python_warnings_are_kept_with_their_place_and_shown() -> None:
    with pytest.warns(FutureWarning, match="about to be removed"):
        ((node, level, message),) = lines_of(warn)
    assert (node, level) == ("warn", "WARNING")
    assert message.startswith("FutureWarning: about to be removed (")
    assert "test_logs.py:" in message


def test_a_line_without_end_is_kept() -> None:
    assert [m for _, _, m in lines_of(half_a_line)] == ["first", "second"]


def test_of_a_line_that_is_overprinted_the_last_state_is_kept() -> None:
    assert [m for _, _, m in lines_of(progress)] == ["2 of 3"]


def test_a_bad_format_string_does_not_fail_the_operator() -> None:
    assert make(bad_format).run().outputs.result == 3


def test_prints_still_reach_the_streams_and_these_are_put_back(capfd: pytest.CaptureFixture[str]) -> None:
    before = (sys.stdout, sys.stderr, warnings.showwarning, list(logging.getLogger().handlers))
    make(talk).run()
    assert (sys.stdout, sys.stderr, warnings.showwarning, list(logging.getLogger().handlers)) == before
    out, err = capfd.readouterr()
    assert out == "to stdout 3\n"
    assert "to stderr 3\n" in err


def test_what_a_listener_prints_is_not_the_nodes() -> None:
    seen: list[str] = []

    def sink(line: LogLine) -> None:
        seen.append(line.message)
        print("the display shows", line.message)

    context = NodeContext("run", "node", sink)
    with captured():
        token = current_node.set(context)
        print("hello")
        current_node.reset(token)
    assert seen == ["hello"]


def test_lines_without_end_are_cut_and_say_so() -> None:
    context = NodeContext("run", "node", lambda line: None)
    for i in range(MAX_LINES + 10):
        context.add_line("INFO", str(i))
    assert len(context.lines) == MAX_LINES + 1
    assert "the rest is dropped" in context.lines[-1].message


def test_a_report_has_a_history_and_the_last_value_is_the_metric() -> None:
    @operator
    def learn(n: int) -> int:
        for step in range(n):
            flowlearner.report(step=step, loss=1.0 / (step + 1))
        return n

    flow = make(learn)
    first, again = flow.run(), flow.run()
    assert again.nodes[0].cached
    client = Client()
    for run in (first, again):
        points = client.list_metric_points(run.id, "loss")
        assert [(p.step, p.value) for p in points] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
        assert run.metrics == {"loss": 1 / 3}


@pytest.mark.parametrize("value", ["0.5", True, None])
def test_a_report_takes_numbers_only(value: Any) -> None:
    with pytest.raises(TypeError, match=r"report\(auc=...\): expected a number"):
        flowlearner.report(auc=value)


@pytest.mark.parametrize(
    ("step", "error", "words"),
    [
        (1.5, TypeError, "expected a whole number, found float"),
        ("1", TypeError, "expected a whole number, found str"),
        (2**63, ValueError, "expected a number of at most 63 bits, found 9223372036854775808"),
    ],
)
def test_a_report_takes_whole_steps_only(step: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        flowlearner.report(step=step, auc=0.5)


def test_a_step_may_be_a_number_of_numpy() -> None:
    @operator
    def learn(n: int) -> int:
        flowlearner.report(step=np.int64(3), loss=np.float32(0.5))
        return n

    @workflow(executor="local")
    def flow(n: int = 1) -> int:
        return learn(n)

    points = Client().list_metric_points(flow.run().id)
    assert [(p.step, p.value) for p in points] == [(3, 0.5)]


def test_a_report_outside_of_a_run_does_nothing() -> None:
    flowlearner.report(step=1, auc=0.5)
