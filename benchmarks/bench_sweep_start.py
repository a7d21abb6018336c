"""Measures how soon a sweep's first trial is called, on a warm cluster and without, against bare Ray."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from pairs import FEW_PAIRS, Pairs, choose_few, collect_pairs, make_result, run_benchmark
from places import own_home, running_ray
from side import measure_once

WARM_LIMIT_S, COLD_LIMIT_S = 0.5, 2.0


def collect(env: dict[str, str], count: int) -> Pairs:
    """Each round in a process of its own; few of them, for each takes many seconds."""
    return collect_pairs(
        partial(measure_once, "start_flowlearner", env=env),
        partial(measure_once, "start_bare", env=env),
        choose_few(count),
    )


def shape(pairs: Pairs, name: str, limit_s: float) -> dict[str, Any]:
    """Shape a result: the seconds beyond the peer decide."""
    extra_s = pairs.extra_median
    target = f"<= {limit_s} s more (found {extra_s:.2f})"
    return make_result(name, pairs, target, extra_s <= limit_s, enough=FEW_PAIRS)


def measure(count: int) -> list[dict[str, Any]]:
    """Both sides have everything imported but Ray, as a process has that begins its first sweep."""
    with own_home() as env:
        with running_ray(env) as address:
            warm = collect({**env, "FLOWLEARNER_RAY_ADDRESS": address}, count)
        cold = collect(env, count)
    return [
        shape(warm, "first trial on a warm cluster, against a bare attach and first task", WARM_LIMIT_S),
        shape(cold, "first trial without a cluster, against a bare ray.init and first task", COLD_LIMIT_S),
    ]


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
