"""Trials that stop early, by what their operators report; here in this process (see also test_ray)."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import pytest

import flowlearner
from flowlearner import Client, Metric, Range, Sweep, operator, workflow
from flowlearner.config import get_settings
from flowlearner.records import Status, TrialRecord, find_curve
from flowlearner.sweep.resume import resume_sweep

STEPS = 16


class Scores(NamedTuple):
    auc: Metric


@operator
def learn(x: int) -> Metric:
    for step in range(1, STEPS + 1):
        flowlearner.report(step=step, auc=x * step / 100)
    if x == 5:
        raise ValueError("5 diverges")
    return x * STEPS / 100


@workflow(executor="local")
def search(x: Annotated[int, Range(1, 9)] = 1) -> Scores:
    return Scores(auc=learn(x))


def read_curve(trial: TrialRecord) -> list[tuple[int, float]]:
    with Client() as client:
        return find_curve(client.list_metric_points(trial.run_id), "auc")


def by_x(sweep: Sweep) -> dict[int, TrialRecord]:
    return {t.point["x"]: t for t in sweep.trial_records}


def test_a_curve_has_one_name_however_the_trial_ended() -> None:
    sweep = search.sweep({"x": [9, 5, 1]}, search="grid", stop="asha", parallel=1)
    trials = by_x(sweep)
    assert {x: t.status for x, t in trials.items()} == {
        9: Status.COMPLETED,
        5: Status.PRUNED,
        1: Status.PRUNED,
    }
    with Client() as client:
        names = {x: {p.name for p in client.list_metric_points(t.run_id)} for x, t in trials.items()}
    assert names == {9: {"auc", "learn.auc"}, 5: {"learn.auc"}, 1: {"learn.auc"}}
    assert read_curve(trials[9]) == [(s, 9 * s / 100) for s in range(1, STEPS + 1)]
    assert 1 <= len(read_curve(trials[1])) < STEPS


def test_what_a_stopped_trial_reported_last_is_its_value_in_the_table() -> None:
    sweep = search.sweep({"x": [9, 1]}, search="grid", stop="asha", parallel=1)
    step, value = read_curve(by_x(sweep)[1])[-1]
    assert sweep.trials().set_index("x").loc[1, "auc"] == value == step / 100
    assert sweep.best.metrics["auc"] == 9 * STEPS / 100


def test_a_failed_trial_keeps_what_it_reported() -> None:
    trial = by_x(search.sweep({"x": [5, 6]}, search="grid"))[5]
    assert trial.status is Status.FAILED
    assert [step for step, _ in read_curve(trial)] == list(range(1, STEPS + 1))


def test_curves_of_trials_that_hit_count_for_those_to_come() -> None:
    search.sweep({"x": [9, 8, 7, 6]}, search="grid")
    sweep = search.sweep({"x": [9, 8, 7, 6, 1]}, search="grid", stop="asha", parallel=1)
    trials = by_x(sweep)
    assert {x: t.status for x, t in trials.items() if x != 1} == dict.fromkeys([9, 8, 7, 6], Status.COMPLETED)
    assert trials[1].status is Status.PRUNED


@operator
def halve(x: int) -> int:
    time.sleep(1 if x == 7 else 0)
    return x % 5 // 2


@operator
def grow(x: int) -> int:
    for step in range(1, STEPS + 1):
        time.sleep(x / 50 if x < 4 else 0)
        flowlearner.report(step=step, auc=x * step / 100)
    return x


@operator(cpus=os.cpu_count() or 1)
def weigh(half: int) -> int:
    return half


@operator
def judge(x: int, weight: int) -> Metric:
    return x * STEPS / 100 + weight


@workflow(executor="local")
def weighed(x: Annotated[int, Range(1, 9)] = 1) -> Scores:
    half = halve(x)
    return Scores(auc=judge(grow(x), weigh(half)))


def test_a_call_that_stopped_trials_had_in_common_runs_for_a_later_one() -> None:
    weighed.sweep({"x": [6]}, search="grid")
    # 2 and 3 wait for one weigh(1), which finds no room while both grow; 7 wants it when nobody else does.
    sweep = weighed.sweep({"x": [6, 2, 3, 7]}, search="grid", stop="asha", parallel=2)
    assert {x: t.status for x, t in by_x(sweep).items()} == {
        6: Status.COMPLETED,
        2: Status.PRUNED,
        3: Status.PRUNED,
        7: Status.COMPLETED,
    }


FLOW = """
    import time
    from pathlib import Path
    from typing import Annotated, NamedTuple
    import flowlearner
    from flowlearner import Metric, Range, operator, workflow

    class Scores(NamedTuple):
        auc: Metric

    @operator
    def learn(x: int) -> Metric:
        while x == 1 and not Path("go").exists():
            time.sleep(0.01)
        for step in range(1, 17):
            flowlearner.report(step=step, auc=x * step / 100)
        return x * 16 / 100

    @workflow(executor="local")
    def search(x: Annotated[int, Range(1, 9)] = 1) -> Scores:
        return Scores(auc=learn(x))
"""


@pytest.mark.slow
def test_rungs_are_known_to_a_sweep_that_goes_on_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stopping_flow.py").write_text(textwrap.dedent(FLOW))
    points = [9, 8, 7, 6, 5, 4, 1, 2, 3]
    code = (
        "import stopping_flow; stopping_flow.search.sweep("
        f"{{'x': {points}}}, search='grid', stop='asha', parallel=1)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE)
    try:
        sweep_id = wait_for_trials(process, 6)
    finally:
        process.kill()
        process.communicate()
    (tmp_path / "go").touch()
    monkeypatch.chdir(tmp_path)
    resume_sweep(sweep_id, get_settings())
    with Client() as client:
        trials = by_x(client.get_sweep(sweep_id))
    assert trials[9].status is Status.COMPLETED
    # Nothing is left that would make the rungs of the trials to come, but what was reported before the kill.
    assert [trials[x].status for x in (1, 2, 3)] == [Status.PRUNED] * 3
    assert all(len(read_curve(trials[x])) < STEPS for x in (1, 2, 3))


def wait_for_trials(process: subprocess.Popen[bytes], count: int) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        if get_settings().home_path.joinpath("catalog.db").exists():
            with Client() as client:
                for sweep in client.list_sweeps():
                    if sum(n for s, n in sweep.counts.items() if Status(s).is_final) >= count:
                        return sweep.id
        time.sleep(0.02)
    raise AssertionError("the sweep did not come so far in time")
