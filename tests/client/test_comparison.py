"""Runs side by side: what differs, and why."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from flowlearner import Client, NotFoundError, Run, UsageError, operator, workflow
from flowlearner.client import Comparison
from flowlearner.client.comparison import compare
from flowlearner.records import CodeInfo, Environment
from tests.client.flows import curves, failing, tips


def make_flow(factor: int) -> Any:
    """Return one of two versions of a workflow: the operator's code differs, its name does not."""
    if factor == 1:

        @operator
        def grow(n: int) -> int:
            return n * 1

        @workflow(executor="local")
        def growing(n: int = 1) -> int:
            return grow(n)

    else:

        @operator
        def grow(n: int) -> int:
            return n * 2

        @workflow(executor="local")
        def growing(n: int = 1) -> int:
            return grow(n)

    return growing


def differing(comparison: Comparison, section: str) -> list[str]:
    return [row.name for row in comparison.sections[section] if row.differs]


def find_changes(comparison: Comparison) -> dict[str, tuple[str, ...]]:
    return {row.name: row.changed for row in comparison.nodes}


def test_equal_runs_differ_in_nothing_that_counts(client: Client) -> None:
    comparison = client.compare([tips.run().id, tips.run().id])
    for section in comparison.sections:
        assert differing(comparison, section) == []
    assert {row.name for row in comparison.params} == {"n", "scale"}


def test_a_changed_param_is_followed_to_metric_and_output(client: Client) -> None:
    first, second = tips.run(scale=1.0), tips.run(scale=2.0)
    comparison = client.compare([first.id, second.id])
    assert differing(comparison, "params") == ["scale"]
    assert [row.values for row in comparison.params if row.name == "scale"] == [(1.0, 2.0)]
    assert [row.values for row in comparison.metrics] == [(0.75, 1.5)]
    assert differing(comparison, "outputs") == ["mean"]
    assert find_changes(comparison) == {"load": (), "mean": ("input 'scale'", "result")}


def test_the_order_of_runs_is_that_asked_for(client: Client) -> None:
    ids = [tips.run(scale=float(i)).id for i in range(3)]
    comparison = client.compare([ids[2], ids[0], ids[1]])
    assert [r.id for r in comparison.runs] == [ids[2], ids[0], ids[1]]
    assert [row.values for row in comparison.params if row.name == "scale"] == [(2.0, 0.0, 1.0)]


def test_changed_code_of_an_operator_is_the_reason_of_its_node(client: Client) -> None:
    comparison = client.compare([make_flow(1).run().id, make_flow(2).run().id])
    assert find_changes(comparison) == {"grow": ("code", "result")}


def test_a_node_that_only_one_run_has_is_there_or_not(client: Client) -> None:
    comparison = client.compare([tips.run().id, curves.run().id])
    assert find_changes(comparison) == dict.fromkeys(("load", "mean", "learn"), ("presence",))
    assert differing(comparison, "code") == ["workflow", "workflow_version"]


def test_what_a_run_does_not_have_is_none_and_differs(client: Client) -> None:
    comparison = client.compare([tips.run().id, curves.run().id])
    params = {row.name: row for row in comparison.params}
    assert params["n"].values == (4, None)
    assert params["steps"].values == (None, 2)
    assert all(row.differs for row in comparison.params)
    assert {row.name: row.values for row in comparison.metrics}["mean"] == (0.75, None)


def test_a_param_that_is_none_is_not_one_that_is_missing(client: Client) -> None:
    first, second = tips.run(), tips.run()
    changed = [
        Run(client, replace(first.record, params={"a": None})),
        Run(client, replace(second.record, params={})),
    ]
    assert [row.differs for row in compare(changed).params] == [True]


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), ("1", 1), (None, "None")])
def test_values_of_different_types_differ(client: Client, one: Any, other: Any) -> None:
    run = tips.run()
    runs = [Run(client, replace(run.record, params={"a": value})) for value in (one, other)]
    assert [row.differs for row in compare(runs).params] == [True]


@pytest.mark.parametrize(
    ("one", "other"),
    [({"b": 1, "c": 2}, {"c": 2, "b": 1}), (float("nan"), float("nan")), ({"hash": "h", "source": "a"},) * 2],
)
def test_equal_values_do_not_differ(client: Client, one: Any, other: Any) -> None:
    run = tips.run()
    runs = [Run(client, replace(run.record, params={"a": value})) for value in (one, other)]
    assert [row.differs for row in compare(runs).params] == [False]


def test_a_file_given_under_another_name_is_the_same_param(client: Client) -> None:
    run = tips.run()
    values = [{"type": "File", "hash": "h" * 64, "source": s} for s in ("a.csv", "b.csv")]
    runs = [Run(client, replace(run.record, params={"rows": value})) for value in values]
    assert [row.differs for row in compare(runs).params] == [False]


def test_code_and_environment_differ_by_commit_seed_and_package(client: Client) -> None:
    run = tips.run()
    runs = []
    for n in (1, 2):
        environment = Environment(str(n), "3.11.2", {"pandas": f"3.{n}", "numpy": "2.1"}, {})
        record = replace(run.record, code=CodeInfo(f"c{n}"), run_seed=n, environment=environment)
        runs.append(Run(client, record))
    comparison = compare(runs)
    assert differing(comparison, "code") == ["commit", "seed"]
    assert differing(comparison, "environment") == ["pandas"]


def test_a_failed_run_compares_with_one_that_completed(client: Client) -> None:
    failed = failing.submit(n=1)
    comparison = client.compare([tips.run().id, failed.id])
    assert [r.status for r in comparison.runs] == ["COMPLETED", "FAILED"]
    refused = next(row for row in comparison.nodes if row.name == "refuse")
    assert refused.values[0] is None
    assert refused.values[1]["status"] == "FAILED"


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_runs_are_refused(client: Client, count: int) -> None:
    ids = [tips.run().id for _ in range(count)]
    with pytest.raises(UsageError, match="two or more different runs"):
        client.compare(ids)


def test_a_run_twice_is_refused_even_by_a_prefix(client: Client) -> None:
    run = tips.run()
    with pytest.raises(UsageError, match="two or more different runs"):
        client.compare([run.id, run.id[:12]])


def test_an_unknown_run_is_not_found(client: Client) -> None:
    with pytest.raises(NotFoundError, match="no run 'nope'"):
        client.compare([tips.run().id, "nope"])


def test_the_json_of_a_comparison_holds_what_differs_by_run(client: Client) -> None:
    first, second = tips.run(scale=1.0), tips.run(scale=2.0)
    document = client.compare([first.id, second.id]).to_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert [r["id"] for r in document["runs"]] == [first.id, second.id]
    assert document["params"] == {"scale": {"values": {first.id: 1.0, second.id: 2.0}, "differs": True}}
    assert document["nodes"]["mean"]["changed"] == ["input 'scale'", "result"]


def test_the_json_of_a_comparison_holds_what_is_equal_when_asked(client: Client) -> None:
    document = client.compare([tips.run().id, tips.run().id]).to_json(include_equal=True)
    assert set(document["params"]) == {"n", "scale"}
    assert not any(row["differs"] for row in document["params"].values())
    assert document["environment"]["python"]


def test_metrics_that_are_no_numbers_are_words_in_the_json(client: Client) -> None:
    document = client.compare([curves.run(steps=1).id, tips.run().id]).to_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert "Infinity" in document["metrics"]["loss"]["values"].values()
