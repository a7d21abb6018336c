"""The client: every action of the command line and of the pages, for programs and notebooks."""

from __future__ import annotations

from flowlearner.client.client import Client
from flowlearner.client.comparison import Comparison, Row
from flowlearner.client.garbage import GarbageReport
from flowlearner.client.run import Outputs, Run, reproduction_json
from flowlearner.client.sweep import Sweep
from flowlearner.errors import FlowLearnerError, NotFoundError, QueryError, UsageError
from flowlearner.replay.differences import show_difference

__all__ = [
    "Client",
    "Comparison",
    "FlowLearnerError",
    "GarbageReport",
    "NotFoundError",
    "Outputs",
    "QueryError",
    "Row",
    "Run",
    "Sweep",
    "UsageError",
    "reproduction_json",
    "show_difference",
]
