"""Garbage and kept runs: whatever a kept run or its cache entries need outlives the run that made it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flowlearner import Client, File, NotFoundError, Run, UsageError, operator, workflow
from flowlearner.artifacts import get_codec
from flowlearner.capture import read_environment
from flowlearner.catalog import Catalog
from flowlearner.records import Status, SweepRecord
from tests.client.flows import MANY_ROWS, tips


@operator
def count_lines(file: File) -> int:
    return len(Path(file).read_text().splitlines())


@operator
def count_rows(rows: pd.DataFrame) -> int:
    return len(rows)


@workflow(executor="local")
def lines(file: File) -> int:
    return count_lines(file)


@workflow(executor="local")
def rows_of(rows: pd.DataFrame) -> int:
    return count_rows(rows)


def delete_for_good(client: Client, run: Run) -> None:
    client.delete_runs([run.id])
    assert client.collect_garbage(dry_run=False).runs == 1


def load_all(client: Client, run: Run) -> None:
    """Load every output of a run and of its nodes."""
    kept = client.get_run(run.id)
    for name in kept.outputs:
        client.load_output(run.id, name)
    for node in kept.nodes:
        for output in node.outputs:
            client.load_output(run.id, f"{node.name}.{output.name}")


@pytest.mark.parametrize("n", [4, MANY_ROWS], ids=["in-the-catalog", "in-a-file"])
@pytest.mark.parametrize("deleted", [0, 1], ids=["that-made-it", "that-took-it-from-the-cache"])
def test_what_a_kept_run_shares_with_a_deleted_one_stays(
    client: Client, calls: list[str], n: int, deleted: int
) -> None:
    runs = [tips.run(n=n, scale=1.0), tips.run(n=n, scale=2.0)]
    gone, kept = runs[deleted], runs[1 - deleted]
    assert gone.record.outputs["rows"].hash == kept.record.outputs["rows"].hash
    delete_for_good(client, gone)
    load_all(client, kept)
    assert client.check_catalog() == []
    calls.clear()
    again = tips.run(n=n, scale=kept.params["scale"])
    assert calls == []
    assert all(node.cached for node in again.nodes)
    load_all(client, again)


def test_a_run_that_only_hit_outlives_the_run_that_it_hit(client: Client, calls: list[str]) -> None:
    first, second = tips.run(n=MANY_ROWS), tips.run(n=MANY_ROWS)
    delete_for_good(client, first)
    load_all(client, second)
    assert client.check_catalog() == []
    calls.clear()
    assert all(node.cached for node in tips.run(n=MANY_ROWS).nodes)
    assert calls == []


def test_the_snapshot_of_a_kept_run_stays(client: Client) -> None:
    kept, gone = tips.run(scale=1.0), tips.run(scale=2.0)
    snapshot = kept.record.code.snapshot
    assert snapshot is not None
    assert gone.record.code.snapshot == snapshot
    delete_for_good(client, gone)
    client.store.check(client.find_artifact(snapshot))


def test_the_file_and_the_table_that_kept_runs_were_given_stay(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n" + "1,2\n" * 30_000)
    file_run, table_run = lines.run(file=str(path)), rows_of.run(rows=str(path))
    delete_for_good(client, tips.run())
    path.unlink()
    file, table = file_run.params["file"]["hash"], table_run.params["rows"]["hash"]
    for hash_ in (file, table):
        client.store.check(client.find_artifact(hash_))
    assert lines.run(file=f"artifact:{file}").nodes[0].cached
    assert rows_of.run(rows=f"artifact:{table}").nodes[0].cached
    assert client.check_catalog() == []


def test_what_a_trial_that_is_going_on_may_need_stays(client: Client) -> None:
    run = tips.run()
    with Catalog(client.settings.catalog_url) as catalog:
        version = catalog.get_workflow("tips").versions[0]
        trial = replace(run.record, id="trial", sweep_id="sweep", trial_number=0, nodes=(), finished_at=None)
        catalog.begin_run(replace(trial, status=Status.RUNNING), version, [])
    client.delete_runs([run.id])
    with pytest.raises(UsageError, match="runs are going on: trial"):
        client.collect_garbage(dry_run=False)
    load_all(client, run)


def test_counts_are_those_of_the_kept_runs_afterwards(client: Client) -> None:
    kept, gone = tips.run(scale=1.0), tips.run(scale=2.0)
    delete_for_good(client, gone)
    assert [r.id for r in client.list_runs(include_deleted=True)] == [kept.id]
    assert [w.run_count for w in client.list_workflows()] == [1]
    assert {o.name: o.executed_count for o in client.list_operators()} == {"load": 1, "mean": 1}
    assert len(client.get_graph(kept.id)["nodes"]) == 2


def test_the_changes_to_the_commit_of_a_kept_run_stay(client: Client) -> None:
    kept, gone = tips.run(scale=1.0), tips.run(scale=2.0)
    changes = store_text(client, "# Changes to commit abc\n")
    begin_copy(client, kept, id="with-changes", code=replace(kept.record.code, diff=changes))
    delete_for_good(client, gone)
    client.store.check(client.find_artifact(changes))
    client.delete_runs(["with-changes"])
    client.collect_garbage(dry_run=False)
    with pytest.raises(NotFoundError):
        client.find_artifact(changes)


def test_changes_to_the_commit_that_are_lost_are_found(client: Client) -> None:
    run = tips.run()
    begin_copy(client, run, id="lost-changes", code=replace(run.record.code, diff="f" * 64))
    (problem,) = client.check_catalog()
    assert "lost-changes" in problem


def begin_copy(client: Client, run: Run, **fields: Any) -> None:
    """Record a run like another one."""
    with Catalog(client.settings.catalog_url) as catalog:
        version = catalog.get_workflow(run.workflow).versions[0]
        record = replace(run.record, nodes=(), outputs={}, metrics={}, status=Status.RUNNING, **fields)
        catalog.begin_run(record, version, [])
        catalog.finish_run(record.id, Status.COMPLETED, record.created_at, (), (), None)


def store_text(client: Client, text: str) -> str:
    """Store changes to a commit; return their hash."""
    artifact = client.store.put(get_codec("diff/1").encode(text, str))
    with Catalog(client.settings.catalog_url) as catalog:
        catalog.add_artifacts([artifact])
    return artifact.hash


@pytest.fixture
def sweep(client: Client, tmp_path: Path) -> SweepRecord:
    """A sweep with a fixed table and tables to choose from, that has begun no trial yet."""
    for name, count in (("fixed", 3), ("first", 4), ("second", 5)):
        (tmp_path / f"{name}.csv").write_text("x\n" + "1\n" * count)
    tables = {n: str(tmp_path / f"{n}.csv") for n in ("fixed", "first", "second")}
    hashes = {n: rows_of.run(rows=path).params["rows"]["hash"] for n, path in tables.items()}
    runs = client.list_runs()
    record = SweepRecord(
        id="empty",
        workflow="rows_of",
        experiment="default",
        status=Status.RUNNING,
        owner="ada",
        created_at=runs[0].record.created_at,
        metrics=("auc",),
        modes=("max",),
        spec={
            "params": {"rows": {"type": "t", "hash": hashes["fixed"], "source": None}},
            "dimensions": [
                {"name": "more", "values": [{"hash": hashes[n], "source": None} for n in ("first", "second")]}
            ],
        },
        code=replace(runs[0].record.code, diff=store_text(client, "# Changes to commit abc\n")),
    )
    with Catalog(client.settings.catalog_url) as catalog:
        catalog.begin_sweep(record, read_environment())
    for run in runs:
        delete_for_good(client, run)
    return record


def list_named(sweep: SweepRecord) -> list[str]:
    values = [sweep.spec["params"]["rows"], *sweep.spec["dimensions"][0]["values"]]
    assert sweep.code.snapshot is not None
    assert sweep.code.diff is not None
    return [sweep.code.snapshot, sweep.code.diff, *(v["hash"] for v in values)]


def test_what_a_sweep_without_trials_needs_to_go_on_stays(client: Client, sweep: SweepRecord) -> None:
    for hash_ in list_named(sweep):
        client.store.check(client.find_artifact(hash_))
    assert client.check_catalog() == []


def test_what_a_sweep_needs_goes_with_the_last_of_its_trials(client: Client, sweep: SweepRecord) -> None:
    run = tips.run()
    for number in range(2):
        begin_copy(client, run, id=f"trial-{number}", sweep_id=sweep.id, trial_number=number)
    client.delete_runs(["trial-0"])
    client.collect_garbage(dry_run=False)
    for hash_ in list_named(sweep):
        client.find_artifact(hash_)
    client.delete_runs(["trial-1"])
    # The code of this module is that of the kept run, too.
    gone = [h for h in list_named(sweep) if h != run.record.code.snapshot]
    announced = client.collect_garbage()
    assert announced.artifacts == len(gone)
    assert client.collect_garbage(dry_run=False).artifacts == len(gone)
    for hash_ in gone:
        with pytest.raises(NotFoundError):
            client.find_artifact(hash_)
