"""Tests of the helper that compares two sides in alternating pairs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.pairs import Pairs, collect_pairs, format_seconds, make_result


def record(calls: list[str], name: str, seconds: float) -> Callable[[], float]:
    """Make a side that notes its calls and always takes the same time."""

    def measure() -> float:
        calls.append(name)
        return seconds

    return measure


def test_each_pair_begins_with_the_side_that_ended_the_pair_before() -> None:
    calls: list[str] = []
    collect_pairs(record(calls, "ours", 1.0), record(calls, "peer", 1.0), pairs=7, warmup=0)
    assert calls == ["ours", "peer", "peer", "ours"] * 3 + ["ours", "peer"]


def test_warm_up_pairs_are_run_and_not_kept() -> None:
    calls: list[str] = []
    pairs = collect_pairs(record(calls, "ours", 2.0), record(calls, "peer", 1.0), pairs=7, warmup=2)
    assert (len(calls), len(pairs.ours_s), len(pairs.peer_s)) == (18, 7, 7)


def test_fewer_than_seven_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 7 pairs"):
        collect_pairs(lambda: 1.0, lambda: 1.0, pairs=6)


def test_the_ratio_is_taken_pair_by_pair() -> None:
    pairs = Pairs(ours_s=(1.0, 2.0, 9.0), peer_s=(1.0, 4.0, 3.0))
    assert pairs.ratios == (1.0, 0.5, 3.0)
    assert pairs.ratio_median == 1.0
    assert pairs.extra_median_s == 0.0


def test_a_result_gives_median_spread_and_verdict() -> None:
    pairs = Pairs(ours_s=(1.0, 2.0, 9.0), peer_s=(1.0, 4.0, 3.0))
    assert make_result("a node", pairs, "ratio <= 1.25", ok=True) == {
        "name": "a node",
        "ours_s": 2.0,
        "peer_s": 3.0,
        "ratio_median": 1.0,
        "ratio_min": 0.5,
        "ratio_max": 3.0,
        "target": "ratio <= 1.25",
        "ok": True,
    }


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.00025, "250 µs"), (0.0123, "12.3 ms"), (1.5, "1.50 s"), (-0.002, "-2.0 ms")]
)
def test_a_time_is_written_with_the_unit_of_its_size(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
