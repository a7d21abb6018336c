"""Measures the 100 nodes of ours against those of several peers, one peer after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from pairs import collect_pairs, make_result
from places import make_env
from side import Side

NODES = 100


def measure_grids(
    count: int, title: str, limit_ms: float, ours_mode: str, peer_mode: str, peers: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return a result for each peer; our milliseconds a node decide whether it holds.

    Args:
        count: pairs of whole runs.
        title: what the nodes are, such as "local".
        ours_mode: what our side does, see `sides/`.
        peer_mode: what the peers' sides do.
        peers: name of the side to its name for people.
    """
    results = []
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        env = make_env(home)
        ours = stack.enter_context(Side("grid_flowlearner", ours_mode, env=env))
        for peer, words in peers.items():
            with Side(f"grid_{peer}", peer_mode, env=env) as other:
                pairs = collect_pairs(ours, other, count)
            node_ms, peer_ms = pairs.ours_median / NODES * 1e3, pairs.peer_median / NODES * 1e3
            target = f"<= {limit_ms:g} ms a node (found {node_ms:.2f}; theirs {peer_ms:.2f})"
            name = f"{NODES} nodes, {title}, against {words}"
            results.append(make_result(name, pairs, target, node_ms <= limit_ms))
    return results
