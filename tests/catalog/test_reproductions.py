"""Verdicts on runs, and what differs from their parents, are recorded and found."""

from __future__ import annotations

import pytest

from flowlearner.catalog import Catalog
from flowlearner.errors import NotFoundError, QueryError
from flowlearner.records import Change, Reproduction
from tests.catalog.make import NOW, complete

CHANGES = (Change("param", "depth", 4, 8), Change("operator", "train", "train_xgboost", "train_forest"))


def find(catalog: Catalog, query: str) -> list[str]:
    return [run.id for run in catalog.list_runs(query=query)]


def judge(catalog: Catalog, run_id: str, verdict: str) -> None:
    catalog.record_reproduction(Reproduction(run_id, verdict, NOW, "ada", nodes=({"node": "train"},)))


def test_runs_are_found_by_their_latest_verdict(catalog: Catalog) -> None:
    for name in ("a", "b", "c"):
        complete(catalog, name)
    judge(catalog, "a", "DRIFTED")
    judge(catalog, "a", "REPRODUCED")
    judge(catalog, "b", "ENVIRONMENT-CHANGED")
    assert find(catalog, "reproduction = 'REPRODUCED'") == ["a"]
    assert find(catalog, "reproduction = drifted") == []
    assert find(catalog, "reproduction in (environment-changed, drifted)") == ["b"]
    assert find(catalog, "reproduction is null") == ["c"]
    assert find(catalog, "reproduction != reproduced") == ["b", "c"]
    with pytest.raises(QueryError, match=r"no reproduction 'DRIFTET'. Did you mean 'DRIFTED'"):
        find(catalog, "reproduction = 'DRIFTET'")
    assert [r.verdict for r in catalog.list_reproductions("a")] == ["REPRODUCED", "DRIFTED"]
    found = catalog.get_run("a").reproduction
    assert found is not None
    assert (found.verdict, found.nodes) == ("REPRODUCED", ({"node": "train"},))


def test_runs_are_found_by_what_differs_from_their_parents(catalog: Catalog) -> None:
    complete(catalog, "a", params={"depth": 4})
    complete(catalog, "b", parent_id="a", params={"depth": 8}, changes=CHANGES)
    complete(catalog, "c", parent_id="a", params={"depth": 4}, changes=CHANGES[1:])
    assert find(catalog, "change.depth >= 8") == ["b"]
    assert find(catalog, "changes.train = 'train_forest' and parent = a") == ["b", "c"]
    assert find(catalog, "change.depth is null") == ["a", "c"]
    assert catalog.get_run("b").changes == CHANGES
    assert catalog.explain_names("change.deph = 1") == [
        "No run has a change 'deph'. Did you mean 'change.depth'?"
    ]


def test_verdicts_go_with_their_run(catalog: Catalog) -> None:
    complete(catalog, "a", changes=CHANGES)
    judge(catalog, "a", "DRIFTED")
    catalog.delete_runs(["a"])
    catalog.purge_runs()
    assert catalog.list_reproductions("a") == []
    with pytest.raises(NotFoundError, match="no run 'a'"):
        judge(catalog, "a", "DRIFTED")
