"""What a run on the local executor takes from the cache, and why it does not."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pyarrow as pa

import flowlearner
from flowlearner import (
    operator,
    workflow,
)
from flowlearner.records import Status
from tests.engine.calls import called
from tests.engine.flows import add, load, parity, simple


def test_the_same_run_again_is_all_cached_and_calls_nothing(calls: list[str]) -> None:
    first = simple.run(n=4)
    calls.clear()
    second = simple.run(n=4)
    assert calls == []
    assert [n.cached for n in second.nodes] == [True, True]
    assert {n.cached_from for n in second.nodes} == {first.id}
    assert second.outputs.mean == 1.5
    assert second.metrics == {"mean": 1.5}


def test_an_integer_for_a_float_parameter_has_the_key_of_the_float(calls: list[str]) -> None:
    @workflow(executor="local")
    def sums(a: float) -> float:
        return add(a, 1)

    sums.run(a=1)
    calls.clear()
    sums.run(a=1.0)
    assert calls == []


def test_consumers_of_an_output_that_came_out_equal_hit(calls: list[str]) -> None:
    @workflow(executor="local")
    def chain(n: int) -> float:
        return add(parity(n), 1.0)

    chain.run(n=2)
    calls.clear()
    run = chain.run(n=4)
    assert calls == ["parity"]
    assert [(n.name, n.cached) for n in run.nodes] == [("parity", False), ("add", True)]


def test_no_cache_runs_everything_and_refresh_runs_one_node(calls: list[str]) -> None:
    simple.run(n=4)
    calls.clear()
    simple.with_options(cache=False).run(n=4)
    assert calls == ["load", "mean"]
    calls.clear()
    run = simple.with_options(refresh=["load"]).run(n=4)
    assert calls == ["load"]
    assert run.nodes[0].miss_reason == "--refresh"


def test_each_node_run_says_why_it_missed() -> None:
    first = simple.run(n=4)
    second = simple.run(n=5)
    assert first.nodes[0].miss_reason == "first run of this node"
    assert second.nodes[0].miss_reason == "input 'n' changed"
    assert second.nodes[1].miss_reason == "input 'rows' changed"


def test_plan_says_what_would_hit_and_runs_nothing(calls: list[str]) -> None:
    simple.run(n=4)
    calls.clear()
    assert [(r.node, r.action) for r in simple.plan(n=4)] == [("load", "cached"), ("mean", "cached")]
    assert [(r.node, r.action) for r in simple.plan(n=9)] == [("load", "run"), ("mean", "unknown")]
    assert calls == []


def test_a_lost_artifact_runs_its_node_again_and_repairs_the_store(calls: list[str], own_home: Path) -> None:
    big = 20_000
    first = simple.run(n=big)
    for file in (own_home / "artifacts").rglob("*"):
        if file.is_file():
            file.chmod(0o644)
            file.write_bytes(b"damaged")
    calls.clear()
    second = simple.run(n=big)
    assert "load" in calls
    assert second.nodes[0].miss_reason == "artifact lost: its file is not what was stored"
    assert second.outputs.mean == first.outputs.mean
    calls.clear()
    simple.run(n=big)
    assert calls == []


def test_reported_metrics_are_recorded_with_their_curve_and_replayed_by_a_hit() -> None:
    @operator
    def learn(n: int) -> int:
        for step in range(n):
            flowlearner.report(step=step, loss=1.0 / (step + 1))
        return n

    @workflow(executor="local")
    def curves(n: int = 4) -> int:
        return learn(n)

    assert curves.run().metrics == {"loss": 0.25}
    again = curves.run()
    assert again.nodes[0].cached
    assert again.metrics == {"loss": 0.25}


def test_cache_false_and_effects_run_every_time(calls: list[str]) -> None:
    @operator(cache=False)
    def always(n: int) -> int:
        called("always")
        return n

    @operator(effects=True)
    def notify(n: int) -> None:
        called("notify")

    @workflow(executor="local")
    def both(n: int = 1) -> int:
        value = always(n)
        notify(value)
        return parity(value)

    both.run()
    calls.clear()
    run = both.run()
    assert sorted(calls) == ["always", "notify"]
    assert run.nodes[-1].cached or run.nodes[1].cached


def test_arrow_and_pandas_consumers_share_one_artifact() -> None:
    @operator
    def rows_of(table: pa.Table) -> int:
        return int(table.num_rows)

    @workflow(executor="local")
    def mixed(n: int = 3) -> int:
        return rows_of(load(n))  # type: ignore[arg-type]

    assert mixed.run().outputs.result == 3


def test_equal_calls_of_one_run_run_once(calls: list[str]) -> None:
    @operator
    def draw(n: int) -> float:
        called("draw")
        time.sleep(0.1)
        return random.random() + n

    @workflow(executor="local")
    def twice() -> float:
        return add(draw(1), draw(1))

    run = twice.run()
    assert calls.count("draw") == 1
    first, second, _ = run.nodes
    assert (first.cached, second.cached, second.cached_from) == (False, True, run.id)
    assert first.outputs[0].hash == second.outputs[0].hash


def test_a_call_whose_equal_has_failed_runs_itself(calls: list[str]) -> None:
    @operator
    def fails(n: int) -> float:
        called("fails")
        time.sleep(0.1)
        raise ValueError("no")

    @workflow(executor="local")
    def twice() -> float:
        return add(fails(1), fails(1))

    run = twice.submit()
    assert calls.count("fails") == 2
    assert [n.status for n in run.nodes] == [Status.FAILED, Status.FAILED, Status.SKIPPED]
