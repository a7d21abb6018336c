"""Measures what early stopping saves on the flights and what it misses, against trials run to their end."""

from __future__ import annotations

import sys
from typing import Any

from pairs import MIN_PAIRS, Pairs, make_result, run_benchmark
from places import own_home
from side import Side

SEEDS = 5
LIMIT_SHARE, LIMIT_AUC = 0.60, 0.005


def measure(count: int) -> list[dict[str, Any]]:
    """One pair a seed: both sides are asked for the same points in the same order."""
    seeds = SEEDS if count >= MIN_PAIRS else 1
    found: dict[str, list[list[float]]] = {"asha": [], "full": []}
    with (
        own_home() as env,
        Side("asha_flowlearner", "asha", env=env) as asha,
        Side("asha_flowlearner", "full", env=env) as full,
    ):
        sides = [("asha", asha), ("full", full)]
        for _ in range(seeds):
            for name, side in sides:
                found[name].append(side.measure())
            sides.reverse()
    rounds, auc, seconds = (
        Pairs(tuple(row[place] for row in found["asha"]), tuple(row[place] for row in found["full"]))
        for place in range(3)
    )
    missed = -auc.extra_median
    return [
        make_result(
            "flights, boosting rounds that asha runs, against all",
            rounds,
            f"share <= {LIMIT_SHARE}",
            rounds.ratio_median <= LIMIT_SHARE,
            unit="rounds",
            enough=SEEDS,
        ),
        make_result(
            "its best AUC, against that of all",
            auc,
            f"<= {LIMIT_AUC} less (found {missed:.4f})",
            missed <= LIMIT_AUC,
            unit="AUC",
            enough=SEEDS,
        ),
        make_result("its time, against that of all", seconds, "none, only shown", True, enough=SEEDS),
    ]


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
