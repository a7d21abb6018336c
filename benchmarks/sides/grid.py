"""Owns the shape that all sides build: ten layers of ten nodes, each reading two of the layer before.

Every number in it is different, also from one salt to the next, so that no two calls are the same call to a
cache. Functions are as short as a function of a node can be.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from pairs import time_once

WIDTH = 10
LAYERS = 10
NODES = WIDTH * LAYERS
SPREAD = 10_000


def expect(salt: int) -> list[int]:
    """Return what the last layer gives."""
    return [salt * SPREAD + column + (LAYERS - 1) * 100 for column in range(WIDTH)]


def count_calls(run: Callable[[], object], codes: set[CodeType]) -> int:
    """Run something and count the calls of these functions, in this thread and those that it starts."""
    calls: list[CodeType] = []

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code in codes:
            calls.append(frame.f_code)

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        run()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return len(calls)


def make_rounds(run: Callable[[int], list[int]], codes: set[CodeType], cached: bool) -> Callable[[], float]:
    """Return what measures one round, after a look at how many nodes are called in one.

    Args:
        run: runs the grid for a salt and returns what the last layer gives.
        codes: of the functions that are nodes.
        cached: every round has the same salt, and no node may be called; else each has one of its own, and
            all nodes must be.
    """
    salts = itertools.repeat(1) if cached else itertools.count(1)
    assert run(next(salts)) == expect(1)
    found = count_calls(lambda: run(next(salts)), codes)
    wanted = 0 if cached else NODES
    assert found == wanted, f"{found} nodes were called, expected {wanted}"

    def measure() -> float:
        salt = next(salts)
        taken: list[list[int]] = []
        seconds = time_once(lambda: taken.append(run(salt)))
        assert taken == [expect(salt)], f"salt {salt} gave {taken}"
        return seconds

    return measure
