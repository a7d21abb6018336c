"""Tests of the processes that benchmarks compare, and of what every side checks of itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.side import Side, SideFailed

pytestmark = pytest.mark.slow


def test_a_side_measures_as_often_as_it_is_asked() -> None:
    with Side("grid_joblib", "cached") as side:
        assert all(side() > 0 for _ in range(3))


def test_what_a_side_raises_is_shown_by_its_parent() -> None:
    with (
        pytest.raises(SideFailed, match=r"grid_joblib wrong[\s\S]*AssertionError"),
        Side("grid_joblib", "wrong"),
    ):
        pass


def test_a_side_that_is_not_there_is_named() -> None:
    with pytest.raises(SideFailed, match=r"No module named 'sides\.nothing'"), Side("nothing"):
        pass


@pytest.fixture
def import_grid(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Import the shared shape as a side does, with the benchmarks' folder on the path."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return lambda: importlib.import_module("sides.grid")


def test_a_grid_that_calls_where_all_is_cached_is_refused(import_grid: Callable[[], Any]) -> None:
    grid = import_grid()

    def step() -> None:
        """A node that is called once."""

    def run(salt: int) -> list[int]:
        step()
        expected: list[int] = grid.expect(salt)
        return expected

    with pytest.raises(AssertionError, match="1 nodes were called, expected 0"):
        grid.make_rounds(run, {step.__code__}, cached=True)
