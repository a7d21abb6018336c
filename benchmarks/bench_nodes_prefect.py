"""Measures 100 no-op nodes on a running Prefect server, recording included, against a bare Prefect flow."""

from __future__ import annotations

import sys
import tempfile
from typing import Any

from pairs import collect_pairs, make_result, run_benchmark
from places import await_task_runs, make_env, running_server
from side import Side

NODES = 100
LIMIT = 1.25
AIM = 1.1


class AfterRest:
    """Measures a side once the server has no work left from the round before."""

    def __init__(self, url: str, counts: list[int], side: Side) -> None:
        self._url, self._counts, self._side = url, counts, side

    def __call__(self) -> float:
        self._counts.append(await_task_runs(self._url, NODES, self._counts[-1]))
        return self._side()


def measure(count: int) -> list[dict[str, Any]]:
    """One server for both; threads run tasks, heartbeats of flows are off, lines of logs go to the server."""
    with tempfile.TemporaryDirectory() as home, running_server(home) as url:
        env = make_env(home, url)
        with Side("grid_flowlearner", "prefect", env=env) as ours, Side("grid_prefect", env=env) as peer:
            counts = [0]
            pairs = collect_pairs(AfterRest(url, counts, ours), AfterRest(url, counts, peer), count)
    target = f"ratio <= {LIMIT} (aim {AIM})"
    name = "100 nodes, prefect, against a bare Prefect flow"
    return [make_result(name, pairs, target, pairs.ratio_median <= LIMIT)]


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
