"""A run that did not complete goes on where it ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flowlearner import Client, Run, UsageError, Workflow
from flowlearner.loading import load_workflow
from flowlearner.records import Owner, RunRecord, Status
from flowlearner.replay.again import check_unfinished
from tests.catalog.make import make_run


def ran(run: Run) -> list[str]:
    return [n.name for n in run.nodes if not n.cached]


def test_only_what_is_missing_runs_and_uncached_nodes_are_taken_over(
    flow: Workflow[..., object], project: Path, client: Client
) -> None:
    first = flow.with_options(seed=5).submit(n=4, is_broken=True)
    (project / "flow.py").unlink()
    again = client.resume(first.id, {"is_broken": False})
    assert (again.status, ran(again)) == (Status.COMPLETED, ["judge"])
    assert (again.outputs.total, again.record.parent_id) == (13, first.id)
    assert {n.cached_from for n in again.nodes if n.cached} == {first.id}


def test_what_is_invalidated_runs_with_all_that_it_reaches(
    flow: Workflow[..., object], client: Client
) -> None:
    first = flow.submit(n=4, is_broken=True)
    again = client.resume(first.id, {"is_broken": False, "n": 5})
    assert (ran(again), again.outputs.total) == (["double", "add_seed", "judge"], 10)


def test_todays_code_may_mend_what_failed(flow: Workflow[..., object], project: Path, client: Client) -> None:
    first = flow.submit(is_broken=True)
    code = (project / "flow.py").read_text()
    (project / "flow.py").write_text(code.replace('raise ValueError("broken")', "return 0.5"))
    again = client.resume(first.id, current=True)
    assert (again.status, ran(again), again.metrics) == (Status.COMPLETED, ["judge"], {"score": 0.5})


def test_code_that_changed_runs_though_it_is_not_cached(
    flow: Workflow[..., object], project: Path, client: Client
) -> None:
    first = flow.submit(is_broken=True)
    code = (project / "flow.py").read_text()
    (project / "flow.py").write_text(code.replace("return n + seed", "return n + seed + 1"))
    again = client.resume(first.id, {"is_broken": False}, current=True)
    assert (ran(again), again.outputs.total) == (["add_seed", "judge"], 7)


def test_code_that_cannot_be_followed_runs_again_but_for_effects(
    flow: Workflow[..., object], project: Path, client: Client
) -> None:
    code = (project / "flow.py").read_text()
    code = code.replace("return n + seed", "exec('n += seed')\n    return n").replace(
        "return scale(n)", "exec('n *= 2')\n    return n"
    )
    code = code.replace("@operator\ndef double", "@operator(effects=True)\ndef double")
    (project / "flow.py").write_text(code)
    mended = load_workflow("flow.py:flow")
    assert isinstance(mended, Workflow)
    first = mended.submit(is_broken=True)
    assert ran(client.resume(first.id, {"is_broken": False})) == ["add_seed", "judge"]


def test_a_resumed_run_may_be_resumed(flow: Workflow[..., object], client: Client) -> None:
    first = flow.submit(is_broken=True)
    second = client.resume(first.id)
    assert (second.status, ran(second)) == (Status.FAILED, ["judge"])
    third = client.resume(second.id, {"is_broken": False})
    assert (third.status, ran(third)) == (Status.COMPLETED, ["judge"])
    assert {n.cached_from for n in third.nodes if n.cached} == {first.id}


def test_a_lost_result_is_computed_again(
    flow: Workflow[..., object], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWLEARNER_INLINE_LIMIT_BYTES", "0")
    first = flow.with_options(seed=5).submit(is_broken=True)
    output = first.refresh().nodes[1].outputs[0]
    artifact = client.catalog.get_artifact(output.hash)
    (Path(client.settings.artifacts_url) / str(artifact.path)).unlink()
    again = client.resume(first.id, {"is_broken": False})
    assert (again.status, ran(again)) == (Status.COMPLETED, ["add_seed", "judge"])


def test_a_run_that_completed_has_nothing_to_resume(flow: Workflow[..., object], client: Client) -> None:
    first = flow.run()
    with pytest.raises(UsageError, match=r"is COMPLETED: nothing is missing. `flowlearner runs rerun"):
        client.resume(first.id)


def refuse(**fields: object) -> str:
    run: RunRecord = make_run("0123456789abcdef", **fields)
    with pytest.raises(UsageError) as caught:
        check_unfinished(run)
    return str(caught.value)


def test_a_run_that_goes_on_is_refused_with_who_runs_it() -> None:
    said = refuse(status=Status.RUNNING, process=Owner("box", 123, 1.0, ""))
    assert "still runs: process 123 on box, of ada" in said
    assert "flowlearner runs cancel 01234567" in said


def test_a_trial_is_resumed_with_its_sweep() -> None:
    said = refuse(status=Status.FAILED, sweep_id="feedc0de00000000", trial_number=3)
    assert "trial 3 of sweep feedc0de; `flowlearner sweeps resume feedc0de`" in said


SLOW = """
import time
from pathlib import Path
from flowlearner import operator, workflow

@operator
def first(n: int) -> int:
    return n + 1

@operator(cache=False)
def second(n: int) -> int:
    with Path("seconds").open("a") as file:
        file.write("x")
    return n + 1

@operator
def third(n: int) -> int:
    Path("waiting").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return n + 1

@workflow(executor="local")
def slow(n: int = 1) -> int:
    return third(second(first(n)))
"""


def test_a_killed_run_goes_on_where_it_was(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    process = subprocess.Popen([sys.executable, "-c", "import slow; slow.slow.run()"], cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "waiting").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)
    process.kill()
    process.wait()
    (killed,) = client.list_runs()
    assert killed.status is Status.CRASHED
    monkeypatch.chdir(tmp_path)
    Path("go").touch()
    os.remove("slow.py")
    again = client.resume(killed.id)
    assert (again.outputs.result, ran(again)) == (4, ["third"])
    assert Path("seconds").read_text() == "x"
    assert client.get_run(killed.id).status is Status.CRASHED


LONG = """
import time
from pathlib import Path
from flowlearner import operator, workflow

@operator
def step(n: int, i: int) -> int:
    return n + i

@operator(cache=False)
def last(n: int) -> float:
    now = time.time()
    if not Path("go").exists():
        raise ValueError("not yet")
    return now

@workflow(executor="local")
def long(n: int = 0) -> float:
    for i in range(1000):
        n = step(n, i)
    return last(n)
"""


@pytest.mark.slow
def test_a_run_of_1000_nodes_starts_work_within_a_second(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "long.py").write_text(LONG)
    long = load_workflow("long.py:long")
    assert isinstance(long, Workflow)
    first = long.submit()
    Path("go").touch()
    took = []
    for _ in range(3):
        before = time.time()
        again = client.resume(first.id)
        took.append(again.outputs.result - before)
    assert ran(again) == ["last"]
    assert min(took) < 1
