"""Our side of trivial trials: a sweep of a workflow with one operator, everything recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import time_ns
from typing import Any

from sides.memory import read_memory
from sides.ray_cluster import start_cluster
from sides.trials import Trial, check_trials, make_rounds

from flowlearner import Metric, Range, Sweep, operator, workflow
from flowlearner.records import Status
from flowlearner.sweep.listener import SweepListener, Tally

FIRST = 1000
COLUMNS = 200


@operator
def score(x: float, y: float) -> Metric:
    """As little as an operator can do."""
    return x + y


@workflow(executor="local")
def trial(x: float = 0.0, y: float = 0.0) -> Metric:
    """A trial of one call."""
    return score(x, y)


def make_space(search: str, count: int, seed: int) -> Mapping[str, Any]:
    """Return two numbers as wide as they are, or the values of a grid that no other seed has."""
    if search != "grid":
        return {"x": Range(0.0, 1.0), "y": Range(0.0, 1.0)}
    rows, columns = count // COLUMNS, COLUMNS
    return {"x": [seed + i / rows for i in range(rows)], "y": [i / columns for i in range(columns)]}


def read_trials(sweep: Sweep) -> list[Trial]:
    """Return what the catalog has of a sweep whose trials have all completed."""
    return [(t.point["x"], t.point["y"], t.values[0] or 0.0) for t in sweep.trial_records if t.values]


@dataclass
class Watch(SweepListener):
    """Notes how many trials had completed, and the most memory so far, once they are the first thousand."""

    completed: int = 0
    peak: int = 0

    def progressed(self, tally: Tally) -> None:
        """Called about four times a second."""
        if not self.completed and tally.counts[Status.COMPLETED] >= FIRST:
            self.completed, self.peak = tally.counts[Status.COMPLETED], read_memory("VmHWM")


def make(what: str, search: str, count: str, executor: str) -> Callable[[], float]:
    """Rounds of a sweep ("time"), or what its driver's memory grows by, KB a trial ("memory")."""
    trials = int(count)
    if executor == "ray":
        start_cluster()
    sweeps: list[Sweep] = []

    def run(seed: int, listener: SweepListener | None = None) -> None:
        # Values of lists and points of a seed are new, so that no trial is known from an earlier round.
        space = make_space(search, trials, seed)
        sweep = trial.sweep(
            space, trials=trials, search=search, seed=seed, executor=executor, listener=listener
        )
        sweeps[:] = [sweep]

    def read() -> Sequence[Trial]:
        executed = sweeps[0].node_executions
        assert executed == {"score": trials}, f"{executed}, expected {trials} calls"
        return read_trials(sweeps[0])

    def measure_memory() -> float:
        watch = Watch()
        run(time_ns(), watch)
        grown = read_memory("VmHWM") - watch.peak
        check_trials(read(), trials)
        return grown / (trials - watch.completed) / 1024

    return measure_memory if what == "memory" else make_rounds(run, read, trials)
