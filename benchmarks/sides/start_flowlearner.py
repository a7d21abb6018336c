"""Our side of a sweep's beginning: from the call of `sweep` to the first call of its operator."""

from __future__ import annotations

import time
from collections.abc import Callable

from flowlearner import Metric, operator, workflow


@operator
def tell_time(turn: float) -> Metric:  # noqa: ARG001 - another one in each process, so that the cache has nothing
    """When it began, by the clock of this machine."""
    return time.time()


@workflow
def clock(turn: float = 0.0) -> Metric:
    """A trial of one call."""
    return tell_time(turn)


def make() -> Callable[[], float]:
    """One round, on the cluster of FLOWLEARNER_RAY_ADDRESS or one that the sweep starts itself."""

    def measure() -> float:
        began = time.time()
        sweep = clock.sweep({"turn": [began, began + 1]}, search="grid", mode="min", executor="ray")
        times = [t.values[0] for t in sweep.trial_records]
        assert len(times) == 2, times
        return min(t for t in times if t is not None) - began

    return measure
