"""What is known of schedules and of what was launched, as it is handed out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flowlearner.schedule.job import Job
from flowlearner.schedule.timing import Timing


@dataclass(frozen=True)
class Schedule:
    """A schedule as it is now.

    Attributes:
        next_at: when it fires next; None while it is paused.
        last_at: when it last began to run something.
        last_status: what became of that, as Prefect names it, in capitals.
        last_run_id: of that run or sweep; None where the flow run has another name.
        skipped_at: when it last fired in vain, after `last_at`: the run before was still going.
    """

    name: str
    workflow: str
    timing: Timing
    job: Job
    paused: bool
    next_at: datetime | None = None
    last_at: datetime | None = None
    last_status: str | None = None
    last_run_id: str | None = None
    skipped_at: datetime | None = None


@dataclass(frozen=True)
class LaunchState:
    """How far a run or sweep is that was launched.

    Attributes:
        id: of the run or sweep, under which it is in the catalog once it has begun.
        state: as Prefect names it, in capitals: SCHEDULED, PENDING, RUNNING, then how it ended.
        message: why it ended as it did.
    """

    id: str
    state: str
    is_sweep: bool
    message: str = ""

    @property
    def has_ended(self) -> bool:
        return self.state in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
