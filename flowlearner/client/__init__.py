"""The client: every action of the command line and of the pages, for programs and notebooks."""

from __future__ import annotations

from flowlearner.client.client import Client
from flowlearner.client.comparison import Comparison, Row
from flowlearner.client.forms import Field
from flowlearner.client.garbage import GarbageReport
from flowlearner.client.launching import LaunchForm
from flowlearner.client.run import Outputs, Run, reproduction_json
from flowlearner.client.sweep import Sweep
from flowlearner.errors import FlowLearnerError, NotFoundError, QueryError, UsageError
from flowlearner.replay.differences import show_difference
from flowlearner.schedule.records import LaunchState, Schedule
from flowlearner.sweep.search import SEARCHES, STOPS

__all__ = [
    "SEARCHES",
    "STOPS",
    "Client",
    "Comparison",
    "Field",
    "FlowLearnerError",
    "GarbageReport",
    "LaunchForm",
    "LaunchState",
    "NotFoundError",
    "Outputs",
    "QueryError",
    "Row",
    "Run",
    "Schedule",
    "Sweep",
    "UsageError",
    "reproduction_json",
    "show_difference",
]
