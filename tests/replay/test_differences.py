"""By how much two values differ."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from flowlearner.replay.differences import compare_values, show_difference


class Pair(NamedTuple):
    a: float
    b: str


def table(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (1.0, 1.5, "1 → 1.5 (by 0.5, 33.3 %)"),
        (2, 3, "2 → 3 (by 1, 33.3 %)"),
        (1.0, float("nan"), "1 → nan (by nan, nan %)"),
        (0.0, float("inf"), "0 → inf (by inf, nan %)"),
        ("a", "b", "'a' → 'b'"),
        (True, False, "True → False"),
        ([1.0, 2.0, 3.0], [1.0, 2.5, 3.0], "1 of 3 values differ, by 0.5 at most: [1]"),
        (
            {"a": 1, "b": [1]},
            {"a": 2, "c": [1]},
            "3 of 3 values differ, by 1 at most: ['a'], ['b'][0], ['c'][0]",
        ),
        (Pair(1.0, "x"), Pair(1.0, "y"), "1 of 2 values differ: ['b']"),
        (table(a=[1.0, 2.0]), table(a=[1.0, 2.25]), "1 cells differ, by 0.25 at most, in a"),
        (table(a=["x", None]), table(a=["y", None]), "1 cells differ, in a"),
        (table(a=[1, 2]), table(a=[1]), "2 → 1 rows"),
        (table(a=[1], b=[1]), table(a=[1], c=[1]), "further columns c; without columns b"),
        (table(a=[1.0, None]), table(a=[1.0, None]), None),
        (np.array([1.0, 2.0]), np.array([1.0, 4.0]), "1 cells differ, by 2 at most"),
        (np.array([1.0]), np.array([1.0, 4.0]), "shape [1] → [2]"),
        (object(), object(), None),
    ],
)
def test_a_difference_is_measured_and_told(before: Any, now: Any, said: str | None) -> None:
    found, is_within = compare_values(before, now)
    assert (found and show_difference(found)) == said
    assert is_within is False or found is None


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (1000.0, 1000.5),
        ([1000.0, 1.0], [1000.5, 1.0]),
        (table(a=[1000.0, None]), table(a=[1000.5, None])),
        (np.array([1000.0]), np.array([1000.5])),
    ],
)
def test_numbers_are_near_by_a_part_of_the_larger_one(before: Any, now: Any) -> None:
    assert compare_values(before, now, 1e-3)[1]
    assert not compare_values(before, now, 1e-4)[1]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ([1.0, "x"], [1.0, "y"]),
        (table(a=["x"]), table(a=["y"])),
        (table(a=[1]), table(a=[1.0])),
        (table(a=[1.0]), table(a=[None])),
        (1.0, float("nan")),
        (1.0, float("inf")),
        (np.array([1.0]), np.array([np.inf])),
        (np.array([1]), np.array([1.0])),
    ],
)
def test_only_numbers_are_near(before: Any, now: Any) -> None:
    assert not compare_values(before, now, 0.5)[1]
