"""Measures a run whose 100 nodes are all cached against flytekit's local cache and joblib.Memory."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from typing import Any

from pairs import collect_pairs, make_result, run_benchmark
from places import make_env
from side import Side

NODES = 100
LIMIT_MS = 0.6
PEERS = {"flytekit": "flytekit's local cache", "joblib": "joblib.Memory"}


def measure(count: int) -> list[dict[str, Any]]:
    """Whole runs; every side has counted before that no node is called, see `sides/`."""
    results = []
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        env = make_env(home)
        ours = stack.enter_context(Side("grid_flowlearner", "cached", env=env))
        for peer, words in PEERS.items():
            with Side(f"grid_{peer}", "cached", env=env) as other:
                pairs = collect_pairs(ours, other, count)
            node_ms, peer_ms = pairs.ours_median / NODES * 1e3, pairs.peer_median / NODES * 1e3
            target = f"<= {LIMIT_MS:g} ms a node (found {node_ms:.2f}; theirs {peer_ms:.2f})"
            name = f"{NODES} nodes, cached, against {words}"
            results.append(make_result(name, pairs, target, node_ms <= LIMIT_MS))
    return results


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
