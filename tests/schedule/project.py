"""A user's folder that schedules run: workflows, a table and a spec file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FLOWS = """
import time
from typing import Annotated, NamedTuple

import pandas as pd
from flowlearner import Metric, Range, Secret, operator, workflow


class Judged(NamedTuple):
    mean: Metric


@operator
def judge(rows: pd.DataFrame, smallest: float) -> Judged:
    return Judged(float(rows["tip"][rows["tip"] >= smallest].mean()))


@workflow
def mean(rows: pd.DataFrame, smallest: Annotated[float, Range(0, 100)] = 1.0) -> Judged:
    return judge(rows, smallest)


@operator(cache=False)
def wait(seconds: float) -> float:
    for _ in range(int(seconds * 10)):
        time.sleep(0.1)
    return seconds


@workflow
def slow(seconds: float = 600.0) -> float:
    return wait(seconds)


@operator
def call(token: Secret) -> int:
    return len(token)


@workflow
def guarded(token: Secret = "") -> int:
    return call(token)


@workflow
def broken() -> int:
    return wait("text")
"""

# Its folder is found by PYTHONPATH alone.
LIBRARY = """
import time
from pathlib import Path

from flowlearner import operator, workflow


@operator(cache=False)
def talk(until: str) -> int:
    count = 0
    while not Path(until).exists():
        print("still here", flush=True)
        count += 1
        time.sleep(0.1)
    return count


@workflow
def talking(until: str) -> int:
    return talk(until)
"""

SPEC = """
workflow: sched_flows.py:mean
params: {rows: rows.csv}
space: {smallest: 0..3}
metric: mean
search: random
trials: 3
executor: local
experiment: nights
tags: {from: spec}
"""


def write_project(folder: Path) -> None:
    (folder / "sched_flows.py").write_text(FLOWS)
    (folder / "library").mkdir()
    (folder / "library" / "sched_library.py").write_text(LIBRARY)
    (folder / "rows.csv").write_text("tip,bill\n1.5,10\n0.5,8\n3.5,20\n")
    (folder / "sweep.yaml").write_text(SPEC)


def await_that(holds: Callable[[], Any], what: str, limit_s: float) -> Any:
    """Wait until something is found, and return it."""
    deadline = time.monotonic() + limit_s
    while not (found := holds()):
        assert time.monotonic() < deadline, f"{what}: it never came"
        time.sleep(0.1)
    return found
