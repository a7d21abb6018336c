"""Measures the content hash of a table of 1,000,000 x 20, against blake3 on the same bytes."""

from __future__ import annotations

import sys
from typing import Any

from pairs import collect_pairs, make_result, run_benchmark
from places import own_home
from side import Side

SPEED = 0.8


def measure(count: int) -> list[dict[str, Any]]:
    """Both have the table in memory, as Arrow has it, and as many threads as serve."""
    with (
        own_home() as env,
        Side("hashing", "content", env=env) as ours,
        Side("hashing", "bytes", env=env) as peer,
    ):
        pairs = collect_pairs(ours, peer, count)
    speed = 1 / pairs.ratio_median
    target = f">= {SPEED} of its speed (found {speed:.2f})"
    name = "hash of a table of 1,000,000 x 20, against blake3 on its bytes"
    return [make_result(name, pairs, target, speed >= SPEED)]


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
