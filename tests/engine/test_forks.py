"""Processes that fork between runs: the child runs workflows as its parent did."""

from __future__ import annotations

import multiprocessing

from flowlearner import Client, operator, workflow
from flowlearner.records import Status
from tests.engine.processes import LIMIT_S


@operator
def repeat(n: int) -> str:
    # Kept in a file, whose checksum is taken when it is read.
    return f"{n} " * 100_000


@operator
def measure(text: str) -> int:
    return len(text)


@workflow(executor="local")
def measured(n: int = 1) -> int:
    return measure(repeat(n))


def run_with(n: int) -> None:
    measured.run(n=n)


def test_a_child_that_is_forked_after_a_run_makes_runs_itself() -> None:
    measured.run(n=1)
    child = multiprocessing.get_context("fork").Process(target=run_with, args=(2,))
    child.start()
    child.join(LIMIT_S)
    try:
        assert child.exitcode == 0
    finally:
        child.kill()
    latest = Client().list_runs()[0].refresh()
    assert (latest.status, latest.params, latest.outputs.result) == (Status.COMPLETED, {"n": 2}, 200_000)
    assert latest.record.process is not None
    assert latest.record.process.pid == child.pid
