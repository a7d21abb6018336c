"""Leases: how long a process is taken to live that is not seen, and what it may not write once it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from flowlearner.catalog import Catalog
from flowlearner.errors import LeaseLost
from flowlearner.heartbeat import beating
from flowlearner.lease import get_process_owner
from flowlearner.records import CacheEntry, LogLine, MetricPoint, Owner, Status
from tests.catalog.make import (
    NOW,
    PROCESS,
    begin,
    begin_sweep,
    make_artifact,
    make_node,
    make_output,
    make_trials,
)
from tests.engine.processes import wait_until

OTHER = replace(PROCESS, pid=4712)


def age(catalog: Catalog, seconds: float) -> None:
    """Let all leases be as much older."""
    with catalog.database.write() as connection:
        connection.execute(text(f"UPDATE lease SET beat_us = beat_us - {round(seconds * 1e6)}"))


def renew(catalog: Catalog) -> None:
    renewal = catalog.begin_lease(OTHER, 10)
    with catalog.database.write() as connection:
        connection.execute(text(renewal.statement), {"lease": renewal.lease})


def test_a_lease_runs_out_after_two_heartbeats(catalog: Catalog) -> None:
    catalog.begin_lease(PROCESS, 10)
    age(catalog, 19)
    assert not catalog.has_expired(PROCESS)
    age(catalog, 2)
    assert catalog.has_expired(PROCESS)


def test_a_renewed_lease_holds_again(catalog: Catalog) -> None:
    catalog.begin_lease(OTHER, 10)
    before = catalog.find_beat(OTHER)
    age(catalog, 21)
    renew(catalog)
    assert not catalog.has_expired(OTHER)
    assert before is not None
    assert (catalog.find_beat(OTHER) or 0) >= before


def test_a_process_that_never_had_a_lease_has_none_that_could_run_out(catalog: Catalog) -> None:
    catalog.begin_lease(OTHER, 10)
    age(catalog, 1000)
    assert not catalog.has_expired(PROCESS)
    assert catalog.find_beat(PROCESS) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(PROCESS, host="elsewhere"),
        replace(PROCESS, boot_id="later"),
        replace(PROCESS, pid_started=PROCESS.pid_started + 0.01),
    ],
)
def test_processes_of_one_pid_have_leases_of_their_own(catalog: Catalog, other: Owner) -> None:
    catalog.begin_lease(PROCESS, 10)
    age(catalog, 21)
    catalog.begin_lease(other, 10)
    assert catalog.has_expired(PROCESS)
    assert not catalog.has_expired(other)


def test_old_leases_go_but_for_those_that_an_open_run_or_sweep_depends_on(catalog: Catalog) -> None:
    third, fourth = replace(PROCESS, pid=4713), replace(PROCESS, pid=4714)
    begin(catalog, "run", process=PROCESS)
    begin_sweep(catalog, "sweep")
    catalog.claim_sweep("sweep", OTHER, PROCESS, lambda _: True)
    begin(catalog, "ended", process=third)
    catalog.finish_run("ended", Status.COMPLETED, NOW, (), (), None)
    for process in (PROCESS, OTHER, third):
        catalog.begin_lease(process, 10)
    age(catalog, 100)
    catalog.begin_lease(fourth, 10)
    assert catalog.purge_leases(older_than_s=1000) == 0
    assert catalog.purge_leases(older_than_s=50) == 1
    assert [catalog.find_beat(p) is None for p in (PROCESS, OTHER, third, fourth)] == [
        False,
        False,
        True,
        False,
    ]


def test_the_process_of_a_run_that_was_recorded_as_crashed_writes_nothing_more(catalog: Catalog) -> None:
    begin(catalog, "a", process=PROCESS)
    assert catalog.store_crash("a", PROCESS)
    line = LogLine(NOW, "INFO", "late")
    artifact, entry = make_artifact(1), CacheEntry("key", "a", "train", (make_output(1),), ())
    with pytest.raises(LeaseLost, match="flowlearner runs show a"):
        catalog.record_nodes("a", [make_node("train")], [artifact], [entry], [line])
    with pytest.raises(LeaseLost):
        catalog.append_logs("a", [line])
    with pytest.raises(LeaseLost):
        catalog.append_metrics("a", [MetricPoint("auc", 0.5)])
    assert not catalog.finish_run("a", Status.COMPLETED, NOW, (), [MetricPoint("auc", 0.5)], None)
    assert not catalog.update_run("a", status=Status.COMPLETED)
    run = catalog.get_run("a")
    assert (run.status, run.nodes, run.metrics) == (Status.CRASHED, (), {})
    assert catalog.find_cache_entries(["key"]) == {}
    assert catalog.find_artifacts([artifact.hash]) == {}
    assert catalog.list_logs("a") == []


def test_a_sweep_crashed_when_its_last_trial_ended(catalog: Catalog) -> None:
    begin_sweep(catalog, "a")
    batch = make_trials("a", [Status.COMPLETED, None])
    catalog.record_trials("a", PROCESS, batch, {})
    catalog.store_crashed_sweeps(lambda _: True)
    sweep = catalog.get_sweep("a")
    ends = [e.finished_at for e in batch.ended] + [run.created_at for run, _ in batch.begun]
    assert (sweep.status, sweep.finished_at) == (Status.CRASHED, max(ends))
    assert sweep.error is not None


def test_a_sweep_crashed_at_its_beginning_where_no_trial_is_known(catalog: Catalog) -> None:
    begin_sweep(catalog, "a")
    catalog.store_crashed_sweeps(lambda _: True)
    assert catalog.get_sweep("a").finished_at == NOW


def test_crashed_flow_runs_are_found_by_their_ids(catalog: Catalog) -> None:
    for name in ("crashed", "running"):
        begin(
            catalog, name, process=PROCESS, prefect_flow_run_id=f"flow-{name}", prefect_api_url="http://x/api"
        )
    begin(catalog, "local", process=PROCESS)
    begin_sweep(catalog, "sweep")
    catalog.link_sweep("sweep", PROCESS, "flow-sweep", "http://x/api")
    catalog.store_crash("crashed", PROCESS)
    catalog.store_crashed_sweeps(lambda _: True)
    every = ["flow-crashed", "flow-running", "flow-sweep", "unknown"]
    assert sorted(catalog.list_crashed_flow_runs(every)) == ["flow-crashed", "flow-sweep"]
    found = catalog.find_flow_runs(["crashed", "local", "sweep"])
    assert found == [("flow-crashed", "http://x/api"), ("flow-sweep", "http://x/api")]


def test_a_beating_process_renews_leases_of_every_kind_of_catalog(catalog: Catalog) -> None:
    process = get_process_owner()
    with beating(catalog, 0.3):
        before = catalog.find_beat(process)
        wait_until(lambda: catalog.find_beat(process) != before)
    assert not catalog.has_expired(process)
