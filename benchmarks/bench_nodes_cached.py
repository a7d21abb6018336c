"""Measures a run whose 100 nodes are all cached against flytekit's local cache and joblib.Memory."""

from __future__ import annotations

import sys
from typing import Any

from grids import measure_grids
from pairs import run_benchmark

LIMIT_MS = 0.6
PEERS = {"flytekit": "flytekit's local cache", "joblib": "joblib.Memory"}


def measure(count: int) -> list[dict[str, Any]]:
    """Whole runs; every side has counted before that no node is called, see `sides/`."""
    return measure_grids(count, "cached", LIMIT_MS, "cached", "cached", PEERS)


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
