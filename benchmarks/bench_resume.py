"""Measures how soon a killed run of 1,000 nodes works again, against the start of a new one."""

from __future__ import annotations

import sys
from typing import Any

from pairs import FEW_PAIRS, choose_few, collect_pairs, make_result, run_benchmark
from places import own_home
from side import Side

LIMIT_S = 1.0


def measure(count: int) -> list[dict[str, Any]]:
    """By the client, which decides; and by the shell, where Python starts and imports first."""
    results = []
    for way in ("client", "shell"):
        with (
            own_home() as env,
            Side("resume_flowlearner", "resume", way, env=env) as ours,
            Side("resume_flowlearner", "run", way, env=env) as peer,
        ):
            pairs = collect_pairs(ours, peer, choose_few(count))
        took_s, decides = pairs.ours_median, way == "client"
        target = f"<= {LIMIT_S} s (found {took_s:.2f})" if decides else f"none (found {took_s:.2f} s)"
        name = f"first call of 1,000 nodes that go on, {way}, against a new run of them"
        ok = took_s <= LIMIT_S or not decides
        results.append(make_result(name, pairs, target, ok, enough=FEW_PAIRS))
    return results


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
