"""joblib's side: 100 calls that joblib.Memory caches on disk; a cache without a graph or a record."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

from joblib import Memory
from sides.grid import LAYERS, SPREAD, WIDTH, make_rounds


def start(salt: int, column: int) -> int:
    """A node of the first layer."""
    return salt * SPREAD + column


def step(left: int, right: int) -> int:  # noqa: ARG001 - it waits for both
    """A node of any other layer."""
    return left + 100


def make(mode: str) -> Callable[[], float]:
    """Rounds of all calls, with every result on disk."""
    assert mode == "cached"
    memory = Memory(tempfile.mkdtemp(), verbose=0)
    cached_start, cached_step = memory.cache(start), memory.cache(step)

    def run(salt: int) -> list[int]:
        layer = [cached_start(salt, column) for column in range(WIDTH)]
        for _ in range(LAYERS - 1):
            layer = [cached_step(layer[c], layer[(c + 1) % WIDTH]) for c in range(WIDTH)]
        return layer

    return make_rounds(run, {start.__code__, step.__code__}, cached=True)
