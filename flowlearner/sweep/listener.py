"""What is told of a sweep while it goes on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from flowlearner.records import ErrorInfo, Status
from flowlearner.sweep.space import Point


@dataclass(frozen=True)
class Best:
    """The best completed trial of a sweep that searches for one metric."""

    number: int
    run_id: str
    point: Point
    value: float


@dataclass
class Tally:
    """How far a sweep has come.

    Attributes:
        counts: trials by status; RUNNING are those in flight.
        executed: operator calls that ran, by operator.
        saved: operator calls that trials needed and that did not run for them, by operator.
    """

    counts: Counter[Status] = field(default_factory=Counter)
    executed: Counter[str] = field(default_factory=Counter)
    saved: Counter[str] = field(default_factory=Counter)
    best: Best | None = None


class SweepListener:
    """Is told what happens to a sweep, from the driver's thread."""

    def say(self, message: str) -> None:
        """One line from the platform."""

    def sweep_started(self, sweep_id: str, trials: int | None) -> None:
        """The sweep is recorded and begins."""

    def progressed(self, tally: Tally) -> None:
        """Trials have begun or ended; called at most a few times a second."""

    def trial_failed(self, number: int, error: ErrorInfo | None) -> None:
        """A trial has failed; the others go on."""

    def sweep_finished(self, sweep_id: str, status: Status) -> None:
        """The sweep has its final status."""
