"""Collecting garbage: what no kept run needs goes, what one needs stays, and the dry run said so."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import text

from flowlearner import Client, File, NotFoundError, Run, UsageError, operator, workflow
from flowlearner.catalog import Catalog
from flowlearner.client.garbage import collect_garbage
from tests.client.flows import MANY_ROWS, begin_run, make_dead_process, tips
from tests.engine.calls import called


@operator
def count_bytes(file: File) -> int:
    called("count_bytes")
    return len(Path(file).read_bytes())


@workflow(executor="local")
def sizes(file: File) -> int:
    return count_bytes(file)


@operator
def count_rows(rows: pd.DataFrame) -> int:
    called("count_rows")
    return len(rows)


@workflow(executor="local")
def lengths(rows: pd.DataFrame) -> int:
    return count_rows(rows)


def list_files(client: Client) -> list[Path]:
    return sorted(p for p in Path(client.settings.artifacts_url).rglob("*") if p.is_file())


def find_file(client: Client, run: Run, output: str) -> Path:
    path = client.get_artifact(run.id, output).path
    assert path is not None
    return Path(client.settings.artifacts_url) / path


def make_old(path: Path) -> None:
    two_hours_ago = time.time() - 7200
    os.utime(path, (two_hours_ago, two_hours_ago))


def test_a_dry_run_says_what_goes_and_removes_nothing(client: Client) -> None:
    tips.run(n=MANY_ROWS)
    gone = tips.run(n=MANY_ROWS + 1)
    rows, mean = (client.get_artifact(gone.id, name) for name in ("rows", "mean"))
    client.delete_runs([gone.id])
    before = list_files(client)
    report = client.collect_garbage()
    assert (report.runs, report.artifacts, report.files, report.removed) == (1, 2, 0, False)
    assert report.size_bytes == rows.size_bytes + mean.size_bytes
    assert list_files(client) == before
    assert client.restore_runs([gone.id]) == [gone.id]
    assert len(gone.outputs.rows) == MANY_ROWS + 1
    assert client.collect_garbage().artifacts == 0


def test_what_a_dry_run_announced_is_what_then_goes(client: Client) -> None:
    kept, gone = tips.run(n=MANY_ROWS), tips.run(n=MANY_ROWS + 1)
    lost = find_file(client, gone, "rows")
    client.delete_runs([gone.id])
    announced = client.collect_garbage()
    assert client.collect_garbage(dry_run=False) == replace(announced, removed=True)
    assert not lost.exists()
    assert find_file(client, kept, "rows").exists()
    with pytest.raises(NotFoundError):
        client.get_run(gone.id)
    with pytest.raises(NotFoundError):
        client.restore_runs([gone.id])
    rest = client.collect_garbage(dry_run=False)
    assert (rest.runs, rest.artifacts, rest.files, rest.size_bytes) == (0, 0, 0, 0)
    assert client.check_catalog() == []


def test_what_a_kept_run_took_from_a_deleted_one_stays_and_still_hits(
    client: Client, calls: list[str]
) -> None:
    first, second = tips.run(n=MANY_ROWS), tips.run(n=MANY_ROWS, scale=2.0)
    client.delete_runs([first.id])
    client.collect_garbage(dry_run=False)
    assert len(client.get_run(second.id).outputs.rows) == MANY_ROWS
    assert client.get_run(second.id).nodes[0].cached_from == first.id
    calls.clear()
    tips.run(n=MANY_ROWS, scale=2.0)
    assert calls == []


def test_what_went_is_computed_again_when_it_is_needed(client: Client, calls: list[str]) -> None:
    gone = tips.run(n=MANY_ROWS)
    client.delete_runs([gone.id])
    client.collect_garbage(dry_run=False)
    calls.clear()
    assert len(tips.run(n=MANY_ROWS).outputs.rows) == MANY_ROWS
    assert calls == ["load", "mean"]
    assert client.check_catalog() == []


def test_files_and_tables_that_were_given_are_read_again_after_their_run_is_gone(
    client: Client, calls: list[str], tmp_path: Path
) -> None:
    table = tmp_path / "rows.csv"
    pd.DataFrame({"x": range(MANY_ROWS)}).to_csv(table, index=False)
    # Old enough for its hash to be remembered by its times.
    make_old(table)
    runs = [sizes.run(file=str(table)), lengths.run(rows=str(table))]
    client.delete_runs([r.id for r in runs])
    client.collect_garbage(dry_run=False)
    calls.clear()
    assert sizes.run(file=str(table)).outputs.result == table.stat().st_size
    assert lengths.run(rows=str(table)).outputs.result == MANY_ROWS
    assert calls == ["count_bytes", "count_rows"]
    assert client.check_catalog() == []


def test_a_file_that_is_kept_by_reference_is_never_removed(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWLEARNER_FILE_LIMIT_BYTES", "10")
    large = tmp_path / "large.bin"
    large.write_bytes(b"x" * 100_000)
    run = sizes.run(file=str(large))
    client.delete_runs([run.id])
    hash_ = run.params["file"]["hash"]
    sizes_by_hash = {a.hash: a.size_bytes for a in client.catalog.list_unneeded_artifacts()}
    assert sizes_by_hash.pop(hash_) == 100_000
    assert client.collect_garbage(dry_run=False).size_bytes == sum(sizes_by_hash.values())
    assert large.read_bytes() == b"x" * 100_000


def test_nothing_goes_while_a_run_is_going_on(client: Client) -> None:
    gone = tips.run(n=MANY_ROWS)
    client.delete_runs([gone.id])
    begin_run(client, "live")
    assert client.collect_garbage().runs == 1
    with pytest.raises(UsageError, match=r"runs are going on: live.*flowlearner runs cancel live"):
        client.collect_garbage(dry_run=False)
    assert len(client.get_run(gone.id).outputs.rows) == MANY_ROWS


def test_a_run_whose_process_is_dead_does_not_hold_garbage_up(client: Client) -> None:
    begin_run(client, "dead", make_dead_process())
    gone = tips.run()
    client.delete_runs([gone.id])
    assert client.collect_garbage(dry_run=False).runs == 1
    assert client.get_run("dead").status == "CRASHED"


def test_leases_go_a_day_after_their_last_heartbeat(client: Client) -> None:
    old, recent = (replace(make_dead_process(), host=name) for name in ("old", "recent"))
    for process, hours in ((old, 2), (recent, 23)):
        client.catalog.begin_lease(process, 10)
        with client.catalog.database.write() as connection:
            # Those that are there already become as much older, too.
            connection.execute(text(f"UPDATE lease SET beat_us = beat_us - {hours * 3600 * 1_000_000}"))
    client.collect_garbage()
    assert client.catalog.find_beat(old) is not None
    client.collect_garbage(dry_run=False)
    assert client.catalog.find_beat(old) is None
    assert client.catalog.find_beat(recent) is not None


def test_a_stored_file_that_the_catalog_does_not_know_goes_when_it_is_old(client: Client) -> None:
    stored = find_file(client, tips.run(n=MANY_ROWS), "rows")
    make_old(stored)
    known = list_files(client)
    old = stored.with_name("f" * 64 + "-" + "e" * 64)
    young = stored.with_name("d" * 64 + "-" + "e" * 64)
    for path in (old, young):
        path.write_bytes(b"12345")
    make_old(old)
    announced = client.collect_garbage()
    assert (announced.files, announced.size_bytes) == (1, 5)
    client.collect_garbage(dry_run=False)
    assert list_files(client) == sorted([*known, young])


def test_files_stay_for_the_next_time_when_a_run_begins_meanwhile(client: Client) -> None:
    gone = tips.run(n=MANY_ROWS)
    lost = find_file(client, gone, "rows")
    client.delete_runs([gone.id])
    running = iter([[], ["live"]])
    collect_garbage(client.catalog, client.store, lambda: next(running), dry_run=False)
    assert lost.exists()
    make_old(lost)
    assert client.collect_garbage().files == 1
    client.collect_garbage(dry_run=False)
    assert not lost.exists()


@pytest.mark.parametrize("as_file", [False, True])
def test_what_was_found_to_be_stored_and_goes_just_before_a_run_begins_is_stored_again(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_file: bool
) -> None:
    rows = pd.DataFrame({"x": range(MANY_ROWS)})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    given = str(tmp_path / "rows.csv") if as_file else rows
    client.delete_runs([lengths.run(rows=given).id])
    begin = Catalog.begin_run

    def collect_then_begin(catalog: Catalog, *args: Any) -> None:
        monkeypatch.undo()
        assert client.collect_garbage(dry_run=False).artifacts > 0
        begin(catalog, *args)

    monkeypatch.setattr(Catalog, "begin_run", collect_then_begin)
    run = lengths.run(rows=given)
    assert run.outputs.result == MANY_ROWS
    assert client.check_catalog() == []


def test_an_empty_home_has_no_garbage(client: Client) -> None:
    report = client.collect_garbage(dry_run=False)
    assert (report.runs, report.artifacts, report.files, report.size_bytes) == (0, 0, 0, 0)
