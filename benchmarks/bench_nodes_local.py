"""Measures 100 no-op nodes on the local executor, everything recorded, against Kedro and flytekit."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from typing import Any

from pairs import collect_pairs, make_result, run_benchmark
from places import make_env
from side import Side

NODES = 100
LIMIT_MS = 1.0
PEERS = {"kedro": "Kedro, sequential, in memory", "flytekit": "flytekit, local execution"}


def measure(count: int) -> list[dict[str, Any]]:
    """Whole runs: ours compiles, looks up, runs, stores and records; the peers run and record nothing."""
    results = []
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        env = make_env(home)
        ours = stack.enter_context(Side("grid_flowlearner", "local", env=env))
        for peer, words in PEERS.items():
            with Side(f"grid_{peer}", "run", env=env) as other:
                pairs = collect_pairs(ours, other, count)
            node_ms, peer_ms = pairs.ours_median / NODES * 1e3, pairs.peer_median / NODES * 1e3
            target = f"<= {LIMIT_MS:g} ms a node (found {node_ms:.2f}; theirs {peer_ms:.2f})"
            name = f"{NODES} nodes, local, against {words}"
            results.append(make_result(name, pairs, target, node_ms <= LIMIT_MS))
    return results


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
