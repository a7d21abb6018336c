"""Measures the fingerprint of an operator that reaches 50 helpers in 5 modules, against hashing texts."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from pairs import collect_pairs, make_result, run_benchmark
from places import own_home
from side import Side, measure_once

LIMIT_MS = {"cold": 20.0, "warm": 1.0}
PEER = "their texts, listed by hand"


def measure(count: int) -> list[dict[str, Any]]:
    """The first in a process, in a process each; and later ones, which look whether anything has changed."""
    with own_home() as env:
        found = {
            "cold": collect_pairs(
                partial(measure_once, "fingerprint_flowlearner", env=env),
                partial(measure_once, "fingerprint_by_hand", env=env),
                count,
            )
        }
        with (
            Side("fingerprint_flowlearner", env=env) as ours,
            Side("fingerprint_by_hand", env=env) as peer,
        ):
            found["warm"] = collect_pairs(ours, peer, count)
    results = []
    for what, pairs in found.items():
        took_ms, limit_ms = pairs.ours_median * 1e3, LIMIT_MS[what]
        target = f"<= {limit_ms:g} ms (found {took_ms:.3g})"
        name = f"fingerprint, 50 helpers in 5 modules, {what}, against {PEER}"
        results.append(make_result(name, pairs, target, took_ms <= limit_ms))
    return results


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
