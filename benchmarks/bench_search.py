"""Measures the search for the best runs that fit, whole: against MLflow, and in a catalog ten times as large.

MLflow has no version that installs beside this project's pandas: it gets an environment of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from pairs import Pairs, collect_pairs, make_result, run_benchmark
from places import own_home
from side import Side

RUNS, MANY = 10_000, 100_000
TIMES = 50
LIMIT_S = 0.005
MLFLOW = ("mlflow-skinny>=3,<4", "sqlalchemy>=2,<2.1", "alembic", "sqlparse", "pandas<3")
PLACE = Path(__file__).resolve().parents[1] / "bench-results" / "mlflow-env"


def make_environment() -> str:
    """Return the Python of an environment that has MLflow; it is made where there is none."""
    python = PLACE / "bin" / "python"
    if not python.exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(PLACE)], check=True)
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", str(python), *MLFLOW], check=True)
    return str(python)


def measure(count: int) -> list[dict[str, Any]]:
    """The twenty best by a metric, with a filter on a param, their params and metrics with them."""
    python = make_environment()
    with (
        own_home() as env,
        Side("search_flowlearner", str(RUNS), env=env) as ours,
        Side("search_mlflow", str(RUNS), env=env, python=python) as peer,
    ):
        pairs = collect_pairs(ours, peer, count)
    with own_home() as env, Side("search_flowlearner", str(MANY), env=env) as many:
        large = collect_pairs(many, many, count)
    faster = 1 / pairs.ratio_median
    return [
        make_result(
            f"the 20 best of {RUNS:,} runs that fit, against MLflow",
            pairs,
            f"{TIMES} x as fast (found {faster:.0f})",
            faster >= TIMES,
        ),
        make_result(
            f"the 20 best of {MANY:,} runs that fit, against itself",
            Pairs(large.ours, large.peer),
            f"<= {LIMIT_S * 1000:.0f} ms",
            large.ours_median <= LIMIT_S,
        ),
    ]


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
