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
QUICK_PAIRS = 3
# Of what takes long and hardly varies.
FEW_PAIRS = 3
Measure = Callable[[], float]


@dataclass(frozen=True)
class Pairs:
    """What both sides took; `ours[i]` and `peer[i]` were measured one right after the other."""

    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @property
    def ours_median(self) -> float:
        return median(self.ours)

    @property
    def peer_median(self) -> float:
        return median(self.peer)

    @property
    def ratios(self) -> tuple[float, ...]:
        return tuple(ours / peer for ours, peer in zip(self.ours, self.peer, strict=True))

    @property
    def ratio_median(self) -> float:
        return median(self.ratios)

    @property
    def extra_median(self) -> float:
        """What ours takes beyond the peer: the median over pairs."""
        return median(ours - peer for ours, peer in zip(self.ours, self.peer, strict=True))


def collect_pairs(ours: Measure, peer: Measure, pairs: int = MIN_PAIRS, warmup: int = 1) -> Pairs:
    """Call both sides in turn; each returns the seconds (or what else is measured) that it took.

    A pair begins with the side that ended the pair before, so that a machine that gets slower or faster
    favours neither.

    Args:
        ours: measures our side once.
        peer: measures the other side once.
        pairs: how many pairs are kept; with fewer than 7 the result is marked as quick.
        warmup: pairs that are run first and thrown away.
    """
    taken: dict[str, list[float]] = {"ours": [], "peer": []}
    sides = [("ours", ours), ("peer", peer)]
    for index in range(warmup + pairs):
        for name, measure in sides:
            amount = measure()
            if index >= warmup:
                taken[name].append(amount)
        sides.reverse()
    return Pairs(tuple(taken["ours"]), tuple(taken["peer"]))


def choose_few(count: int) -> int:
    """Return how many pairs to take of what takes long, in a benchmark that was told to take `count`."""
    return FEW_PAIRS if count >= MIN_PAIRS else 1


def time_once(call: Callable[[], object]) -> float:
    """Seconds of one call by the wall clock; garbage of earlier calls is collected before."""
    gc.collect()
    start = perf_counter()
    call()
    return perf_counter() - start


def make_result(
    name: str, pairs: Pairs, target: str, ok: bool, unit: str = "s", enough: int = MIN_PAIRS
) -> dict[str, Any]:
    """Shape one line of the table.

    Args:
        name: what was measured, and against what.
        pairs: the measurements.
        target: the bound in words, such as "ratio <= 1.25" or "<= 0.15 s more".
        ok: whether the bound holds.
        unit: of the measurements: "s", or a word that follows the number.
        enough: with fewer pairs than this the result is marked as quick.
    """
    ratios = pairs.ratios
    return {
        "name": name,
        "unit": unit,
        "ours": pairs.ours_median,
        "peer": pairs.peer_median,
        "difference": pairs.extra_median,
        "ratio_median": pairs.ratio_median,
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "pairs": len(ratios),
        "quick": len(ratios) < enough,
        "target": target,
        "ok": bool(ok),
    }


def make_console() -> Console:
    """Where tables are printed: as wide as they need where no terminal limits them."""
    console = Console()
    return console if console.is_terminal else Console(width=180)


def make_table(results: Sequence[dict[str, Any]]) -> Table:
    """Lay results out as one Rich table."""
    quick = any(result["quick"] for result in results)
    title = "medians of alternating pairs"
    warning = " - QUICK: too few pairs, no verdict" if quick else ""
    table = Table(title=f"Benchmarks: {title}{warning}")
    for heading in ("benchmark", "ours", "peer", "ratio", "spread", "pairs", "target", "holds"):
        table.add_column(heading, justify="left" if heading in ("benchmark", "target", "holds") else "right")
    for result in results:
        table.add_row(
            result["name"],
            format_amount(result["ours"], result["unit"]),
            format_amount(result["peer"], result["unit"]),
            f"{result['ratio_median']:.2f}",
            f"{result['ratio_min']:.2f} to {result['ratio_max']:.2f}",
            str(result["pairs"]),
            result["target"],
            "[green]yes[/green]" if result["ok"] else "[red]no[/red]",
        )
    return table


def format_amount(amount: float, unit: str = "s") -> str:
    """Write a measurement with its unit; a time with the unit that suits its size."""
    if unit != "s":
        return f"{amount:.2f} {unit}"
    if abs(amount) < 0.001:
        return f"{amount * 1e6:.0f} µs"
    if abs(amount) < 1:
        return f"{amount * 1e3:.1f} ms"
    return f"{amount:.2f} s"


def run_benchmark(measure: Callable[[int], list[dict[str, Any]]]) -> int:
    """The `main` of a bench_*.py file: measure, then write `--json FILE`, or print a table without it.

    Args:
        measure: is given the number of pairs to take.

    Returns:
        The exit status: 0 if every target holds, else 1.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the list of results here")
    parser.add_argument("--pairs", type=int, default=MIN_PAIRS, metavar="N", help=f"default {MIN_PAIRS}")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_PAIRS} pairs: for development only")
    options = parser.parse_args()
    results = measure(QUICK_PAIRS if options.quick else options.pairs)
    if options.json is None:
        make_console().print(make_table(results))
    else:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0 if all(result["ok"] for result in results) else 1
