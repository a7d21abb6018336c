"""Measures 100 no-op nodes on the local executor, everything recorded, against Kedro and flytekit."""

from __future__ import annotations

import sys
from typing import Any

from grids import measure_grids
from pairs import run_benchmark

LIMIT_MS = 1.0
PEERS = {"kedro": "Kedro, sequential, in memory", "flytekit": "flytekit, local execution"}


def measure(count: int) -> list[dict[str, Any]]:
    """Whole runs: ours compiles, looks up, runs, stores and records; the peers run and record nothing."""
    return measure_grids(count, "local", LIMIT_MS, "local", "run", PEERS)


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
