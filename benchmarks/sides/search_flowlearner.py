"""Our side of a search: a catalog full of runs, and a client that asks for the best that fit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pairs import time_once
from sides.search import ORDER, QUERY, TOP, check_top, iter_entries

from flowlearner import Client
from flowlearner.catalog import Catalog
from flowlearner.config import get_settings
from flowlearner.records import MetricPoint, RunRecord, Status, WorkflowVersion

BATCH = 1000
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def fill(catalog: Catalog, count: int) -> None:
    """Record so many runs that have ended."""
    workflow = WorkflowVersion("delays", "0" * 64, "flights", "def delays(): ...", "", {}, {"nodes": []})
    entries = iter_entries(count)
    for start in range(0, count, BATCH):
        with catalog.batch():
            for number in range(start, min(start + BATCH, count)):
                entry = next(entries)
                at = BEGIN + timedelta(seconds=number)
                run = RunRecord(
                    entry.name, "delays", "default", Status.RUNNING, "ops", at, at, params=entry.params
                )
                catalog.begin_run(run, workflow, ())
                points = [MetricPoint(name, value, None, at) for name, value in entry.metrics.items()]
                catalog.finish_run(entry.name, Status.COMPLETED, at + timedelta(seconds=9), (), points, None)


def make(count: str) -> Callable[[], float]:
    """Fill the catalog of the home where it is empty; a round is one search."""
    client = Client(get_settings())
    if client.count_runs() == 0:
        fill(client.catalog, int(count))
    taken: list[float] = []

    def measure() -> float:
        found = []

        def search() -> None:
            found[:] = client.list_runs(query=QUERY, order_by=ORDER, limit=TOP)

        taken.append(time_once(search))
        rows = [(r.metrics["auc"], int(r.params["depth"]), len(r.metrics), len(r.params)) for r in found]
        check_top(rows, int(count))
        return taken[-1]

    return measure
