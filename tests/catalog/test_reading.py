"""Ids, and single runs."""

from __future__ import annotations

import pytest

from flowlearner.catalog import Catalog
from flowlearner.errors import NotFoundError
from tests.catalog.make import ENVIRONMENT, begin, make_node, sqlite_only


@pytest.fixture
def runs(catalog: Catalog) -> Catalog:
    for run_id in ("abc1", "abc2", "abd1", "ab"):
        begin(catalog, run_id, environment=ENVIRONMENT)
    return catalog


@pytest.mark.parametrize(("prefix", "whole"), [("abc1", "abc1"), ("abd", "abd1"), ("ab", "ab")])
def test_a_unique_prefix_or_a_whole_id_names_a_run(runs: Catalog, prefix: str, whole: str) -> None:
    assert runs.resolve_run_id(prefix) == whole
    assert runs.get_run(prefix).id == whole


def test_an_ambiguous_prefix_lists_the_candidates(runs: Catalog) -> None:
    with pytest.raises(NotFoundError, match="run 'abc' is ambiguous: abc1, abc2"):
        runs.get_run("abc")


@pytest.mark.parametrize("prefix", ["", "zz", "abc11", "%", "_bc1", "'", "a\0", "\udfff", chr(0x10FFFF)])
def test_an_unknown_id_is_said_to_be_unknown(runs: Catalog, prefix: str) -> None:
    with pytest.raises(NotFoundError, match=r"no run '.*' in the catalog"):
        runs.get_run(prefix)


@sqlite_only
def test_a_run_reads_in_a_fixed_number_of_statements(runs: Catalog) -> None:
    runs.record_nodes("abc1", [make_node(f"n{i}", i) for i in range(300)])
    runs.get_run("ab")
    few = count_statements(runs, "abc2")
    assert count_statements(runs, "abc1") == few <= 8


def count_statements(catalog: Catalog, run_id: str) -> int:
    seen = []
    with catalog.database.read() as connection:
        connection.connection.driver_connection.set_trace_callback(seen.append)  # type: ignore[union-attr]
    catalog.get_run(run_id)
    with catalog.database.read() as connection:
        connection.connection.driver_connection.set_trace_callback(None)  # type: ignore[union-attr]
    return len([s for s in seen if s.startswith("SELECT")])


def test_what_belongs_to_an_unknown_run_is_refused(runs: Catalog) -> None:
    for read in (runs.list_logs, runs.list_metric_points, runs.get_graph):
        with pytest.raises(NotFoundError):
            read("zz")
