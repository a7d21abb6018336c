"""Runs on the local executor: results, failures, cancellation, isolation."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

import flowlearner
from flowlearner import (
    Client,
    ResourceError,
    RunFailed,
    operator,
    workflow,
)
from flowlearner.records import Status
from tests.engine.flows import add, load, parity, simple
from tests.engine.processes import is_running


def test_a_run_completes_and_its_outputs_load() -> None:
    run = simple.run(n=4)
    assert run.status is Status.COMPLETED
    assert run.outputs.mean == 1.5
    assert list(run.outputs.rows["x"]) == [0, 1, 2, 3]
    assert run.metrics == {"mean": 1.5}
    assert [n.name for n in run.nodes] == ["load", "mean"]


def test_a_failing_node_fails_the_run_and_independent_branches_finish() -> None:
    @operator
    def fail(n: int) -> int:
        raise ValueError(f"no {n} today")

    class Both(NamedTuple):
        bad: float
        good: int

    @workflow(executor="local")
    def branches(n: int = 3) -> Both:
        return Both(bad=add(fail(n), 1.0), good=parity(n))

    with pytest.raises(RunFailed, match="node 'fail' failed: ValueError: no 3 today") as caught:
        branches.run()
    run = caught.value.run
    assert {n.name: n.status for n in run.nodes} == {
        "fail": Status.FAILED,
        "add": Status.SKIPPED,
        "parity": Status.COMPLETED,
    }
    error = run.nodes[0].error
    assert error is not None
    assert error.type == "ValueError"
    assert "flowlearner/engine" not in error.traceback
    assert "no 3 today" in error.traceback


def test_retries_are_made_and_the_attempt_is_recorded() -> None:
    attempts: list[int] = []

    @operator(retries=2, uses=[], version="retry-test")
    def flaky(n: int) -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise RuntimeError("not yet")
        return n

    @workflow(executor="local")
    def tries(n: int = 1) -> int:
        return flaky(n)

    run = tries.run()
    assert len(attempts) == 3
    assert run.nodes[0].attempt == 3


def test_an_operator_that_returns_another_type_fails_with_both_types() -> None:
    @operator
    def wrong(n: int) -> int:
        return "text"  # type: ignore[return-value]

    @workflow(executor="local")
    def bad(n: int = 1) -> int:
        return wrong(n)

    with pytest.raises(RunFailed, match="expected int, found str 'text'"):
        bad.run()


def test_a_value_without_codec_fails_its_node() -> None:
    @operator
    def odd(n: int) -> Any:
        return threading.Lock()

    @workflow(executor="local")
    def bad(n: int = 1) -> Any:
        return odd(n)

    with pytest.raises(RunFailed, match="codec"):
        bad.run()


def test_logs_and_prints_reach_the_catalog() -> None:
    @operator
    def talk(n: int) -> int:
        print("hello from print")
        logging.getLogger("mine").info("hello from logging")
        return n

    @workflow(executor="local")
    def talks(n: int = 1) -> int:
        return talk(n)

    run = talks.run()
    lines = [(line.node, line.level, line.message) for line in Client().logs(run.id)]
    assert ("talk", "PRINT", "hello from print") in lines
    assert ("talk", "INFO", "hello from logging") in lines


def test_what_can_never_fit_is_refused_with_the_numbers() -> None:
    @operator(cpus=512)
    def huge(n: int) -> int:
        return n

    @workflow(executor="local")
    def never(n: int = 1) -> int:
        return huge(n)

    with pytest.raises(ResourceError, match="node 'huge' asks for 512 cpus"):
        never.run()
    assert Client().list_runs() == []


def test_an_isolated_operator_runs_in_a_child_with_the_same_result() -> None:
    @operator(isolate=True)
    def child(rows: pd.DataFrame) -> int:
        print("in the child")
        flowlearner.report(step=1, seen=float(len(rows)))
        return os.getpid()

    @workflow(executor="local")
    def isolated(n: int = 4) -> int:
        return child(load(n))

    run = isolated.run()
    assert run.outputs.result != os.getpid()
    assert run.metrics["seen"] == 4.0
    assert "in the child" in [line.message for line in Client().logs(run.id)]


def test_a_timeout_kills_the_child_and_what_it_started(tmp_path: Path) -> None:
    marker = tmp_path / "pids"

    @operator(timeout_s=3)
    def stuck(path: str) -> int:
        import subprocess
        import time

        child = subprocess.Popen(["sleep", "600"])
        Path(path).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)
        return 1

    @workflow(executor="local")
    def slow(path: str) -> int:
        return stuck(path)

    with pytest.raises(RunFailed, match="longer than timeout_s=3"):
        slow.run(path=str(marker))
    for pid in marker.read_text().split():
        assert not is_running(int(pid))


def test_a_child_that_dies_is_a_failure_that_names_the_signal() -> None:
    @operator(isolate=True)
    def suicidal(n: int) -> int:
        os.kill(os.getpid(), 9)
        return n

    @workflow(executor="local")
    def dies(n: int = 1) -> int:
        return suicidal(n)

    with pytest.raises(RunFailed, match="SIGKILL"):
        dies.run()


def test_cancelling_from_another_thread_ends_in_cancelled_and_kills_children(tmp_path: Path) -> None:
    marker = tmp_path / "pid"

    @operator(isolate=True)
    def stuck(path: str) -> int:
        import time

        Path(path).write_text(str(os.getpid()))
        time.sleep(600)
        return 1

    @operator
    def spin(n: int) -> int:
        while True:
            n += 1

    class Both(NamedTuple):
        a: int
        b: int

    @workflow(executor="local")
    def slow(path: str) -> Both:
        return Both(stuck(path), parity(spin(1)))

    def cancel() -> None:
        client = Client()
        while not marker.exists():
            time.sleep(0.05)
        client.cancel_run(client.list_runs()[0].id)

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(RunFailed) as caught:
        slow.run(path=str(marker))
    thread.join()
    run = caught.value.run
    assert run.status is Status.CANCELLED
    assert {n.status for n in run.nodes} == {Status.CANCELLED}
    assert not is_running(int(marker.read_text()))


def test_two_isolated_one_cpu_operators_overlap_and_two_cpu_ones_do_not(tmp_path: Path) -> None:
    def body(path: str, name: str) -> float:
        import time

        begin = time.time()
        value = 0
        while time.time() - begin < 1.5:
            value += 1
        Path(path, name).write_text(f"{begin} {time.time()}")
        return begin

    @operator(isolate=True, cpus=1, cache=False)
    def narrow(path: str, name: str) -> float:
        return body(path, name)

    @operator(isolate=True, cpus=2, cache=False)
    def wide(path: str, name: str) -> float:
        return body(path, name)

    class Pair(NamedTuple):
        a: float
        b: float

    @workflow(executor="local")
    def overlap(path: str) -> Pair:
        return Pair(narrow(path, "n1"), narrow(path, "n2"))

    @workflow(executor="local")
    def serial(path: str) -> Pair:
        return Pair(wide(path, "w1"), wide(path, "w2"))

    overlap.run(path=str(tmp_path))
    serial.run(path=str(tmp_path))

    def times(name: str) -> tuple[float, float]:
        begin, end = (tmp_path / name).read_text().split()
        return float(begin), float(end)

    (a, b), (c, d) = times("n1"), times("n2")
    assert max(a, c) < min(b, d), "the 1-cpu operators did not overlap"
    (a, b), (c, d) = times("w1"), times("w2")
    assert b <= c or d <= a, "the 2-cpu operators overlapped"


def test_two_threads_may_run_workflows_at_the_same_time() -> None:
    results: list[float] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(simple.run(n=n).outputs.mean)) for n in (2, 3, 4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0.5, 1.0, 1.5]
