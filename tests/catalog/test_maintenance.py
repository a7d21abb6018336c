"""Artifacts and who needs them, garbage, and the check."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flowlearner.catalog import Catalog
from flowlearner.errors import NotFoundError
from flowlearner.records import CacheEntry, CodeInfo, MetricPoint, NodeRun, Status
from tests.catalog.make import NOW, begin, make_artifact, make_hash, make_node, make_output, sqlite_only


def produce(
    catalog: Catalog, run_id: str, node: str, number: int, inputs: dict[str, int] | None = None
) -> NodeRun:
    """Record a node that gave artifact `number` from others."""
    hashes = {name: make_hash(n) for name, n in (inputs or {}).items()}
    made = make_node(node, outputs=(make_output(number),), cache_key=f"k{number}", inputs=hashes)
    entry = CacheEntry(f"k{number}", run_id, node, made.outputs)
    catalog.record_nodes(run_id, [made], [make_artifact(number)], [entry])
    return made


def hashes(artifacts: list[object]) -> set[int]:
    return {int(a.hash, 16) for a in artifacts}  # type: ignore[attr-defined]


@pytest.fixture
def some(catalog: Catalog) -> Catalog:
    begin(
        catalog,
        "a",
        0,
        params={"rows": {"type": "x", "hash": make_hash(50), "source": None}},
        code=CodeInfo(snapshot=make_hash(60)),
    )
    catalog.record_nodes("a", [], [make_artifact(50), make_artifact(60)])
    produce(catalog, "a", "load", 1, {"rows": 50, "literal": 99})
    produce(catalog, "a", "train", 2, {"rows": 1})
    catalog.finish_run("a", Status.COMPLETED, NOW, [make_output(2, "model")], (), None)
    begin(catalog, "b", 1)
    catalog.record_nodes("b", [make_node("load", cached=True, cached_from="a", outputs=(make_output(1),))])
    produce(catalog, "b", "score", 3, {"rows": 1})
    catalog.finish_run("b", Status.COMPLETED, NOW, (), (), None)
    return catalog


def test_producers_and_consumers_of_an_artifact_are_known(some: Catalog) -> None:
    made = [(u.run_id, u.node, u.operator, u.name, u.cached) for u in some.find_producers(make_hash(1))]
    assert made == [("a", "load", "train", "result", False), ("b", "load", "train", "result", True)]
    taken = [(u.run_id, u.node, u.role, u.name) for u in some.find_consumers(make_hash(1))]
    assert taken == [("a", "train", "input", "rows"), ("b", "score", "input", "rows")]
    given = [(u.run_id, u.node, u.role, u.workflow) for u in some.find_consumers(make_hash(50))]
    assert given == [("a", None, "param", "delays"), ("a", "load", "input", "delays")]
    assert some.find_consumers(make_hash(99)) == []


def test_artifacts_are_listed_by_run(some: Catalog) -> None:
    assert hashes(some.list_artifacts()) == {1, 2, 3, 50, 60}
    assert hashes(some.list_artifacts(run_id="b")) == {1, 3}
    assert some.list_artifacts(codec="table/1") == []
    assert len(some.list_artifacts(limit=2, offset=4)) == 1
    with pytest.raises(NotFoundError):
        some.list_artifacts(run_id="nope")


def test_an_artifact_is_found_by_a_unique_prefix(some: Catalog) -> None:
    assert some.get_artifact(make_hash(50)) == make_artifact(50)
    some.record_nodes("a", [], [make_artifact(0xABC << 240)])
    assert some.get_artifact("0abc").hash == make_hash(0xABC << 240)
    with pytest.raises(NotFoundError, match="ambiguous"):
        some.get_artifact("00")
    for unknown in ("ff", "", "%"):
        with pytest.raises(NotFoundError, match="no artifact"):
            some.get_artifact(unknown)


def test_what_a_kept_run_uses_is_needed(some: Catalog) -> None:
    assert some.list_unneeded_artifacts() == []
    some.delete_runs(["a"])
    assert hashes(some.list_unneeded_artifacts()) == {2, 50, 60}
    some.restore_runs(["a"])
    assert some.list_unneeded_artifacts() == []


def test_a_purged_run_leaves_nothing_that_others_do_not_use(some: Catalog) -> None:
    some.delete_runs(["a"])
    assert some.purge_runs(deleted_before=datetime.now(UTC) - timedelta(days=1)) == 0
    assert some.purge_runs() == 1
    with pytest.raises(NotFoundError):
        some.get_run("a")
    assert hashes(some.list_unneeded_artifacts()) == {2, 50, 60}
    gone = some.remove_artifacts([make_hash(n) for n in (1, 2, 50, 60)])
    assert {int(h, 16) for h in gone} == {2, 50, 60}
    assert set(some.find_cache_entries(["k1", "k2", "k3"])) == {"k1", "k3"}
    assert some.check() == []
    some.compact()
    assert some.get_run("b").nodes[0].outputs == (make_output(1),)


def test_what_a_purged_run_left_in_the_cache_names_no_run(some: Catalog) -> None:
    some.record_nodes("a", [], [], [CacheEntry("k9", "a", "load", (make_output(1),), ())])
    some.delete_runs(["a"])
    some.purge_runs()
    assert some.find_cache_entries(["k9"])["k9"].run_id == ""
    assert some.get_run("b").nodes[0].cached_from == "a"


def test_rows_of_a_purged_run_are_gone_from_every_table(some: Catalog) -> None:
    some.set_tags("a", {"x": "y"})
    some.append_metrics("a", [MetricPoint("m", 1.0)])
    some.delete_runs(["a", "b"])
    some.purge_runs()
    some.remove_artifacts([a.hash for a in some.list_unneeded_artifacts()])
    left = (
        "experiment",
        "workflow_version",
        "operator_version",
        "workflow_operator",
        "graph",
        "alembic_version",
    )
    with some.database.read() as connection:
        for table in some.database.list_tables(connection):
            count = connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()
            assert bool(count) == (table in left), table


def test_young_artifacts_can_be_left_alone(some: Catalog) -> None:
    some.delete_runs(["a"])
    assert some.list_unneeded_artifacts(created_before=datetime.now(UTC) - timedelta(hours=1)) == []


def test_an_artifact_that_came_into_use_is_not_removed(some: Catalog) -> None:
    some.delete_runs(["a"])
    unneeded = [a.hash for a in some.list_unneeded_artifacts()]
    begin(some, "c")
    some.record_nodes("c", [make_node("train", cached=True, outputs=(make_output(2),))])
    assert make_hash(2) not in some.remove_artifacts(unneeded)


def test_a_whole_catalog_has_no_problems(some: Catalog) -> None:
    assert some.check() == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("DROP INDEX ix_metric_value", "table metric lacks indexes: ix_metric_value"),
        ("DROP TABLE log_line", "table log_line is missing"),
        ("ALTER TABLE run DROP COLUMN notes", "table run lacks columns: notes"),
        (f"DELETE FROM artifact WHERE hash = '{make_hash(2)}'", "2 outputs of runs whose artifact is not"),
        ("UPDATE run SET params = '{'", "table run: 2 values are no JSON: a params, b params"),
        ("UPDATE run SET status = 'DONE' WHERE id = 'a'", "1 runs have no known status"),
        ("UPDATE run SET finished_us = NULL WHERE id = 'a'", "1 runs ended without a time (run): a"),
        ("UPDATE node_run SET status = 'RUNNING' WHERE name = 'train'", "1 nodes are open in a run"),
        ("INSERT INTO metric VALUES ('a', 'm', TRUE, 1.0, 1.0, 1.0, NULL, 3)", "1 metrics do not have"),
    ],
)  # fmt: skip
def test_damage_is_named(some: Catalog, damage: str, words: str) -> None:
    check_damage(some, damage, words)


@sqlite_only
def test_a_row_of_no_run_is_named(some: Catalog) -> None:
    check_damage(some, "INSERT INTO tag VALUES ('nope', 'x', 'y')", "refers to a run that does not exist")


def check_damage(some: Catalog, damage: str, words: str) -> None:
    with some.database.migrate() as connection:
        connection.exec_driver_sql(damage)
    assert any(words in problem for problem in some.check()), some.check()
