"""Tests of the helper that compares two sides in alternating pairs."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from benchmarks.pairs import Pairs, collect_pairs, format_amount, make_result, make_table


def record(calls: list[str], name: str, seconds: float) -> Callable[[], float]:
    """Make a side that notes its calls and always takes the same time."""

    def measure() -> float:
        calls.append(name)
        return seconds

    return measure


def render(result: dict[str, object]) -> str:
    """Return the table of one result as text."""
    stream = io.StringIO()
    Console(file=stream, width=200).print(make_table([result]))
    return stream.getvalue()


def test_each_pair_begins_with_the_side_that_ended_the_pair_before() -> None:
    calls: list[str] = []
    collect_pairs(record(calls, "ours", 1.0), record(calls, "peer", 1.0), pairs=7, warmup=0)
    assert calls == ["ours", "peer", "peer", "ours"] * 3 + ["ours", "peer"]


def test_warm_up_pairs_are_run_and_not_kept() -> None:
    calls: list[str] = []
    pairs = collect_pairs(record(calls, "ours", 2.0), record(calls, "peer", 1.0), pairs=7, warmup=2)
    assert (len(calls), len(pairs.ours), len(pairs.peer)) == (18, 7, 7)


def test_a_result_of_fewer_than_seven_pairs_says_that_it_is_no_verdict() -> None:
    result = make_result("a node", Pairs(ours=(1.0,) * 6, peer=(1.0,) * 6), "ratio <= 2", ok=True)
    assert result["quick"]
    assert "QUICK: too few pairs, no verdict" in render(result)


def test_a_result_of_seven_pairs_is_shown_without_reserve() -> None:
    result = make_result("a node", Pairs(ours=(1.0,) * 7, peer=(1.0,) * 7), "ratio <= 2", ok=True)
    assert not result["quick"]
    assert "QUICK" not in render(result)


def test_the_ratio_is_taken_pair_by_pair() -> None:
    pairs = Pairs(ours=(1.0, 2.0, 9.0), peer=(1.0, 4.0, 3.0))
    assert pairs.ratios == (1.0, 0.5, 3.0)
    assert pairs.ratio_median == 1.0
    assert pairs.extra_median == 0.0


def test_a_result_gives_median_spread_and_verdict() -> None:
    pairs = Pairs(ours=(1.0, 2.0, 9.0), peer=(1.0, 4.0, 3.0))
    assert make_result("a node", pairs, "ratio <= 1.25", ok=True) == {
        "name": "a node",
        "unit": "s",
        "ours": 2.0,
        "peer": 3.0,
        "difference": 0.0,
        "ratio_median": 1.0,
        "ratio_min": 0.5,
        "ratio_max": 3.0,
        "pairs": 3,
        "quick": True,
        "target": "ratio <= 1.25",
        "ok": True,
    }


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.00025, "250 µs"), (0.0123, "12.3 ms"), (1.5, "1.50 s"), (-0.002, "-2.0 ms")]
)
def test_a_time_is_written_with_the_unit_of_its_size(seconds: float, text: str) -> None:
    assert format_amount(seconds) == text


def test_what_is_no_time_keeps_its_unit() -> None:
    assert format_amount(1.756, "x") == "1.76 x"
