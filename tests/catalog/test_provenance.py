"""Reading across runs: earlier runs of an operator, uses of artifacts, runs and graphs in short."""

from __future__ import annotations

from datetime import timedelta

from flowlearner.catalog import Catalog
from flowlearner.records import Status
from tests.catalog.make import NOW, begin, make_artifact, make_hash, make_node, make_output


def test_earlier_runs_of_an_operator_are_those_that_had_completed_the_latest_first(catalog: Catalog) -> None:
    for i, run_id in enumerate("abc"):
        begin(catalog, run_id, i)
        at = NOW + timedelta(seconds=10 * i)
        catalog.record_nodes(run_id, [make_node("one", started_at=at, finished_at=at + timedelta(seconds=1))])
    begin(catalog, "d", 3)
    catalog.record_nodes("d", [make_node("one", status=Status.FAILED, started_at=NOW, finished_at=NOW)])
    found = catalog.list_earlier_nodes("train", NOW + timedelta(seconds=15), "z", 10)
    assert [(f.run_id, f.workflow, f.node.name) for f in found] == [
        ("b", "delays", "one"),
        ("a", "delays", "one"),
    ]
    assert [f.run_id for f in catalog.list_earlier_nodes("train", NOW + timedelta(days=1), "c", 1)] == ["b"]
    assert catalog.list_earlier_nodes("other", NOW + timedelta(days=1), "z", 10) == []
    for run_id in "abcd":
        catalog.finish_run(run_id, Status.COMPLETED, NOW, (), (), None)
    catalog.delete_runs(["b"])
    assert [f.run_id for f in catalog.list_earlier_nodes("train", NOW + timedelta(days=1), "c", 9)] == ["a"]


def test_runs_in_short_come_the_newest_first_without_deleted_ones(catalog: Catalog) -> None:
    for i, run_id in enumerate("abc"):
        begin(catalog, run_id, i, params={"n": i})
        catalog.finish_run(run_id, Status.COMPLETED, NOW, (), (), None)
    catalog.delete_runs(["b"])
    found = catalog.sketch_runs()
    assert list(found) == ["c", "a"]
    assert found["c"].params == {"n": 2}
    assert list(catalog.sketch_runs(["a", "b", "nix"])) == ["a"]
    graphs = catalog.find_graphs([found["a"].graph_id, None])
    assert list(graphs) == [found["a"].graph_id]


def test_uses_of_several_artifacts_are_found_at_once(catalog: Catalog) -> None:
    begin(catalog, "a", 0, params={"rows": {"type": "x", "hash": make_hash(9), "source": None}})
    node = make_node("one", inputs={"rows": make_hash(9)}, outputs=(make_output(1),))
    catalog.record_nodes("a", [node], [make_artifact(1), make_artifact(9)])
    found = catalog.list_uses([make_hash(1), make_hash(9)])
    assert {(hash_, use.role, use.node) for hash_, use in found} == {
        (make_hash(9), "param", None),
        (make_hash(9), "part", None),
        (make_hash(9), "input", "one"),
        (make_hash(1), "output", "one"),
    }
    assert catalog.list_nodes_of(["a", "nix"]) == {"a": {"one": catalog.get_run("a").nodes[0]}}


def test_versions_are_found_by_name_and_fingerprint(catalog: Catalog) -> None:
    begin(catalog, "a", 0)
    (version,) = catalog.get_workflow("delays").versions
    found = catalog.find_workflow_versions([version.fingerprint])[version.name, version.fingerprint]
    assert (found.module, found.source) == (version.module, version.source)
    operator = catalog.get_operator("train").versions[0]
    assert catalog.find_operator_versions([operator.fingerprint])["train", operator.fingerprint] == operator


def test_tables_that_were_read_from_a_file_are_known(catalog: Catalog) -> None:
    catalog.remember_table_hash("f", "csv", "t1")
    catalog.remember_table_hash("f", "parquet", "t2")
    assert sorted(catalog.list_table_hashes("f")) == ["t1", "t2"]
    assert catalog.list_table_hashes("g") == []
