"""Measures trials that have 60 % of their work in common, against peers that share nothing or by hand."""

from __future__ import annotations

import sys
from typing import Any

from pairs import collect_pairs, make_result, run_benchmark
from places import own_home
from side import Side

FASTER = 2.2
PEERS = {"joblib": "joblib, warm", "optuna": "Optuna n_jobs=2", "memory": "joblib.Memory by hand"}
# Executor, peer, ways to train (of two kinds of features each), whether the target counts.
FIGURES = (
    ("ray", "joblib", 32, True),
    ("local", "joblib", 32, True),
    ("ray", "optuna", 32, True),
    ("local", "optuna", 32, True),
    ("ray", "memory", 32, False),
    ("local", "memory", 32, False),
    ("ray", "joblib", 10, False),
)


def measure_figure(executor: str, peer: str, strengths: int, counts: bool, count: int) -> dict[str, Any]:
    """Compare with one peer, in a home of its own."""
    with (
        own_home() as env,
        Side("sharing_flowlearner", executor, str(strengths), env=env) as ours,
        Side("sharing_bare", peer, str(strengths), env=env) as other,
    ):
        pairs = collect_pairs(ours, other, count)
    faster = 1 / pairs.ratio_median
    target = f">= {FASTER} x as fast (found {faster:.2f})" if counts else f"none (found {faster:.2f} x)"
    name = f"{2 * strengths} trials that share 60 %, {executor}, against {PEERS[peer]}"
    return make_result(name, pairs, target, faster >= FASTER or not counts)


def measure(count: int) -> list[dict[str, Any]]:
    """Every round counts what was executed: 1, 2 and 64 calls, of the last figure's 20 trials 1, 2 and 20."""
    return [measure_figure(*figure, count) for figure in FIGURES]


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
