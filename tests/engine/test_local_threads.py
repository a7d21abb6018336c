"""Tests of the threads of the local executor."""

from __future__ import annotations

import decimal
import threading
from contextvars import ContextVar

from flowlearner import operator, workflow

mark = ContextVar("mark", default="none")


@operator(cache=False)
def change_context(step: int) -> int:
    """Change what belongs to the context of a thread."""
    mark.set(f"set by {step}")
    decimal.getcontext().prec = 3
    return step + 1


@operator(cache=False)
def read_context(step: int) -> str:
    """Say what the context holds."""
    return f"{mark.get()}, {decimal.getcontext().prec} digits"


@workflow(executor="local")
def change_then_read() -> str:
    """Several nodes in a row, which may share a thread."""
    step = change_context(0)
    for _ in range(5):
        step = change_context(step)
    return read_context(step)


def test_what_a_node_sets_for_its_context_does_not_reach_the_next_node() -> None:
    assert change_then_read.run().outputs.result == "none, 28 digits"


def test_threads_end_with_their_run() -> None:
    before = set(threading.enumerate())
    change_then_read.run()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)
        assert not thread.is_alive(), f"{thread.name} still waits"
