"""A sweep as people hold it: its tables, the best of it, what mattered, and how one that died reads."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple

import pandas as pd
import pytest

from flowlearner import Choice, Client, LogRange, Metric, Operator, Range, Sweep, operator, workflow
from flowlearner.capture import read_environment
from flowlearner.catalog import Catalog
from flowlearner.errors import NotFoundError, UsageError
from flowlearner.lease import get_process_owner
from flowlearner.records import (
    MetricPoint,
    Owner,
    RunRecord,
    Status,
    SweepRecord,
    TrialBatch,
    TrialEnd,
    WorkflowVersion,
)
from tests.client.flows import make_dead_process

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
VERSION = WorkflowVersion("lost", "f" * 64, "flows", "def lost(): ...", "", {"params": []}, {"nodes": []})
X: dict[str, Any] = {"name": "x", "low": 0, "high": 1, "log": False, "step": None, "is_int": False}

Values = Sequence[float] | None


def make_sweep(
    client: Client,
    trials: Sequence[tuple[Status, dict[str, Any], Values]] = (),
    *,
    dimensions: Sequence[dict[str, Any]] = (X,),
    metrics: tuple[str, ...] = ("m",),
    modes: tuple[str, ...] = ("max",),
    status: Status = Status.COMPLETED,
    process: Owner | None = None,
    sweep_id: str = "a" * 32,
) -> Sweep:
    """Record a sweep with its trials; a trial that runs has no end."""
    process = process or get_process_owner()
    batch = TrialBatch()
    for number, (ended, point, values) in enumerate(trials):
        begun_at = NOW + timedelta(seconds=number)
        run = RunRecord(
            id=f"{sweep_id[:8]}{number:024}",
            workflow="lost",
            experiment="default",
            status=Status.RUNNING,
            owner="ada",
            created_at=begun_at,
            started_at=begun_at,
            params=point,
            sweep_id=sweep_id,
            trial_number=number,
            process=process,
        )
        batch.begun.append((run, VERSION))
        if ended.is_final:
            points = tuple(MetricPoint(n, v) for n, v in zip(metrics, values or (), strict=False))
            batch.ended.append(TrialEnd(run.id, ended, begun_at + timedelta(seconds=2.5), metrics=points))
    record = SweepRecord(
        id=sweep_id,
        workflow="lost",
        experiment="default",
        status=Status.RUNNING,
        owner="ada",
        created_at=NOW,
        metrics=metrics,
        modes=modes,
        spec={"space": {d["name"]: "0..1" for d in dimensions}, "dimensions": list(dimensions)},
        started_at=NOW,
        process=process,
    )
    with Catalog(client.settings.catalog_url) as catalog:
        catalog.begin_sweep(record, read_environment())
        catalog.record_versions(VERSION, [])
        catalog.record_trials(sweep_id, process, batch, {"train": 3})
        if status.is_final:
            catalog.finish_sweep(sweep_id, process, status, NOW + timedelta(minutes=1))
    return client.get_sweep(sweep_id)


def complete(*values: float, x: float = 0.5) -> tuple[Status, dict[str, Any], Values]:
    return Status.COMPLETED, {"x": x}, values


# Trials


def test_trials_are_a_table_with_a_row_each_in_the_order_of_their_numbers(client: Client) -> None:
    table = make_sweep(
        client,
        [complete(0.5, x=0.25), (Status.FAILED, {"x": 0.5}, None), (Status.RUNNING, {"x": 0.75}, None)],
        status=Status.RUNNING,
    ).trials()
    assert list(table.columns) == [
        "number", "run_id", "status", "x", "m", "started_at", "finished_at", "duration_s",
    ]  # fmt: skip
    assert table["number"].tolist() == [0, 1, 2]
    assert table["status"].tolist() == ["COMPLETED", "FAILED", "RUNNING"]
    assert table["x"].tolist() == [0.25, 0.5, 0.75]
    assert table["m"][0] == 0.5
    assert table["m"].isna().tolist() == [False, True, True]
    assert table["duration_s"][0] == 2.5
    assert table["finished_at"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize("trials", [[], [complete(0.5)], [(Status.RUNNING, {"x": 0.5}, None)]])
def test_types_of_columns_do_not_depend_on_the_trials(client: Client, trials: Any) -> None:
    table = make_sweep(client, trials, status=Status.RUNNING).trials()
    assert len(table) == len(trials)
    assert table["number"].dtype == "int64"
    assert table["m"].dtype == table["duration_s"].dtype == "float64"
    for name in ("started_at", "finished_at"):
        assert isinstance(table[name].dtype, pd.DatetimeTZDtype)
    assert table["status"].dtype == table["run_id"].dtype == "str"


def test_a_name_that_a_parameter_and_a_metric_share_is_told_apart(client: Client) -> None:
    dimensions = [X | {"name": "m"}, X | {"name": "status"}]
    trials = [(Status.COMPLETED, {"m": 0.1, "status": 0.2}, [0.3])]
    row = make_sweep(client, trials, dimensions=dimensions).trials().iloc[0]
    assert (row["param.m"], row["param.status"], row["metric.m"]) == (0.1, 0.2, 0.3)
    assert row["status"] == "COMPLETED"


def test_files_and_tables_are_named_so_that_trials_group_by_them(client: Client) -> None:
    stored = {"type": "pandas.DataFrame", "hash": "a" * 64}
    trials = [
        (Status.COMPLETED, {"rows": stored | {"source": "/data/a.csv"}}, [0.3]),
        (Status.COMPLETED, {"rows": stored}, [0.5]),
    ]
    table = make_sweep(client, trials, dimensions=[{"name": "rows", "values": []}]).trials()
    assert table.groupby("rows")["m"].max().to_dict() == {"/data/a.csv": 0.3, "a" * 64: 0.5}


# The best


@pytest.mark.parametrize(("mode", "number"), [("max", 1), ("min", 0)])
def test_the_best_of_several_equal_trials_is_the_first(client: Client, mode: str, number: int) -> None:
    trials = [
        complete(-1.0),
        complete(2.0),
        complete(2.0),
        complete(-1.0),
        (Status.PRUNED, {"x": 0.1}, [9.0]),
    ]
    sweep = make_sweep(client, trials, modes=(mode,))
    assert sweep.best.record.trial_number == number
    # As it is found in the catalog and among trials that were read already.
    assert len(sweep.trials()) == 5
    assert sweep.best.record.trial_number == number


def test_the_best_may_be_zero_or_infinite(client: Client) -> None:
    low = make_sweep(client, [complete(1.0), complete(0.0)], modes=("min",))
    assert low.best.record.trial_number == 1
    high = make_sweep(client, [complete(1.0), complete(math.inf)], sweep_id="b" * 32)
    assert high.best.record.trial_number == 1


def test_without_a_completed_trial_there_is_no_best(client: Client) -> None:
    sweep = make_sweep(client, [(Status.FAILED, {"x": 0.5}, None)])
    with pytest.raises(NotFoundError, match=f"sweep {sweep.id} has no completed trial"):
        _ = sweep.best
    assert sweep.find_best() is None
    assert sweep.pareto == []


def test_several_metrics_have_a_front_and_no_best(client: Client) -> None:
    points = [(1.0, 5.0), (2.0, 5.0), (2.0, 9.0), (3.0, 7.0), (2.0, 5.0), (0.0, 1.0), (3.0, 8.0)]
    trials = [complete(*p) for p in points] + [(Status.PRUNED, {"x": 0.1}, [9.0, 0.0])]
    sweep = make_sweep(client, trials, metrics=("auc", "loss"), modes=("max", "min"))
    with pytest.raises(UsageError, match=r"several metrics; see sweep.pareto"):
        _ = sweep.best
    # Of (2, 5) both are kept: neither beats the other.
    assert [r.record.trial_number for r in sweep.pareto] == [1, 3, 4, 5]
    assert sweep.to_json()["pareto"] == [r.id for r in sweep.pareto]


# What mattered


def test_importance_finds_the_parameter_that_matters(client: Client) -> None:
    dimensions = [
        X,
        {"name": "eta", "low": 0.001, "high": 1, "log": True, "step": None, "is_int": False},
        {"name": "op", "is_int": False, "values": ["train_a", "train_b"]},
        {"name": "flag", "is_int": False, "values": [True, 1, None]},
        X | {"name": "constant"},
        X | {"name": "drop", "when": {"op": ["train_b"]}},
    ]
    trials = [
        (
            Status.COMPLETED,
            {
                "x": (i * 7 % 40) / 40,
                "eta": 10 ** -(i % 3),
                "op": ["train_a", "train_b"][i // 2 % 2],
                "flag": [True, 1, None][i % 3],
                "constant": 0.5,
                "drop": 0.0,
            },
            [float(i // 2 % 2) + 0.1 * (i * 7 % 40) / 40],
        )
        for i in range(40)
    ]
    trials += [(Status.COMPLETED, trials[0][1], [math.inf]), (Status.FAILED, trials[0][1], None)]
    found = make_sweep(client, trials, dimensions=dimensions).importance()
    assert next(iter(found)) == "op"
    assert found["op"] > 0.9
    assert found["constant"] == 0.0
    assert set(found) == {"x", "eta", "op", "flag", "constant"}
    assert sum(found.values()) == pytest.approx(1)


def test_where_nothing_differs_nothing_is_important(client: Client) -> None:
    same_values = make_sweep(client, [complete(0.5, x=i / 8) for i in range(8)])
    assert same_values.importance() == {"x": 0.0}
    same_points = make_sweep(client, [complete(float(i)) for i in range(8)], sweep_id="b" * 32)
    assert same_points.importance() == {"x": 0.0}


def test_importance_says_what_it_lacks(client: Client) -> None:
    sweep = make_sweep(client, [complete(0.5), complete(0.6), complete(math.inf), complete(-math.inf)])
    with pytest.raises(UsageError, match=r"importance needs 4 trials that completed .*, found 2"):
        sweep.importance()
    with pytest.raises(UsageError, match=r"searches for m, not for 'mm'. Did you mean 'm'"):
        sweep.importance("mm")


# The course of it


def test_history_is_the_best_so_far_in_the_order_of_ends(client: Client) -> None:
    trials = [complete(3.0), (Status.FAILED, {"x": 0.5}, None), complete(5.0), complete(4.0)]
    history = make_sweep(client, trials).history()
    assert history["number"].tolist() == [0, 2, 3]
    assert history["value"].tolist() == [3.0, 5.0, 4.0]
    assert history["best"].tolist() == [3.0, 5.0, 5.0]
    assert (
        make_sweep(client, trials, modes=("min",), sweep_id="b" * 32).history()["best"].tolist() == [3.0] * 3
    )


def test_history_of_an_empty_sweep_has_its_columns(client: Client) -> None:
    history = make_sweep(client).history()
    assert list(history.columns) == ["number", "finished_at", "value", "best"]
    assert history["value"].dtype == "float64"


def test_history_takes_one_of_several_metrics(client: Client) -> None:
    trials = [complete(1.0, 9.0), complete(2.0, 8.0)]
    sweep = make_sweep(client, trials, metrics=("auc", "loss"), modes=("max", "min"))
    assert sweep.history()["best"].tolist() == [1.0, 2.0]
    assert sweep.history("loss")["best"].tolist() == [9.0, 8.0]
    with pytest.raises(UsageError, match="searches for auc, loss, not for 'los'"):
        sweep.history("los")


# JSON


def refuse(text: str) -> Any:
    raise AssertionError(f"{text} is no JSON")


def test_json_has_the_words_of_the_contract_and_no_nan(client: Client) -> None:
    dimensions = [X, {"name": "y", "is_int": False, "values": ["NaN", "Infinity"]}]
    trials = [
        (Status.COMPLETED, {"x": math.nan, "y": math.inf}, [math.inf]),
        (Status.FAILED, {"x": 0.5, "y": 1.0}, [math.nan]),
        (Status.RUNNING, {"x": 0.5, "y": 1.0}, None),
    ]
    sweep = make_sweep(client, trials, dimensions=dimensions, status=Status.RUNNING)
    found = json.loads(json.dumps(sweep.to_json(), allow_nan=False), parse_constant=refuse)
    words = "id status metric mode best counts node_executions trials workflow experiment created_at"
    assert set(words.split()) <= set(found)
    assert found["best"] == {
        "run_id": sweep.trial_records[0].run_id,
        "params": {"x": "NaN", "y": "Infinity"},
        "value": "Infinity",
    }
    assert found["counts"] == {"COMPLETED": 1, "FAILED": 1, "RUNNING": 1}
    assert found["node_executions"] == {"train": 3}
    assert [t["number"] for t in found["trials"]] == [0, 1, 2]
    trial = found["trials"][0]
    assert {"number", "run_id", "status", "params", "value", "started_at", "finished_at"} <= set(trial)
    assert "trials" not in sweep.summary_json()


# A sweep that died


def test_a_sweep_whose_driver_is_dead_has_crashed_with_its_open_trials(client: Client) -> None:
    trials = [complete(0.5), (Status.RUNNING, {"x": 0.5}, None), (Status.RUNNING, {"x": 0.6}, None)]
    sweep = make_sweep(client, trials, status=Status.RUNNING, process=make_dead_process())
    assert sweep.status is Status.CRASHED
    assert sweep.counts == {"COMPLETED": 1, "CRASHED": 2}
    assert sweep.trials()["status"].tolist() == ["COMPLETED", "CRASHED", "CRASHED"]
    assert sweep.best.record.trial_number == 0
    assert sweep.to_json()["error"]["message"]
    assert [s.status for s in client.list_sweeps()] == [Status.CRASHED]


def test_a_sweep_that_runs_is_as_it_was_read_until_it_is_refreshed(client: Client) -> None:
    sweep = make_sweep(client, [complete(0.5)], status=Status.RUNNING)
    assert sweep.status is Status.RUNNING
    with Catalog(client.settings.catalog_url) as catalog:
        catalog.finish_sweep(sweep.id, sweep.record.process, Status.COMPLETED, NOW)
    assert sweep.status is Status.RUNNING
    assert sweep.refresh().status is Status.COMPLETED


# A real one


@operator
def plus(x: float) -> float:
    return x


@operator
def minus(x: float) -> float:
    return -x


class Ends(NamedTuple):
    score: Metric
    cost: Metric


@operator
def measure(x: float, eta: float) -> Ends:
    return Ends(score=x - abs(math.log10(eta) + 2), cost=eta)


@workflow(executor="local")
def search(
    x: Annotated[float, Range(0, 1)] = 0.5,
    eta: Annotated[float, LogRange(0.001, 1)] = 0.1,
    op: Operator = plus,
    drop: Annotated[float, Range(0, 0.5, when={"op": "minus"})] = 0.0,
) -> Ends:
    return measure(op(x), eta)


def test_a_sweep_over_operators_and_a_condition_reads_as_it_ran() -> None:
    space = {"x": None, "eta": None, "op": Choice([plus, minus]), "drop": None}
    sweep = search.sweep(space, metric="score", trials=24, seed=1)
    table = sweep.trials()
    assert set(table["op"]) == {"plus", "minus"}
    # Where its condition does not hold a parameter has the workflow's default.
    assert (table["drop"][table["op"] == "plus"] == 0.0).all()
    assert (table["drop"][table["op"] == "minus"] > 0.0).all()
    assert set(sweep.importance()) == {"x", "eta", "op"}
    assert sweep.best.metrics["score"] == table["score"].max() == sweep.history()["best"].iloc[-1]
    assert sweep.record.spec["space"]["drop"] == "0..0.5 when op=minus"
    json.dumps(sweep.to_json(), allow_nan=False)
