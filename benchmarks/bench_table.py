"""Measures storing and loading a table of 1,000,000 x 20: time and memory against the same steps by hand."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from typing import Any

from pairs import collect_pairs, make_result, run_benchmark
from places import make_env
from side import Side, measure_once

LIMIT = 1.15
MEMORY_LIMIT = 1.3
NAME = "a table of 1,000,000 x 20"


def measure(count: int) -> list[dict[str, Any]]:
    """Stored, hashed, synced, loaded and verified; then the memory of that, and the preview apart."""
    with tempfile.TemporaryDirectory() as home:
        env = make_env(home)
        with (
            Side("table_flowlearner", "time", env=env) as ours,
            Side("table_by_hand", "time", env=env) as peer,
        ):
            times = collect_pairs(ours, peer, count)
        memory = collect_pairs(
            partial(measure_once, "table_flowlearner", "memory", env=env),
            partial(measure_once, "table_by_hand", "memory", env=env),
            count,
            warmup=0,
        )
        with (
            Side("table_flowlearner", "preview", env=env) as ours,
            Side("table_by_hand", "preview", env=env) as peer,
        ):
            preview = collect_pairs(ours, peer, count)
    sizes = memory.ours_median
    return [
        make_result(f"{NAME}, against by hand", times, f"ratio <= {LIMIT}", times.ratio_median <= LIMIT),
        make_result(
            "its memory at the peak, in sizes of the table",
            memory,
            f"<= {MEMORY_LIMIT} x the table beyond the table",
            sizes <= MEMORY_LIMIT,
            unit="x",
        ),
        make_result("its preview, against pandas' head and describe", preview, "none, only shown", True),
    ]


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
