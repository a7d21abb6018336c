"""A workflow whose trials end when the test lets them: each waits for a file of its own."""

from __future__ import annotations

import time
from pathlib import Path

from flowlearner import Metric, operator, report, workflow


@operator(cache=False)
def wait(number: int, folder: str) -> Metric:
    for step in range(3):
        report(step=step, result=float(number + step))
    while not (Path(folder) / str(number)).exists():
        time.sleep(0.02)
    return float(number)


@workflow
def waiting(number: int = 0, folder: str = "") -> Metric:
    return wait(number, folder)
