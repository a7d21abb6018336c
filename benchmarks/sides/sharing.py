"""Owns the trials that have most of their work in common: load, featurize in two ways, train in many.

The work is turns of arithmetic on an array, so that its parts are in the same proportion on every machine:
60 % of a trial is done before it trains.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from math import isclose
from typing import Any

import numpy as np
import numpy.typing as npt
from pairs import time_once

Floats = npt.NDArray[np.float64]
Values = dict[tuple[int, int], float]

SIZE = 50_000
KINDS = 2
LOAD_TURNS, FEATURE_TURNS, TRAIN_TURNS = 64, 32, 64


def turn(x: Floats, turns: int, angle: float) -> Floats:
    """Work on one processor; what differs before differs afterwards, though the map itself forgets it."""
    y = x
    for _ in range(turns):
        y = np.sin(y + angle) + 0.5 * np.cos(y)
    return x + y


def load_numbers(salt: int) -> Floats:
    """Make what all trials begin with."""
    return turn(np.linspace(salt, salt + 1, SIZE), LOAD_TURNS, 0.1)


def make_features(numbers: Floats, kind: int) -> Floats:
    """Make one of two kinds of features."""
    return turn(numbers, FEATURE_TURNS, 0.2 + kind)


def train_at(features: Floats, strength: int) -> float:
    """Do what only one trial does."""
    return float(turn(features, TRAIN_TURNS, strength / 1000).mean())


def run_trial(salt: int, kind: int, strength: int) -> float:
    """A whole trial, as those run it who share nothing."""
    return train_at(make_features(load_numbers(salt), kind), strength)


def list_points(strengths: int) -> list[tuple[int, int]]:
    """List kind and strength of each trial."""
    return list(itertools.product(range(KINDS), range(strengths)))


def make_rounds(run: Callable[[int], Values], strengths: int) -> Callable[[], float]:
    """Return what measures one round; some of its values are compared with those computed here.

    Args:
        run: makes all trials for a salt, which no round has in common with another.
        strengths: how many ways to train there are.
    """
    salts = itertools.count(1)
    points = list_points(strengths)

    def measure() -> float:
        salt = next(salts)
        found: Values = {}
        seconds = time_once(lambda: found.update(run(salt)))
        assert sorted(found) == points, f"{len(found)} trials, expected {len(points)}"
        for point in (points[0], points[strengths], points[-1]):
            expected = run_trial(salt, *point)
            assert isclose(found[point], expected), f"{point} gave {found[point]}, expected {expected}"
        return seconds

    return measure


def check_counts(executions: Mapping[str, Any], strengths: int) -> None:
    """Each call that trials have in common ran once."""
    expected = {"load": 1, "featurize": KINDS, "train": KINDS * strengths}
    assert dict(executions) == expected, f"{dict(executions)} were executed, expected {expected}"
