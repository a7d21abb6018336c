"""The runs that both sides of a search have: the same numbers, by the same rule, in any order of making."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

METRICS, PARAMS, TOP = 10, 5, 20
DEPTHS = 8
QUERY = "param.depth = 4"
ORDER = "metric.auc"


@dataclass(frozen=True)
class Entry:
    """What is recorded of one run."""

    name: str
    params: dict[str, int]
    metrics: dict[str, float]


def iter_entries(count: int) -> Iterator[Entry]:
    """Yield runs whose `auc` is another one each."""
    for number in range(count):
        # A step without a common divisor visits every place once.
        auc = (number * 7919 % count) / count
        metrics = {"auc": auc} | {f"m{i}": (number * (i + 3) % 1009) / 1009 for i in range(METRICS - 1)}
        params = {"depth": number % DEPTHS} | {f"p{i}": number % (i + 2) for i in range(PARAMS - 1)}
        yield Entry(f"{number:016x}", params, metrics)


def check_top(found: list[tuple[float, int, int, int]], count: int) -> None:
    """Check what a search gave: of each run its auc, its depth, how many metrics and params it has."""
    fitting = sorted((e.metrics["auc"] for e in iter_entries(count) if e.params["depth"] == 4), reverse=True)
    assert [row[0] for row in found] == fitting[:TOP], "other runs than the best"
    assert all(row[1:] == (4, METRICS, PARAMS) for row in found), found
