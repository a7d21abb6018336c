"""Measures 100 no-op nodes on a running Prefect server, recording included, against a bare Prefect flow."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from typing import Any

from pairs import collect_pairs, make_result, run_benchmark
from places import await_task_runs, make_env, running_server
from side import Side

NODES = 100
PEERS = {"futures": "that passes futures", "layers": "that waits for each layer"}
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
    results = []
    target = f"ratio <= {LIMIT} (aim {AIM})"
    with tempfile.TemporaryDirectory() as home, running_server(home) as url, ExitStack() as stack:
        env = make_env(home, url)
        ours = stack.enter_context(Side("grid_flowlearner", "prefect", env=env))
        counts = [0]
        for mode, words in PEERS.items():
            with Side("grid_prefect", mode, env=env) as peer:
                pairs = collect_pairs(AfterRest(url, counts, ours), AfterRest(url, counts, peer), count)
            name = f"{NODES} nodes, prefect, against a bare flow {words}"
            results.append(make_result(name, pairs, target, pairs.ratio_median <= LIMIT))
    return results


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
