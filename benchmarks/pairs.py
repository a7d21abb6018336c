"""Owns how benchmarks compare: callables timed in alternating pairs, and the results that run.py collects."""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.table import Table

MIN_PAIRS = 7


@dataclass(frozen=True)
class Pairs:
    """Times of both sides, in seconds; `ours_s[i]` and `peer_s[i]` were taken one right after the other."""

    ours_s: tuple[float, ...]
    peer_s: tuple[float, ...]

    @property
    def ours_median_s(self) -> float:
        return median(self.ours_s)

    @property
    def peer_median_s(self) -> float:
        return median(self.peer_s)

    @property
    def ratios(self) -> tuple[float, ...]:
        return tuple(ours / peer for ours, peer in zip(self.ours_s, self.peer_s, strict=True))

    @property
    def ratio_median(self) -> float:
        return median(self.ratios)

    @property
    def extra_median_s(self) -> float:
        """Seconds that ours takes beyond the peer: the median over pairs."""
        return median(ours - peer for ours, peer in zip(self.ours_s, self.peer_s, strict=True))


def collect_pairs(
    ours: Callable[[], float], peer: Callable[[], float], pairs: int = MIN_PAIRS, warmup: int = 1
) -> Pairs:
    """Call both sides in turn; each returns the seconds that it took.

    A pair begins with the side that ended the pair before, so that a machine that gets slower or faster
    favours neither.

    Args:
        ours: measures our side once.
        peer: measures the other side once.
        pairs: how many pairs are kept, at least 7.
        warmup: pairs that are run first and thrown away.
    """
    if pairs < MIN_PAIRS:
        raise ValueError(f"at least {MIN_PAIRS} pairs give a median and a spread, found pairs={pairs}")
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    sides = [("ours", ours), ("peer", peer)]
    for index in range(warmup + pairs):
        for name, measure in sides:
            seconds = measure()
            if index >= warmup:
                times[name].append(seconds)
        sides.reverse()
    return Pairs(tuple(times["ours"]), tuple(times["peer"]))


def time_pairs(
    ours: Callable[[], object], peer: Callable[[], object], pairs: int = MIN_PAIRS, warmup: int = 1
) -> Pairs:
    """Time two callables by the wall clock in alternating pairs; see `collect_pairs`."""
    return collect_pairs(lambda: time_once(ours), lambda: time_once(peer), pairs, warmup)


def time_once(call: Callable[[], object]) -> float:
    """Seconds of one call by the wall clock; garbage of earlier calls is collected before."""
    gc.collect()
    start = perf_counter()
    call()
    return perf_counter() - start


def make_result(name: str, pairs: Pairs, target: str, ok: bool) -> dict[str, Any]:
    """Shape one line of the table.

    Args:
        name: what was measured, and against what.
        pairs: the times.
        target: the bound in words, such as "ratio <= 1.25" or "<= 0.15 s more".
        ok: whether the bound holds.
    """
    ratios = pairs.ratios
    return {
        "name": name,
        "ours_s": pairs.ours_median_s,
        "peer_s": pairs.peer_median_s,
        "ratio_median": pairs.ratio_median,
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "target": target,
        "ok": bool(ok),
    }


def make_table(results: Sequence[dict[str, Any]]) -> Table:
    """Lay results out as one Rich table."""
    table = Table(title="Benchmarks: medians of alternating pairs")
    for heading in ("benchmark", "ours", "peer", "ratio", "spread", "target", "holds"):
        table.add_column(heading, justify="left" if heading in ("benchmark", "target", "holds") else "right")
    for result in results:
        table.add_row(
            result["name"],
            format_seconds(result["ours_s"]),
            format_seconds(result["peer_s"]),
            f"{result['ratio_median']:.2f}",
            f"{result['ratio_min']:.2f} to {result['ratio_max']:.2f}",
            result["target"],
            "[green]yes[/green]" if result["ok"] else "[red]no[/red]",
        )
    return table


def format_seconds(seconds: float) -> str:
    """Write a time with the unit that suits its size."""
    if abs(seconds) < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if abs(seconds) < 1:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds:.2f} s"


def run_benchmark(measure: Callable[[], list[dict[str, Any]]]) -> int:
    """The `main` of a bench_*.py file: measure, then write `--json FILE`, or print a table without it.

    Returns:
        The exit status: 0 if every target holds, else 1.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the list of results here")
    options = parser.parse_args()
    results = measure()
    if options.json is None:
        Console().print(make_table(results))
    else:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0 if all(result["ok"] for result in results) else 1
