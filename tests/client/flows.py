"""Small workflows for the tests of the client, and a run whose process is dead."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import pandas as pd

from flowlearner import Client, Metric, operator, report, workflow
from flowlearner.catalog import Catalog
from flowlearner.lease import get_process_owner
from flowlearner.records import Owner, RunRecord, Status, WorkflowVersion
from flowlearner.types import Pickled
from tests.engine.calls import called

# Larger than what the catalog keeps in its own rows, so that a table becomes a file.
MANY_ROWS = 20_000


@operator
def load(n: int) -> pd.DataFrame:
    """Make rows."""
    called("load")
    print(f"{n} rows")
    return pd.DataFrame({"x": range(n), "y": [i / 2 for i in range(n)]})


@operator
def mean(rows: pd.DataFrame, scale: float) -> Metric:
    called("mean")
    logging.getLogger("flows").warning("scaled by %s", scale)
    return float(rows["y"].mean()) * scale


class Tips(NamedTuple):
    rows: pd.DataFrame
    mean: Metric


@workflow(executor="local")
def tips(n: int = 4, scale: float = 1.0) -> Tips:
    """Average tips."""
    rows = load(n)
    return Tips(rows=rows, mean=mean(rows, scale))


@operator
def learn(steps: int) -> int:
    for step in range(steps):
        report(step=step, loss=1 / (step + 1))
    report(step=steps, loss=math.nan)
    report(step=steps + 1, loss=math.inf)
    report(worst=-math.inf)
    return steps


@workflow(executor="local")
def curves(steps: int = 2) -> int:
    return learn(steps)


@operator
def refuse(n: int) -> int:
    raise ValueError(f"no {n}")


@workflow(executor="local")
def failing(n: int = 1) -> int:
    return refuse(n)


@dataclass
class Thing:
    size: int


@operator
def make_thing(size: int) -> Annotated[Thing, Pickled()]:
    return Thing(size)


@workflow(executor="local")
def things(size: int = 3) -> Annotated[Thing, Pickled()]:
    return make_thing(size)


def begin_run(client: Client, run_id: str, process: Owner | None = None) -> None:
    """Record a run that is going on in a process; in this one if none is given."""
    version = WorkflowVersion("lost", "f" * 64, "flows", "def lost(): ...", "", {"params": []}, {"nodes": []})
    now = datetime.now(UTC)
    record = RunRecord(
        id=run_id,
        workflow="lost",
        experiment="default",
        status=Status.RUNNING,
        owner="ada",
        created_at=now,
        started_at=now,
        process=process or get_process_owner(),
    )
    with Catalog(client.settings.catalog_url) as catalog:
        catalog.begin_run(record, version, [])


def make_dead_process() -> Owner:
    """Return the identity of a process of this boot that is gone: the pid is ours, its start is not."""
    own = get_process_owner()
    return Owner(own.host, own.pid, own.pid_started - 1000, own.boot_id)
