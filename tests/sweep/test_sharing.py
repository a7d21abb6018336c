"""What trials have in common runs once, whoever asks first and whatever becomes of the others."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, NamedTuple

import pandas as pd
import pytest

import flowlearner
from flowlearner import Choice, Client, File, Metric, Operator, Range, SweepFailed, operator, workflow
from flowlearner.records import Status
from tests.engine.calls import called, counted


@operator
def load(n: int) -> pd.DataFrame:
    called("load")
    return pd.DataFrame({"x": range(n)})


@operator
def featurize(rows: pd.DataFrame, power: int) -> pd.DataFrame:
    called("featurize")
    return rows**power


@operator
def train(rows: pd.DataFrame, weight: int) -> Metric:
    called("train")
    return float(rows["x"].sum() * weight)


@workflow(executor="local")
def staged(
    n: int = 10, power: Annotated[int, Range(1, 2)] = 1, weight: Annotated[int, Range(1, 10)] = 1
) -> Metric:
    return train(featurize(load(n), power), weight)


def test_each_operator_runs_once_for_each_different_input() -> None:
    with counted([]) as calls:
        sweep = staged.sweep(search="grid")
    assert {name: calls.count(name) for name in ("load", "featurize", "train")} == {
        "load": 1,
        "featurize": 2,
        "train": 20,
    }
    assert sweep.node_executions == {"load": 1, "featurize": 2, "train": 20}
    assert sweep.counts == {"COMPLETED": 20}


def test_calls_are_shared_under_a_search_that_learns() -> None:
    sweep = staged.sweep(trials=12, search="tpe", parallel=6)
    points = {(t.point["power"], t.point["weight"]) for t in sweep.trial_records}
    assert sweep.node_executions["load"] == 1
    assert sweep.node_executions["featurize"] == len({power for power, _ in points})
    assert sweep.node_executions["train"] == len(points)


def test_trials_that_start_together_wait_for_one_call() -> None:
    @operator
    def slow(n: int) -> int:
        called("slow")
        time.sleep(0.2)
        return n

    @operator
    def score(n: int, x: int) -> Metric:
        return float(n * x)

    @workflow(executor="local")
    def flow(x: Annotated[int, Range(1, 4)] = 1) -> Metric:
        return score(slow(2), x)

    with counted([]) as calls:
        sweep = flow.sweep(search="grid", parallel=4)
    assert calls == ["slow"]
    assert [v for t in sweep.trial_records for v in t.values] == [2.0, 4.0, 6.0, 8.0]


def test_a_trial_says_from_which_other_one_it_took_a_result() -> None:
    sweep = staged.sweep({"weight": [1, 2]}, search="grid")
    with Client() as client:
        first, second = (client.get_run(t.run_id) for t in sweep.trial_records)
    assert [n.cached for n in first.nodes] == [False, False, False]
    assert [(n.cached, n.cached_from) for n in second.nodes][:2] == [(True, first.id), (True, first.id)]
    assert [n.miss_reason for n in second.nodes][:2] == [None, None]


def test_a_second_sweep_takes_all_from_the_cache() -> None:
    staged.sweep(search="grid")
    with counted([]) as calls:
        again = staged.sweep(search="grid")
    assert calls == []
    assert again.node_executions == {}
    assert again.counts == {"COMPLETED": 20}


def test_results_of_earlier_runs_are_hits_and_trials_are_hits_for_runs() -> None:
    staged.run(power=2, weight=3)
    with counted([]) as calls:
        sweep = staged.sweep({"power": [1, 2]}, weight=3, search="grid")
    assert sorted(calls) == ["featurize", "train"]
    with counted([]) as calls:
        run = staged.run(**{n: sweep.best.params[n] for n in ("n", "power", "weight")})
    assert calls == []
    assert run.metrics["result"] == sweep.best.metrics["result"]


def test_outputs_that_come_out_equal_share_what_reads_them() -> None:
    @operator
    def constant(x: int) -> int:
        return 7 if x > 0 else x

    @operator
    def score(n: int) -> Metric:
        called("score")
        return float(n)

    @workflow(executor="local")
    def flow(x: Annotated[int, Range(1, 5)] = 1) -> Metric:
        return score(constant(x))

    with counted([]) as calls:
        sweep = flow.sweep(search="grid")
    assert calls == ["score"]
    assert sweep.node_executions == {"constant": 5, "score": 1}
    assert sweep.counts == {"COMPLETED": 5}


def test_what_is_not_cached_runs_once_a_trial_and_its_readers_by_what_it_gave() -> None:
    @operator(cache=False)
    def fresh(n: int) -> int:
        called("fresh")
        return n

    @operator
    def score(n: int, x: int) -> Metric:
        called("score")
        return float(n * x)

    @workflow(executor="local")
    def flow(x: Annotated[int, Range(1, 3)] = 1) -> Metric:
        return score(fresh(1), x)

    with counted([]) as calls:
        flow.sweep(search="grid")
        flow.sweep(search="grid")
    assert (calls.count("fresh"), calls.count("score")) == (6, 3)


def test_without_the_cache_trials_share_all_the_same() -> None:
    staged.sweep(search="grid")
    with counted([]) as calls:
        staged.with_options(cache=False).sweep(search="grid")
    assert (calls.count("load"), calls.count("featurize"), calls.count("train")) == (1, 2, 20)


def test_an_operator_may_be_what_varies() -> None:
    @operator
    def double(n: int) -> int:
        return 2 * n

    @operator
    def square(n: int) -> int:
        return n * n

    @operator
    def score(n: int) -> Metric:
        return float(n)

    @workflow(executor="local")
    def flow(n: int = 5, step: Operator = double) -> Metric:
        return score(step(n))

    sweep = flow.sweep({"step": Choice([double, square])}, search="grid")
    assert sweep.best.params["step"] == "square"
    assert sweep.best.metrics["result"] == 25.0


class Pair(NamedTuple):
    a: Metric
    b: Metric


@operator
def risky(x: int) -> int:
    if x == 2:
        raise ValueError("two is too much")
    return x


@operator
def measure(x: int, y: int) -> Pair:
    return Pair(float(x * y), float(x - y))


@workflow(executor="local")
def fragile(x: Annotated[int, Range(1, 3)] = 1, y: Annotated[int, Range(1, 2)] = 1) -> Pair:
    return measure(risky(x), y)


def test_a_shared_call_that_fails_fails_its_trials_and_no_others() -> None:
    sweep = fragile.sweep(search="grid", metric="a")
    assert sweep.counts == {"COMPLETED": 4, "FAILED": 2}
    failed = [t for t in sweep.trial_records if t.status is Status.FAILED]
    assert {t.point["x"] for t in failed} == {2}
    assert all("two is too much" in t.error.message for t in failed if t.error)
    with Client() as client:
        nodes = client.get_run(failed[0].run_id).nodes
    assert [(n.name, n.status) for n in nodes] == [("risky", Status.FAILED), ("measure", Status.SKIPPED)]
    assert "two is too much" in (nodes[0].error.traceback if nodes[0].error else "")


def test_a_sweep_whose_trials_all_fail_has_failed() -> None:
    with pytest.raises(SweepFailed, match=r"each of its 2 trials failed.*two is too much") as caught:
        fragile.sweep({"y": [1, 2]}, x=2, search="grid", metric="a")
    assert caught.value.sweep.status is Status.FAILED


def test_too_many_failures_end_the_sweep() -> None:
    @operator
    def fails(x: int) -> Metric:
        raise ValueError(f"no {x}")

    @workflow(executor="local")
    def flow(x: Annotated[int, Range(1, 1000)] = 1) -> Metric:
        return fails(x)

    with pytest.raises(SweepFailed, match="more than max_failures=3") as caught:
        flow.sweep(search="grid", max_failures=3, parallel=1)
    assert caught.value.sweep.counts == {"FAILED": 4}


def test_a_metric_that_is_no_number_fails_its_trial_only() -> None:
    @operator
    def odd(x: int) -> Metric:
        return float("nan") if x == 1 else float(x)

    @workflow(executor="local")
    def flow(x: Annotated[int, Range(1, 3)] = 1) -> Metric:
        return odd(x)

    sweep = flow.sweep(search="grid")
    assert [t.status for t in sweep.trial_records] == [Status.FAILED, Status.COMPLETED, Status.COMPLETED]
    assert "not a number" in (sweep.trial_records[0].error.message if sweep.trial_records[0].error else "")
    assert sweep.best.params["x"] == 3


def test_changing_an_input_reaches_no_other_trial() -> None:
    @operator
    def spoil(rows: pd.DataFrame, x: int) -> Metric:
        before = float(rows["x"].sum())
        rows["x"] = 0
        return before * x

    @workflow(executor="local")
    def flow(x: Annotated[int, Range(1, 4)] = 1) -> Metric:
        return spoil(load(10), x)

    sweep = flow.sweep(search="grid", parallel=4)
    assert [v for t in sweep.trial_records for v in t.values] == [45.0, 90.0, 135.0, 180.0]


def test_a_shared_node_goes_on_while_a_trial_waits_for_it() -> None:
    @operator
    def shared(n: int) -> int:
        called("shared")
        time.sleep(0.3)
        called("shared ends")
        return n

    @operator
    def curve(x: int) -> int:
        for step in range(1, 30):
            flowlearner.report(step=step, result=float(x))
        return x

    @operator
    def score(n: int, x: int) -> Metric:
        return float(n * x)

    @workflow(executor="local")
    def flow(x: Annotated[int, Range(1, 9)] = 1) -> Metric:
        return score(shared(2), curve(x))

    with counted([]) as calls:
        sweep = flow.sweep({"x": [9, 1, 2, 3]}, search="grid", stop="asha", parallel=4)
    assert calls == ["shared", "shared ends"]
    assert sweep.counts["PRUNED"] >= 1
    assert sweep.best.params["x"] == 9


def test_files_of_a_list_are_kept_as_long_as_a_trial_that_used_them(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        path.write_text(path.name * 1000)

    @operator
    def measure(files: list[File], x: int) -> Metric:
        return float(x * sum(Path(f).stat().st_size for f in files))

    @workflow(executor="local")
    def flow(files: list[File], x: Annotated[int, Range(1, 2)] = 1) -> Metric:
        return measure(files, x)

    def count_unneeded(client: Client) -> int:
        return sum(a.size_bytes == 1000 for a in client.catalog.list_unneeded_artifacts())

    first, second = (t.run_id for t in flow.sweep(files=paths, search="grid").trial_records)
    with Client() as client:
        client.delete_runs([first])
        client.catalog.purge_runs()
        assert count_unneeded(client) == 0
        client.delete_runs([second])
        client.catalog.purge_runs()
        assert count_unneeded(client) == 2
