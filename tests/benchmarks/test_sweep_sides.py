"""Tests of what the sides of sweeps check of themselves, and of what takes few pairs or runs when named."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pairs import Pairs, choose_few, make_result
from benchmarks.places import make_env
from benchmarks.side import Side


@pytest.fixture
def import_script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import a module as the benchmarks do, with their folder on the path."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module


@pytest.mark.parametrize(("asked", "taken"), [(7, 3), (12, 3), (3, 1), (1, 1)])
def test_of_what_takes_long_few_pairs_are_taken(asked: int, taken: int) -> None:
    assert choose_few(asked) == taken


def test_few_pairs_are_a_verdict_where_they_are_enough() -> None:
    pairs = Pairs(ours=(1.0,) * 3, peer=(1.0,) * 3)
    assert not make_result("a start", pairs, "none", ok=True, enough=3)["quick"]
    assert make_result("a start", pairs, "none", ok=True)["quick"]


def test_long_benchmarks_run_where_they_are_named_or_asked_for(import_script: Callable[[str], Any]) -> None:
    run = import_script("run")
    long, find = set(run.LONG), run.find_benchmarks

    def names(paths: list[Path]) -> set[str]:
        return {path.stem.removeprefix("bench_") for path in paths}

    assert not names(find([])) & long
    assert long <= names(find([], long=True))
    assert names(find(sorted(long))) == long


def test_trials_with_a_wrong_value_a_point_twice_or_one_missing_are_refused(
    import_script: Callable[[str], Any],
) -> None:
    check = import_script("sides.trials").check_trials
    check([(1.0, 2.0, 3.0), (1.0, 3.0, 4.0)], 2)
    with pytest.raises(AssertionError, match="1 trials have a wrong value"):
        check([(1.0, 2.0, 3.0), (1.0, 3.0, 5.0)], 2)
    with pytest.raises(AssertionError, match="two trials have the same point"):
        check([(1.0, 2.0, 3.0), (1.0, 2.0, 3.0)], 2)
    with pytest.raises(AssertionError, match="1 trials, expected 2"):
        check([(1.0, 2.0, 3.0)], 2)


def test_shared_work_that_ran_twice_is_refused(import_script: Callable[[str], Any]) -> None:
    check = import_script("sides.sharing").check_counts
    check({"load": 1, "featurize": 2, "train": 20}, 10)
    with pytest.raises(AssertionError, match="were executed, expected"):
        check({"load": 2, "featurize": 2, "train": 20}, 10)


def test_what_differs_before_shared_work_differs_afterwards(import_script: Callable[[str], Any]) -> None:
    """Else the cache would know a round's features from an earlier round."""
    sharing = import_script("sides.sharing")
    one, two = sharing.load_numbers(1), sharing.load_numbers(2)
    assert (one != two).all()
    assert (sharing.make_features(one, 0) != sharing.make_features(two, 0)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("trials_flowlearner", ("time", "random", "40", "local")),
        ("trials_flowlearner", ("time", "grid", "400", "local")),
        ("trials_bare", ("random", "40", "local")),
        ("trials_optuna", ("time", "tpe", "20", "memory")),
        ("trials_optuna", ("time", "random", "20", "sqlite")),
        ("sharing_flowlearner", ("local", "2")),
        ("sharing_bare", ("memory", "2")),
        ("fingerprint_flowlearner", ()),
        ("fingerprint_by_hand", ()),
    ],
)
def test_a_side_measures_two_rounds(module: str, words: tuple[str, ...], tmp_path: Path) -> None:
    with Side(module, *words, env=make_env(str(tmp_path))) as side:
        assert side() > 0
        assert side() > 0
