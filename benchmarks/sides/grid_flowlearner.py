"""Our side: the grid as a workflow."""

from __future__ import annotations

from collections.abc import Callable

from sides.grid import make_rounds

from flowlearner import Static, operator, workflow


@operator
def start(salt: int, column: int) -> int:
    """A node of the first layer."""
    return salt * 10_000 + column


@operator
def step(left: int, right: int) -> int:  # noqa: ARG001 - it waits for both
    """A node of any other layer."""
    return left + 100


@workflow
def grid(salt: int, width: Static[int] = 10, layers: Static[int] = 10) -> list[int]:
    """Ten layers of ten nodes."""
    layer = [start(salt, column) for column in range(width)]
    for _ in range(layers - 1):
        layer = [step(layer[column], layer[(column + 1) % width]) for column in range(width)]
    return layer


def make(mode: str) -> Callable[[], float]:
    """Rounds on an executor ("local" or "prefect"), or on the local one with everything cached ("cached").

    A round is all of `run`: compiling, keys, look-ups, calls, storing, recording, and reading the run.
    """
    cached = mode == "cached"
    configured = grid.with_options(executor="local" if cached else mode)

    def run(salt: int) -> list[int]:
        found: list[int] = configured.run(salt=salt).outputs.result
        return found

    return make_rounds(run, {start.fn.__code__, step.fn.__code__}, cached)
