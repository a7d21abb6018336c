"""Cache entries, artifacts, previous nodes and remembered hashes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from flowlearner.catalog import Catalog
from flowlearner.records import CacheEntry, MetricPoint, Status
from tests.catalog.make import NOW, begin, make_artifact, make_hash, make_node, make_output


@pytest.fixture
def run(catalog: Catalog) -> str:
    begin(catalog, "a")
    return "a"


def test_an_entry_comes_back_with_outputs_and_metrics(catalog: Catalog, run: str) -> None:
    outputs = (make_output(2, "b", True), make_output(1, "a", -0.0), make_output(3, "c", "text"))
    entry = CacheEntry(make_hash(1), run, "n", outputs, (MetricPoint("m", math.inf, 3, NOW),))
    catalog.record_nodes(run, [], entries=[entry])
    assert catalog.find_cache_entries([entry.key, "unknown"]) == {entry.key: entry}


def test_a_newer_entry_replaces_the_older(catalog: Catalog, run: str) -> None:
    begin(catalog, "b")
    for run_id in (run, "b"):
        catalog.record_nodes(run_id, [], entries=[CacheEntry("k", run_id, "n", (make_output(1),))])
    assert catalog.find_cache_entries(["k"])["k"].run_id == "b"


def test_a_removed_entry_is_gone_and_removing_it_again_is_no_mistake(catalog: Catalog, run: str) -> None:
    catalog.record_nodes(run, [], entries=[CacheEntry("k", run, "n", ())])
    catalog.remove_cache_entry("k")
    catalog.remove_cache_entry("k")
    assert catalog.find_cache_entries(["k"]) == {}


@pytest.mark.parametrize("count", [0, 1, 3, 511, 512, 513, 2000])
def test_any_number_of_keys_can_be_looked_up(catalog: Catalog, run: str, count: int) -> None:
    entries = [CacheEntry(make_hash(i), run, "n", ()) for i in range(count)]
    catalog.record_nodes(run, [], entries=entries)
    found = catalog.find_cache_entries([make_hash(i) for i in range(count)])
    assert found == {e.key: e for e in entries}


def test_an_artifact_comes_back_with_bytes_and_preview(catalog: Catalog, run: str) -> None:
    artifact = make_artifact(
        1, inline=b"\x00\xff", preview={"kind": "table", "head": [[math.nan, "漢"]], "rows": 2}
    )
    catalog.record_nodes(run, [], [artifact])
    found = catalog.find_artifacts([artifact.hash, "unknown"])
    assert list(found) == [artifact.hash]
    assert found[artifact.hash].inline == b"\x00\xff"
    assert str(found[artifact.hash].preview) == str(artifact.preview)


def test_an_artifact_can_be_read_without_its_preview(catalog: Catalog, run: str) -> None:
    artifact = make_artifact(1, preview={"rows": 2})
    catalog.record_nodes(run, [], [artifact])
    found = catalog.find_artifacts([artifact.hash], with_previews=False)
    assert found == {artifact.hash: replace(artifact, preview=None)}


def test_an_artifact_that_was_stored_anew_is_replaced_and_keeps_its_preview(
    catalog: Catalog, run: str
) -> None:
    first = make_artifact(1, inline=None, path="objects/a", preview={"rows": 2})
    catalog.record_nodes(run, [], [first])
    moved = replace(first, path="objects/b", checksum="c" * 64, preview=None)
    catalog.update_artifact(moved)
    assert catalog.find_artifacts([first.hash])[first.hash] == replace(moved, preview={"rows": 2})


def test_a_preview_that_comes_later_is_added(catalog: Catalog, run: str) -> None:
    artifact = make_artifact(1)
    catalog.record_nodes(run, [], [artifact])
    catalog.record_nodes(run, [], [replace(artifact, preview={"rows": 1})])
    assert catalog.find_artifacts([artifact.hash])[artifact.hash].preview == {"rows": 1}


def test_the_previous_node_is_the_latest_that_completed(catalog: Catalog) -> None:
    for i, (run_id, status) in enumerate(
        [("a", Status.COMPLETED), ("b", Status.COMPLETED), ("c", Status.FAILED)]
    ):
        begin(catalog, run_id, i)
        finished_at = NOW.replace(second=i)
        catalog.record_nodes(
            run_id, [make_node("n", status=status, fingerprint=run_id, finished_at=finished_at)]
        )
    found = catalog.find_previous_node("delays", "n")
    assert found is not None
    assert found.fingerprint == "b"
    assert catalog.find_previous_node("delays", "other") is None
    assert catalog.find_previous_node("other", "n") is None


def test_previous_nodes_of_many_names_are_found_at_once(catalog: Catalog, run: str) -> None:
    catalog.record_nodes(run, [make_node("x"), make_node("y", 1)])
    found = catalog.find_previous_nodes("delays", ["x", "y", "z"])
    assert {name: node.name for name, node in found.items()} == {"x": "x", "y": "y"}


def test_a_file_hash_holds_while_the_stat_is_the_same(catalog: Catalog) -> None:
    stat = (10, 1_700_000_000_123_456_789, 5, 2**64 - 1)
    catalog.remember_file_hash("/data/f.csv", *stat, "h1")
    assert catalog.find_file_hash("/data/f.csv", *stat) == "h1"
    for i in range(4):
        other = tuple(v + 1 if i == j else v for j, v in enumerate(stat[:3])) + stat[3:]
        if i == 3:
            other = (*stat[:3], 7)
        assert catalog.find_file_hash("/data/f.csv", *other) is None
    catalog.remember_file_hash("/data/f.csv", 11, *stat[1:], "h2")
    assert catalog.find_file_hash("/data/f.csv", *stat) is None


def test_file_names_that_are_no_text_are_remembered(catalog: Catalog) -> None:
    catalog.remember_file_hash("/data/\udcff.csv", 1, 2, 3, 4, "h")
    assert catalog.find_file_hash("/data/\udcff.csv", 1, 2, 3, 4) == "h"


def test_a_table_hash_is_remembered_by_file_and_reader(catalog: Catalog) -> None:
    catalog.remember_table_hash("f", "csv/1", "t")
    assert catalog.find_table_hash("f", "csv/1") == "t"
    assert catalog.find_table_hash("f", "csv/2") is None
    assert catalog.find_table_hash("g", "csv/1") is None
