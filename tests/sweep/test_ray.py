"""Trials on a real Ray cluster: same results and sharing as in this process, and workers may die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pandas as pd
import pytest
import ray

import flowlearner
from flowlearner import (
    Client,
    Metric,
    Range,
    ResourceError,
    Secret,
    Sweep,
    SweepFailed,
    operator,
    workflow,
)
from flowlearner.errors import ServerError
from flowlearner.records import Status, find_curve
from flowlearner.sweep.cluster import connect
from tests.engine.api import Api

pytestmark = [pytest.mark.timeout(180), pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One cluster for the module: to start one takes longer than all that runs on it."""
    connect("")
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def prefect_server(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", server)


@operator
def load(n: int) -> pd.DataFrame:
    print(f"loading {n} rows")
    return pd.DataFrame({"x": range(n)})


@operator
def featurize(rows: pd.DataFrame, power: int) -> pd.DataFrame:
    return rows**power


@operator
def train(rows: pd.DataFrame, weight: int) -> Metric:
    return float(rows["x"].sum() * weight)


@workflow
def staged(
    n: int = 10, power: Annotated[int, Range(1, 2)] = 1, weight: Annotated[int, Range(1, 10)] = 1
) -> Metric:
    return train(featurize(load(n), power), weight)


def values_of(sweep: Sweep) -> list[tuple[object, ...]]:
    return [t.values for t in sweep.trial_records]


def test_it_gives_what_this_process_gives_and_shares_as_much(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_ray = staged.sweep(search="grid")
    assert on_ray.node_executions == {"load": 1, "featurize": 2, "train": 20}
    monkeypatch.setenv("FLOWLEARNER_HOME", str(tmp_path))
    here = staged.sweep(search="grid", executor="local")
    assert values_of(on_ray) == values_of(here)
    assert on_ray.record.spec["executor"] == "ray"


def test_a_second_sweep_takes_all_from_the_cache() -> None:
    staged.sweep(search="grid")
    assert staged.sweep(search="grid").node_executions == {}


def test_what_workers_print_is_in_the_logs_of_the_trial() -> None:
    sweep = staged.sweep({"weight": [1, 2]}, search="grid", n=12)
    with Client() as client:
        lines = client.list_logs(sweep.trial_records[0].run_id)
    assert [(line.node, line.message) for line in lines] == [("load", "loading 12 rows")]


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    marker = tmp_path / "died"

    @operator(cache=False)
    def dies_once(x: int, path: str) -> Metric:
        if x == 2 and not Path(path).exists():
            Path(path).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return float(x)

    @workflow
    def flow(path: str, x: Annotated[int, Range(1, 4)] = 1) -> Metric:
        return dies_once(x, path)

    sweep = flow.sweep({"x": [1, 2, 3, 4]}, path=str(marker), search="grid")
    assert marker.exists()
    assert sweep.counts == {"COMPLETED": 4}


def test_a_worker_that_dies_every_time_fails_its_trial_only() -> None:
    @operator
    def dies(x: int) -> Metric:
        if x == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return float(x)

    @workflow
    def flow(x: Annotated[int, Range(1, 3)] = 1) -> Metric:
        return dies(x)

    sweep = flow.sweep(search="grid")
    assert [t.status for t in sweep.trial_records] == [Status.COMPLETED, Status.FAILED, Status.COMPLETED]
    error = sweep.trial_records[1].error
    assert error is not None
    assert "its worker died 4 times" in error.message


@operator(retries=1)
def fails_at_two(x: int) -> Metric:
    if x == 2:
        raise ValueError(f"no {x} here")
    return float(x)


@workflow
def unlucky(x: Annotated[int, Range(1, 3)] = 1) -> Metric:
    return fails_at_two(x)


def test_what_an_operator_raises_is_kept_with_its_lines() -> None:
    sweep = unlucky.sweep(search="grid")
    assert sweep.counts == {"COMPLETED": 2, "FAILED": 1}
    with Client() as client:
        node = client.get_run(sweep.trial_records[1].run_id).nodes[0]
    assert node.attempt == 2
    assert node.error is not None
    assert "no 2 here" in node.error.message
    assert 'raise ValueError(f"no {x} here")' in node.error.traceback


def test_an_operator_with_a_time_limit_is_killed_in_its_worker() -> None:
    @operator(timeout_s=0.5)
    def slow(x: int) -> Metric:
        if x == 2:
            time.sleep(60)
        return float(x)

    @workflow
    def flow(x: Annotated[int, Range(1, 2)] = 1) -> Metric:
        return slow(x)

    sweep = flow.sweep(search="grid")
    assert [t.status for t in sweep.trial_records] == [Status.COMPLETED, Status.FAILED]
    error = sweep.trial_records[1].error
    assert error is not None
    assert "timeout_s=0.5" in error.message


def test_trials_that_do_badly_are_stopped_while_they_run() -> None:
    @operator
    def learn(x: int) -> Metric:
        for step in range(1, 28):
            flowlearner.report(step=step, result=float(x * step))
            time.sleep(0.3 if x < 9 else 0.0)
        return float(x * 27)

    @workflow
    def flow(x: Annotated[int, Range(1, 9)] = 1) -> Metric:
        return learn(x)

    sweep = flow.sweep({"x": [9, 8, 1, 2, 3, 4]}, search="grid", stop="asha", parallel=2)
    assert set(sweep.counts) == {"COMPLETED", "PRUNED"}, sweep.trials()["status"].tolist()
    assert sweep.best.params["x"] == 9
    pruned = [t for t in sweep.trial_records if t.status is Status.PRUNED]
    assert pruned
    with Client() as client:
        curve = find_curve(client.list_metric_points(pruned[0].run_id), "result")
    assert 1 <= len(curve) < 27


def test_what_no_node_has_is_refused_before_anything_runs() -> None:
    @operator(gpus=64)
    def large(x: int) -> Metric:
        return float(x)

    @workflow
    def flow(x: Annotated[int, Range(1, 3)] = 1) -> Metric:
        return large(x)

    with pytest.raises(ResourceError, match="64 gpus"):
        flow.sweep(search="grid")
    with Client() as client:
        assert client.list_sweeps() == []


def test_an_address_where_nothing_answers_is_said_soon() -> None:
    began = time.monotonic()
    with pytest.raises(ServerError, match=r"nothing answers at 127\.0\.0\.1:9"):
        connect("127.0.0.1:9")
    assert time.monotonic() - began < 15


def test_the_users_module_and_its_helpers_travel(tmp_path: Path) -> None:
    (tmp_path / "own_helper.py").write_text("def lift(x):\n    return x + 0.5\n")
    (tmp_path / "own_flow.py").write_text(
        textwrap.dedent("""
            from typing import Annotated
            from flowlearner import Metric, Range, operator, workflow

            @operator
            def score(x: int) -> Metric:
                from own_helper import lift
                return lift(x)

            @workflow
            def search(x: Annotated[int, Range(1, 3)] = 1) -> Metric:
                return score(x)
        """)
    )
    code = "import own_helper, own_flow; print(own_flow.search.sweep(search='grid').best.metrics['result'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "3.5", done.stderr
    assert done.stderr == ""


def test_a_sweep_that_fails_says_so() -> None:
    @operator
    def fails(x: int) -> Metric:
        raise ValueError("never")

    @workflow
    def flow(x: Annotated[int, Range(1, 2)] = 1) -> Metric:
        return fails(x)

    with pytest.raises(SweepFailed, match=r"each of its 2 trials failed.*never"):
        flow.sweep(search="grid")


def test_a_sweep_is_one_flow_run_of_its_id_without_tasks(server: str) -> None:
    api = Api(server)
    sweep = staged.with_options(tags={"team": "ops"}).sweep({"weight": [1, 2]}, search="grid")
    flow_run = api.find_flow_run(sweep.id)
    assert flow_run["state"]["type"] == "COMPLETED"
    assert flow_run["tags"] == ["team:ops"]
    assert flow_run["id"] == sweep.record.prefect_flow_run_id
    assert api.wait_for_tasks(sweep.id, 0) == {}


@operator
def refuse(token: Secret, x: int) -> Metric:
    flowlearner.report(step=x, **{token: 1.0})
    print([token])
    if x % 2:
        raise ValueError(token, [token])
    return float(x)


@workflow
def refusing(token: Secret, x: int = 1) -> Metric:
    return refuse(token, x)


def test_what_workers_say_and_ray_keeps_has_no_secret(own_home: Path) -> None:
    text = "-".join(["open", "sesame"])
    sweep = refusing.sweep({"x": Range(0, 3)}, token=text, search="grid")
    assert dict(sweep.counts) == {"COMPLETED": 2, "FAILED": 2}
    folders = [own_home, Path(ray._private.worker._global_node.get_session_dir_path())]
    files = [f for folder in folders for f in folder.rglob("*") if f.is_file()]
    assert len(files) > 10
    assert [f for f in files if text.encode() in f.read_bytes()] == []
    assert "***" in [p.name for p in Client().catalog.list_metric_points(sweep.trial_records[0].run_id)]
