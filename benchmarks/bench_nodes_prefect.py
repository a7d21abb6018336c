"""Measures 100 no-op nodes on a running Prefect server, recording included, against a bare Prefect flow."""

from __future__ import annotations

import sys
import tempfile
from typing import Any

from pairs import collect_pairs, make_result, run_benchmark
from places import make_env, running_server
from side import Side

LIMIT = 1.25
AIM = 1.1


def measure(count: int) -> list[dict[str, Any]]:
    """One server for both; threads run tasks, heartbeats of flows are off, lines of logs go to the server."""
    with tempfile.TemporaryDirectory() as home, running_server(home) as url:
        env = make_env(home, url)
        with Side("grid_flowlearner", "prefect", env=env) as ours, Side("grid_prefect", env=env) as peer:
            pairs = collect_pairs(ours, peer, count)
    target = f"ratio <= {LIMIT} (aim {AIM})"
    name = "100 nodes, prefect, against a bare Prefect flow"
    return [make_result(name, pairs, target, pairs.ratio_median <= LIMIT)]


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
