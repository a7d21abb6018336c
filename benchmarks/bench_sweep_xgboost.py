"""Measures 64 trials of boosted trees on two processors, on Ray and in threads, against bare peers."""

from __future__ import annotations

import sys
from typing import Any

from pairs import FEW_PAIRS, MIN_PAIRS, choose_few, collect_pairs, make_result, run_benchmark
from places import own_home
from side import Side

# Executor, peer, its name for people, the bound on the ratio; those without one are shown, from fewer pairs.
FIGURES = (
    ("ray", "ray", "bare Ray tasks", 1 / 0.90),
    ("local", "optuna", "Optuna n_jobs=2, in memory", 1 / 0.95),
    ("ray", "joblib", "joblib, warm", None),
    ("ray", "grid_search", "GridSearchCV", None),
    ("ray", "ideal", "the ideal (one after the other / 2)", None),
    ("local", "ideal", "the ideal (one after the other / 2)", None),
)


def measure(count: int) -> list[dict[str, Any]]:
    """Each pair of sides in a home of its own; Ray's clusters and joblib's processes are warm."""
    results = []
    for executor, peer, words, limit in FIGURES:
        with (
            own_home() as env,
            Side("boosting_flowlearner", executor, env=env) as ours,
            Side("boosting_bare", peer, env=env) as other,
        ):
            pairs = collect_pairs(ours, other, choose_few(count) if limit is None else count)
        target = "none, only shown" if limit is None else f"ratio <= {limit:.2f}"
        ok = limit is None or pairs.ratio_median <= limit
        enough = FEW_PAIRS if limit is None else MIN_PAIRS
        name = f"64 xgboost trials, {executor}, against {words}"
        results.append(make_result(name, pairs, target, ok, enough=enough))
    return results


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
