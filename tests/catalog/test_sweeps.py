"""Sweeps and their trials as the catalog keeps them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowlearner.catalog import Catalog
from flowlearner.errors import CatalogError, LeaseLost, NotFoundError, UsageError
from flowlearner.records import CacheEntry, Owner, Status, TrialBatch, TrialEnd
from tests.catalog.make import NOW, PROCESS, begin_sweep, make_artifact, make_hash, make_output, make_trials

OTHER = replace(PROCESS, pid=4712)
COMPLETED, FAILED, PRUNED = Status.COMPLETED, Status.FAILED, Status.PRUNED


def test_trials_are_read_as_they_were_recorded(catalog: Catalog) -> None:
    begin_sweep(catalog, "a")
    catalog.record_trials("a", PROCESS, make_trials("a", [COMPLETED, FAILED, PRUNED, None]), {"train": 3})
    sweep = catalog.get_sweep("a")
    assert sweep.counts == {"COMPLETED": 1, "FAILED": 1, "PRUNED": 1, "RUNNING": 1}
    assert sweep.node_executions == {"train": 3}
    trials = catalog.list_trials("a")
    assert [t.number for t in trials] == [0, 1, 2, 3]
    assert [t.point for t in trials] == [{"depth": n} for n in range(4)]
    assert [t.values for t in trials] == [(0.0,), (0.01,), (0.02,), (None,)]
    assert [t.error.message if t.error else None for t in trials] == [None, "no", None, None]


def test_lists_of_runs_leave_trials_out_unless_asked(catalog: Catalog) -> None:
    begin_sweep(catalog, "a")
    catalog.record_trials("a", PROCESS, make_trials("a", [COMPLETED]), {})
    assert catalog.list_runs() == []
    assert [r.id for r in catalog.list_runs(include_trials=True)] == ["a-0"]


def test_a_trial_that_has_ended_stays_as_it_is(catalog: Catalog) -> None:
    begin_sweep(catalog, "a")
    catalog.record_trials("a", PROCESS, make_trials("a", [COMPLETED]), {})
    again = TrialBatch(ended=[TrialEnd("a-0", Status.CANCELLED, NOW)])
    catalog.record_trials("a", PROCESS, again, {})
    assert catalog.list_trials("a")[0].status is COMPLETED


def test_a_driver_whose_sweep_was_taken_over_writes_nothing(catalog: Catalog) -> None:
    begin_sweep(catalog, "a")
    catalog.claim_sweep("a", OTHER, PROCESS, lambda _: True)
    with pytest.raises(LeaseLost, match="flowlearner sweeps show a"):
        catalog.record_trials("a", PROCESS, make_trials("a", [COMPLETED]), {"train": 1})
    assert catalog.list_trials("a") == []
    catalog.record_trials("a", OTHER, make_trials("a", [COMPLETED]), {"train": 1})
    assert len(catalog.list_trials("a")) == 1


def test_a_driver_does_not_end_a_sweep_that_was_taken_over_nor_says_that_its_flow_run_is_that_sweep(
    catalog: Catalog,
) -> None:
    begin_sweep(catalog, "a")
    catalog.claim_sweep("a", OTHER, PROCESS, lambda _: True)
    catalog.link_sweep("a", OTHER, "flow", "http://x/api")
    assert not catalog.finish_sweep("a", PROCESS, FAILED, NOW)
    catalog.link_sweep("a", PROCESS, "earlier", "http://x/api")
    sweep = catalog.get_sweep("a")
    assert (sweep.status, sweep.prefect_flow_run_id) == (Status.RUNNING, "flow")


def test_the_flow_run_of_a_sweep_may_begin_after_the_sweep_has_ended(catalog: Catalog) -> None:
    begin_sweep(catalog, "a")
    assert catalog.finish_sweep("a", PROCESS, COMPLETED, NOW)
    catalog.link_sweep("a", PROCESS, "late", "http://x/api")
    assert catalog.get_sweep("a").prefect_flow_run_id == "late"


def test_a_driver_whose_sweep_was_recorded_as_crashed_writes_nothing(catalog: Catalog) -> None:
    begin_sweep(catalog, "a")
    assert catalog.store_crashed_sweeps(lambda process: process == PROCESS) == ["a"]
    with pytest.raises(LeaseLost):
        catalog.record_trials("a", PROCESS, make_trials("a", [COMPLETED]), {"train": 1})
    assert catalog.list_trials("a") == []
    assert not catalog.finish_sweep("a", PROCESS, COMPLETED, NOW)
    catalog.link_sweep("a", PROCESS, "late", "http://x/api")
    sweep = catalog.get_sweep("a")
    assert (sweep.status, sweep.prefect_flow_run_id) == (Status.CRASHED, None)


def test_a_trial_crashes_with_its_sweep_and_not_before(catalog: Catalog) -> None:
    begin_sweep(catalog, "a")
    catalog.record_trials("a", PROCESS, make_trials("a", [None]), {})
    assert catalog.store_crashes(lambda _: True) == []
    catalog.record_trials("a", PROCESS, TrialBatch(ended=[TrialEnd("a-0", COMPLETED, NOW)]), {})
    assert catalog.list_trials("a")[0].status is COMPLETED
    catalog.record_trials("a", PROCESS, make_trials("a", [None], first=1), {})
    catalog.store_crashed_sweeps(lambda _: True)
    assert catalog.store_crashes(lambda _: True) == ["a-1"]


def test_a_trial_that_another_process_runs_again_is_not_recorded_as_crashed(catalog: Catalog) -> None:
    begin_sweep(catalog, "a")
    catalog.record_trials("a", PROCESS, make_trials("a", [None]), {})
    catalog.store_crashed_sweeps(lambda _: True)
    catalog.reopen_trials(["a-0"], OTHER)
    assert not catalog.store_crash("a-0", PROCESS)
    assert catalog.list_trials("a")[0].status is Status.RUNNING


def test_a_sweep_whose_driver_lives_is_not_claimed(catalog: Catalog) -> None:
    begin_sweep(catalog, "a")
    with pytest.raises(UsageError, match="driven by process 4711 on host already"):
        catalog.claim_sweep("a", OTHER, PROCESS, lambda _: False)
    assert catalog.get_sweep("a").process == PROCESS


def test_a_sweep_ends_once(catalog: Catalog) -> None:
    begin_sweep(catalog, "a")
    assert catalog.finish_sweep("a", PROCESS, COMPLETED, NOW)
    assert not catalog.finish_sweep("a", PROCESS, FAILED, NOW)
    assert catalog.get_sweep("a").status is COMPLETED


def test_what_a_reopened_trial_had_recorded_goes(catalog: Catalog) -> None:
    begin_sweep(catalog, "a")
    catalog.record_trials("a", PROCESS, make_trials("a", [FAILED, COMPLETED]), {})
    catalog.reopen_trials(["a-0"], PROCESS)
    run = catalog.get_run("a-0")
    assert (run.status, run.error, run.nodes, dict(run.metrics)) == (Status.RUNNING, None, (), {})
    assert catalog.get_run("a-1").metrics["auc"] == 0.1


def test_a_wish_to_stop_is_seen_and_ends_with_a_claim(catalog: Catalog) -> None:
    begin_sweep(catalog, "a")
    assert not catalog.is_stop_requested("a")
    catalog.update_sweep("a", stop_requested=True)
    assert catalog.is_stop_requested("a")
    catalog.claim_sweep("a", PROCESS, PROCESS, lambda _: False)
    assert not catalog.is_stop_requested("a")


def test_a_batch_is_recorded_whole_or_not_at_all(catalog: Catalog) -> None:
    begin_sweep(catalog, "a")
    batch = make_trials("a", [COMPLETED])
    batch.artifacts.append(make_artifact(1))
    batch.entries["key"] = CacheEntry("key", "a-0", "train", (make_output(1),))
    # The same run twice breaks the transaction.
    batch.begun.append(batch.begun[0])
    with pytest.raises(CatalogError):
        catalog.record_trials("a", PROCESS, batch, {})
    assert catalog.list_trials("a") == []
    assert catalog.find_cache_entries(["key"]) == {}
    batch.begun.pop()
    catalog.record_trials("a", PROCESS, batch, {})
    assert list(catalog.find_cache_entries(["key"])) == ["key"]
    assert catalog.get_artifact(make_hash(1)) is not None


def test_sweeps_are_found_by_the_beginning_of_their_ids_newest_first(catalog: Catalog) -> None:
    for minute, sweep_id in enumerate(["abc", "abd", "x"]):
        begin_sweep(catalog, sweep_id, minute)
    assert [s.id for s in catalog.list_sweeps()] == ["x", "abd", "abc"]
    assert catalog.get_sweep("abd").id == catalog.resolve_sweep_id("abd") == "abd"
    assert catalog.resolve_sweep_id("x") == "x"
    with pytest.raises(NotFoundError, match="'ab' is ambiguous: abc, abd"):
        catalog.get_sweep("ab")
    with pytest.raises(NotFoundError, match="no sweep 'y'"):
        catalog.get_sweep("y")
    with pytest.raises(NotFoundError, match="no sweep 'nope'"):
        catalog.update_sweep("nope", notes="x")


def test_the_driver_of_a_sweep_is_kept(catalog: Catalog) -> None:
    begin_sweep(catalog, "a")
    assert catalog.get_sweep("a").process == Owner("host", 4711, 1234.5, "boot")
