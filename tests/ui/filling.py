"""Fills a catalog with runs of every kind, good and bad."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy

from flowlearner import Client
from flowlearner.catalog import Catalog
from flowlearner.records import RunRecord, Status, WorkflowVersion
from tests.ui.flows import HOSTILE, failing, line, unbounded, weighing

MANY_PARAMS = 2000
LONG = "x" * 10_000
SPACE: dict[str, Any] = {"rate": [0.1, 0.2, 0.3], "rounds": [3, 4]}


@dataclass(frozen=True)
class Filled:
    """Ids by what they are.

    Attributes:
        good, again: completed runs of one workflow with other params; the second is made of the first.
        failed: its error, tags, notes and parameters are hostile.
        odd: its metrics are NaN and infinite.
        bare: without nodes, params and outputs.
        wide: with very many params.
        gone: marked as deleted.
        lost: the artifacts of its outputs are not there any more.
        sweep, pair: searches for one metric and for two.
    """

    good: str
    again: str
    failed: str
    odd: str
    bare: str
    wide: str
    gone: str
    lost: str
    sweep: str
    pair: str


def fill(client: Client) -> Filled:
    """Make the runs in the home that the environment names."""
    good = line.with_options(experiment="lines", tags={"team": "ops"}).run(n=20, rate=0.1)
    again = client.clone(good.id, {"rate": 0.3})
    sweep = line.sweep(SPACE, metric="score", search="grid", n=20)
    pair = weighing.sweep({"size": [1, 2, 3, 4]}, metric=["gain", "cost"], mode=["max", "min"], search="grid")
    odd = unbounded.run()
    gone = weighing.run(size=9)
    client.delete_runs([gone.id])
    failed = failing.submit(text=HOSTILE)
    client.set_tags(failed.id, {HOSTILE: HOSTILE, "long": LONG})
    client.set_notes(failed.id, f"# Head\n{HOSTILE}\n{LONG}")
    lost = line.run(n=22)
    with Catalog(client.settings.catalog_url) as catalog:
        _forget(catalog, [o.hash for o in lost.record.outputs.values()])
        _record(catalog, "0bare0000000", {})
        _record(catalog, "0wide0000000", {f"p{i:04}": i / 7 for i in range(MANY_PARAMS)})
    return Filled(
        good=good.id,
        again=again.id,
        failed=failed.id,
        odd=odd.id,
        bare="0bare0000000",
        wide="0wide0000000",
        gone=gone.id,
        lost=lost.id,
        sweep=sweep.id,
        pair=pair.id,
    )


def _forget(catalog: Catalog, hashes: list[str]) -> None:
    with catalog.database.write() as connection:
        for hash_ in hashes:
            connection.execute(sqlalchemy.text("DELETE FROM artifact WHERE hash = :hash"), {"hash": hash_})


def _record(catalog: Catalog, run_id: str, params: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    version = WorkflowVersion("bare", "f" * 64, "flows", "def bare(): ...", "", {"params": []}, {"nodes": []})
    run = RunRecord(run_id, "bare", "default", Status.RUNNING, "ada", now, started_at=now, params=params)
    catalog.begin_run(run, version, [])
    catalog.finish_run(run_id, Status.COMPLETED, now, [], [], None)
