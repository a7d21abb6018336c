"""Experiments, workflows and operators."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from flowlearner.catalog import Catalog
from flowlearner.errors import NotFoundError
from flowlearner.records import Status
from tests.catalog.make import NOW, complete, make_node, make_operator, make_run, make_workflow


@pytest.fixture
def some(catalog: Catalog) -> Catalog:
    complete(catalog, "a", 0, nodes=[make_node("n"), make_node("m", 1, cached=True)])
    complete(catalog, "b", 1, status=Status.FAILED, nodes=[make_node("n", status=Status.FAILED)])
    complete(
        catalog,
        "c",
        2,
        workflow="iris",
        experiment="nightly",
        nodes=[make_node("n", finished_at=NOW + timedelta(seconds=4))],
    )
    complete(catalog, "t", 3, sweep_id="s", trial_number=0, experiment="nightly")
    complete(catalog, "z", 4, status=Status.FAILED, nodes=[make_node("n", status=Status.FAILED)])
    catalog.delete_runs(["z"])
    return catalog


def test_experiments_are_counted_without_deleted_runs_latest_first(some: Catalog) -> None:
    found = [
        (e.name, e.run_count, e.trial_count, e.completed_count, e.failed_count, e.last_run_at)
        for e in some.list_experiments()
    ]
    assert found == [
        ("nightly", 2, 1, 2, 0, NOW + timedelta(minutes=3)),
        ("default", 2, 0, 1, 1, NOW + timedelta(minutes=1)),
    ]


def test_workflows_are_counted_latest_first(some: Catalog) -> None:
    first, second = some.list_workflows()
    assert (first.name, first.run_count, first.trial_count, first.failed_count) == ("delays", 3, 1, 1)
    assert (second.name, second.run_count, second.version_count, second.doc) == ("iris", 1, 1, "Doc 1.")


def test_an_operator_is_judged_by_the_nodes_that_ran(some: Catalog) -> None:
    (found,) = some.list_operators()
    assert (found.name, found.executed_count, found.cached_count, found.workflow_count) == ("train", 3, 1, 2)
    assert found.success_rate == pytest.approx(2 / 3)
    assert found.mean_duration_s == pytest.approx(3.0)


def test_a_workflow_has_its_versions_newest_first_and_its_operators(catalog: Catalog) -> None:
    for version in (1, 2):
        workflow = make_workflow(version=version, graph={"nodes": [version]})
        catalog.begin_run(make_run(f"r{version}"), workflow, [make_operator("train"), make_operator("split")])
    found = catalog.get_workflow("delays")
    assert [v.doc for v in found.versions] == ["Doc 2.", "Doc 1."]
    assert found.operators == ("split", "train")
    assert (found.summary.run_count, found.summary.doc, found.summary.version_count) == (2, "Doc 2.", 2)
    stored = replace(found.versions[0], first_seen=None)
    assert stored == make_workflow(version=2, graph={"nodes": [2]})
    assert found.versions[0].first_seen is not None


def test_a_version_is_found_by_the_beginning_of_its_fingerprint(catalog: Catalog) -> None:
    for version in (1, 2):
        catalog.begin_run(
            make_run(f"r{version}"), make_workflow(version=version), [make_operator(version=version)]
        )
    wanted = make_operator(version=2).fingerprint
    assert [v.fingerprint for v in catalog.get_operator(wanted[:8]).versions] == [wanted]
    assert catalog.get_operator(wanted).workflows == ("delays",)


def test_a_known_version_keeps_when_it_was_first_seen(catalog: Catalog) -> None:
    catalog.begin_run(make_run("a"), make_workflow(), [make_operator()])
    first = catalog.get_operator("train").versions[0].first_seen
    catalog.begin_run(make_run("b"), make_workflow(), [make_operator()])
    assert catalog.get_operator("train").versions[0].first_seen == first


def test_an_unknown_name_suggests_a_known_one(some: Catalog) -> None:
    with pytest.raises(
        NotFoundError, match=r"no operator 'trian' in the catalog; it has train. Did you mean 'train'\?"
    ):
        some.get_operator("trian")
    with pytest.raises(NotFoundError, match=r"no workflow 'delay' .*Did you mean 'delays'\?"):
        some.get_workflow("delay")


def test_an_empty_catalog_says_so(catalog: Catalog) -> None:
    assert (catalog.list_experiments(), catalog.list_workflows(), catalog.list_operators()) == ([], [], [])
    with pytest.raises(NotFoundError, match="no workflow 'x' in the catalog; it has none yet"):
        catalog.get_workflow("x")
