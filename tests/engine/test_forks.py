"""Processes that fork between runs: the child runs workflows as its parent did."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys

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


def fork_after_a_run() -> None:
    """Print the pid of a child that has made a run."""
    measured.run(n=1)
    child = multiprocessing.get_context("fork").Process(target=run_with, args=(2,))
    child.start()
    child.join(LIMIT_S)
    try:
        assert child.exitcode == 0
    finally:
        child.kill()
    print(child.pid)


def test_a_child_that_is_forked_after_a_run_makes_runs_itself() -> None:
    # In a process of its own: threads that other tests have left in this one would not be there in the child.
    code = "from tests.engine.test_forks import fork_after_a_run; fork_after_a_run()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=2 * LIMIT_S)
    assert done.returncode == 0, done.stderr
    latest = Client().list_runs()[0].refresh()
    assert (latest.status, latest.params, latest.outputs.result) == (Status.COMPLETED, {"n": 2}, 200_000)
    assert latest.record.process is not None
    assert latest.record.process.pid == int(done.stdout.split()[-1])
