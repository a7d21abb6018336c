"""Measures 64 trials of boosted trees on two processors, on Ray and in threads, against bare peers."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np
from pairs import FEW_PAIRS, MIN_PAIRS, choose_few, collect_pairs, make_result, run_benchmark, time_once
from places import HERE, own_home, running_ray
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


SCRIPTS = {"joblib": "joblib", "grid_search": "GridSearchCV"}


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
    return results + [measure_script(peer, words, count) for peer, words in SCRIPTS.items()]


def measure_script(peer: str, words: str, count: int) -> dict[str, Any]:
    """Both as a script of its own, a process each: ours on a cluster that runs, theirs with new processes."""
    losses: list[list[float]] = []
    turns = itertools.count()
    with own_home() as env, running_ray(env) as address:
        env = {**env, "FLOWLEARNER_RAY_ADDRESS": address}
        pairs = collect_pairs(
            partial(time_script, "ours", turns, env, losses),
            partial(time_script, peer, turns, env, losses),
            choose_few(count),
        )
    name = f"64 xgboost trials as a script of its own, ray, against {words}"
    return make_result(name, pairs, "none, only shown", True, enough=FEW_PAIRS)


def time_script(
    side: str, turns: itertools.count[int], env: dict[str, str], losses: list[list[float]]
) -> float:
    """Seconds from start to end of a process; its losses are held against those of the first."""
    command = [sys.executable, "-m", "sides.boosting_script", side, str(next(turns))]
    done: list[subprocess.CompletedProcess[str]] = []
    seconds = time_once(
        lambda: done.append(
            subprocess.run(command, cwd=HERE, env=env, capture_output=True, text=True, check=False)
        )
    )
    if done[0].returncode:
        raise RuntimeError(f"{command} ended with {done[0].returncode}:\n{done[0].stderr}")
    losses.append(json.loads(done[0].stdout))
    assert np.allclose(losses[0], losses[-1]), "a loss is another one"
    return seconds


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
