"""Owns what all sides of trivial trials do: two numbers in, their sum out, every trial checked."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from math import isclose

from pairs import time_once

# x, y and the value that was kept of them.
Trial = tuple[float, float, float]


def check_trials(trials: Sequence[Trial], count: int) -> None:
    """Every trial is there, at a point of its own, with the sum of its numbers."""
    assert len(trials) == count, f"{len(trials)} trials, expected {count}"
    assert len({(x, y) for x, y, _ in trials}) == count, "two trials have the same point"
    wrong = [t for t in trials if not isclose(t[0] + t[1], t[2], abs_tol=1e-9)]
    assert not wrong, f"{len(wrong)} trials have a wrong value, such as {wrong[0]}"


def make_rounds(
    run: Callable[[int], object], read: Callable[[], Sequence[Trial]], count: int
) -> Callable[[], float]:
    """Return what measures one round.

    Args:
        run: makes all trials of a round with this seed, recorded as far as the side records.
        read: gives the trials of the last round; its time does not count.
        count: trials of a round.
    """
    seeds = itertools.count()

    def measure() -> float:
        seed = next(seeds)
        seconds = time_once(lambda: run(seed))
        check_trials(read(), count)
        return seconds

    return measure
