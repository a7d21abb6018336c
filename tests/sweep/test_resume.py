"""A driver that is killed loses nothing that had ended; its sweep goes on with exactly what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest

from flowlearner import Client, Metric, Range, Sweep, UsageError, Workflow, operator, workflow
from flowlearner.config import get_settings
from flowlearner.loading import load_workflow
from flowlearner.records import Status
from flowlearner.sweep import resume
from flowlearner.sweep.resume import resume_sweep, retry_sweep
from flowlearner.sweep.submit import execute_sweep

FLOW = """
    import time
    from typing import Annotated
    from flowlearner import Metric, Range, operator, workflow
    from helper import lift

    @operator
    def base(n: int) -> int:
        return n

    @operator
    def score(n: int, x: float) -> Metric:
        time.sleep(0.05)
        return lift(n * x)

    @workflow(executor="local")
    def search(x: Annotated[float, Range(0, 1)] = 0.5, n: int = 3) -> Metric:
        return score(base(n), x)
"""
TRIALS = 24


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "search_flow.py").write_text(textwrap.dedent(FLOW))
    (tmp_path / "helper.py").write_text("def lift(x):\n    return x + 1\n")
    return tmp_path


def start(project: Path, **options: object) -> subprocess.Popen[bytes]:
    words = ", ".join(f"{name}={value!r}" for name, value in options.items())
    code = f"import search_flow; search_flow.search.sweep(trials={TRIALS}, n=5, {words})"
    return subprocess.Popen([sys.executable, "-c", code], cwd=project, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> int:
    process.communicate(timeout=60)
    return process.returncode


def wait_for(process: subprocess.Popen[bytes], wanted: Callable[[Sweep], bool], limit_s: float = 60) -> Sweep:
    deadline = time.monotonic() + limit_s
    with Client() as client:
        while time.monotonic() < deadline:
            if (Path(os.environ["FLOWLEARNER_HOME"]) / "catalog.db").exists():
                found = client.list_sweeps()
                if found and wanted(found[0]):
                    return found[0]
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.05)
    raise AssertionError("the sweep did not come so far in time")


def kill_in_the_middle(project: Path, **options: object) -> Sweep:
    """Kill the driver when some trials have ended; return the sweep as it is read then."""
    process = start(project, **options)
    found = wait_for(process, lambda s: s.counts.get("COMPLETED", 0) >= 4)
    process.kill()
    process.communicate()
    with Client() as client:
        return client.get_sweep(found.id)


@pytest.mark.parametrize("search", ["random", "tpe"])
def test_a_killed_sweep_goes_on_with_the_numbers_that_are_missing(project: Path, search: str) -> None:
    killed = kill_in_the_middle(project, search=search)
    assert killed.status is Status.CRASHED
    ended = {t.number: (t.run_id, t.values) for t in killed.trial_records if t.status is Status.COMPLETED}
    assert 4 <= len(ended) < TRIALS
    assert {t.status for t in killed.trial_records} <= {Status.COMPLETED, Status.CRASHED}
    resume_sweep(killed.id, get_settings())
    with Client() as client:
        sweep = client.get_sweep(killed.id)
    assert sweep.status is Status.COMPLETED
    assert [t.number for t in sweep.trial_records] == list(range(TRIALS))
    assert sweep.counts == {"COMPLETED": TRIALS}
    after = {t.number: (t.run_id, t.values) for t in sweep.trial_records}
    assert {n: after[n] for n in ended} == ended
    assert sweep.record.spec["params"] == {"n": 5}


def test_points_do_not_depend_on_where_it_was_killed(project: Path) -> None:
    killed = kill_in_the_middle(project, search="random", seed=3)
    resume_sweep(killed.id, get_settings())
    with Client() as client:
        broken = client.get_sweep(killed.id).trial_records
        whole = start(project, search="random", seed=3)
        assert finish(whole) == 0
        straight = client.list_sweeps()[0].trial_records
    assert [t.point for t in broken] == [t.point for t in straight]
    assert [t.values for t in broken] == [t.values for t in straight]


def test_it_goes_on_with_the_code_that_it_began_with(project: Path) -> None:
    killed = kill_in_the_middle(project, search="random")
    (project / "helper.py").write_text("def lift(x):\n    return x + 1000\n")
    (project / "search_flow.py").unlink()
    code = (
        "from flowlearner.config import get_settings; from flowlearner.sweep.resume import resume_sweep; "
        f"resume_sweep({killed.id!r}, get_settings())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    with Client() as client:
        sweep = client.get_sweep(killed.id)
    assert sweep.counts == {"COMPLETED": TRIALS}
    assert all((t.values[0] or 0) < 10 for t in sweep.trial_records)
    assert sweep.node_executions["base"] == 1


def test_a_sweep_that_runs_is_not_taken_over(project: Path) -> None:
    process = start(project, search="random")
    sweep = wait_for(process, lambda s: s.counts.get("COMPLETED", 0) >= 1)
    with pytest.raises(UsageError, match="still runs"):
        resume_sweep(sweep.id, get_settings())
    assert finish(process) == 0


def test_one_interrupt_lets_trials_in_flight_end_and_the_rest_can_follow(project: Path) -> None:
    process = start(project, search="random")
    sweep = wait_for(process, lambda s: s.counts.get("COMPLETED", 0) >= 2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    with Client() as client:
        stopped = client.get_sweep(sweep.id)
        assert stopped.status is Status.CANCELLED
        assert set(stopped.counts) == {"COMPLETED"}
        assert stopped.counts["COMPLETED"] < TRIALS
        resume_sweep(sweep.id, get_settings())
        assert client.get_sweep(sweep.id).counts == {"COMPLETED": TRIALS}


def test_a_sweep_is_stopped_from_elsewhere(project: Path) -> None:
    process = start(project, search="random")
    sweep = wait_for(process, lambda s: s.counts.get("COMPLETED", 0) >= 2)
    with Client() as client:
        client.stop_sweep(sweep.id)
        process.communicate(timeout=60)
        stopped = client.get_sweep(sweep.id)
        assert stopped.status is Status.CANCELLED
        assert stopped.counts["COMPLETED"] < TRIALS
        with pytest.raises(UsageError, match="has ended"):
            client.stop_sweep(sweep.id)


def test_a_sweep_without_anything_left_says_so() -> None:
    sweep = sometimes.sweep(search="grid", threshold=100)
    with pytest.raises(UsageError, match="each of its 6 trials has ended"):
        resume_sweep(sweep.id, get_settings(), definition=sometimes)
    with pytest.raises(UsageError, match="no failed trial"):
        retry_sweep(sweep.id, get_settings(), definition=sometimes)


@operator(cache=False)
def pick(x: int, threshold: int) -> Metric:
    marker = Path(os.environ["FLOWLEARNER_HOME"]) / "mended"
    if x > threshold and not marker.exists():
        raise RuntimeError("the machine is broken")
    return float(x)


@workflow(executor="local")
def sometimes(x: Annotated[int, Range(1, 6)] = 1, threshold: int = 3) -> Metric:
    return pick(x, threshold)


def test_failed_trials_run_again_under_their_numbers(own_home: Path) -> None:
    first = sometimes.sweep(search="grid")
    assert first.counts == {"COMPLETED": 3, "FAILED": 3}
    kept = {t.number: t.run_id for t in first.trial_records}
    (own_home / "mended").touch()
    retry_sweep(first.id, get_settings(), definition=sometimes)
    again = first.refresh()
    assert again.counts == {"COMPLETED": 6}
    assert {t.number: t.run_id for t in again.trial_records} == kept
    assert again.node_executions == {"pick": 9}
    assert again.best.params["x"] == 6
    assert again.best.error is None


@operator
def double(x: int) -> int:
    return 2 * x


@workflow(executor="local")
def doubled(x: Annotated[int, Range(1, 3)] = 1) -> Metric:
    return pick(double(x), 3)


def test_what_a_trial_ran_before_it_ran_again_is_its_own(own_home: Path) -> None:
    sweep = doubled.sweep(search="grid")
    assert sweep.counts == {"COMPLETED": 1, "FAILED": 2}
    (own_home / "mended").touch()
    retry_sweep(sweep.id, get_settings(), definition=doubled)
    with Client() as client:
        runs = [client.get_run(t.run_id) for t in sweep.refresh().trial_records]
    nodes = [n for run in runs for n in run.record.nodes if n.name == "double"]
    assert [(n.status, n.cached, n.cached_from) for n in nodes] == [(Status.COMPLETED, False, None)] * 3
    assert sweep.node_executions == {"double": 3, "pick": 5}
    assert sweep.node_savings == {n: {"shared": 0, "reused": 0} for n in ("double", "pick")}


def test_who_read_a_sweep_before_another_process_went_on_with_it_does_not_run_it_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = kill_in_the_middle(project, search="random")
    code = (
        "from flowlearner.config import get_settings; from flowlearner.sweep.resume import resume_sweep; "
        f"resume_sweep({killed.id!r}, get_settings())"
    )

    def execute_after_another(*args: Any, **options: Any) -> str:
        subprocess.run([sys.executable, "-c", code], check=True, cwd=project, timeout=60)
        return execute_sweep(*args, **options)

    monkeypatch.setattr(resume, "execute_sweep", execute_after_another)
    with pytest.raises(UsageError, match="went on with it"):
        resume_sweep(killed.id, get_settings())
    with Client() as client:
        sweep = client.get_sweep(killed.id)
    assert sweep.status is Status.COMPLETED
    assert [t.number for t in sweep.trial_records] == list(range(TRIALS))
    assert sweep.node_executions["score"] <= TRIALS + 2 * (os.cpu_count() or 1)


def test_the_best_trial_alone_gives_the_same_value(project: Path) -> None:
    process = start(project, search="tpe")
    assert finish(process) == 0
    with Client() as client:
        best = client.list_sweeps()[0].best
    code = f"import search_flow; print(search_flow.search.run(**{dict(best.params)!r}).metrics['result'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, timeout=60
    )
    assert float(done.stdout) == best.metrics["result"], done.stderr


HOG = """
    import time
    from pathlib import Path
    from typing import Annotated
    from flowlearner import Metric, Range, operator, workflow

    @operator
    def score(x: int) -> Metric:
        if x > 1:
            Path("holding").touch()
            sum(range(10**12))
        time.sleep(0.3)
        return float(x)

    @workflow(executor="local")
    def search(x: Annotated[int, Range(1, 9)] = 1) -> Metric:
        return score(x)
"""


def test_a_result_is_recorded_before_an_operator_that_holds_the_interpreter_runs(tmp_path: Path) -> None:
    (tmp_path / "hog_flow.py").write_text(textwrap.dedent(HOG))
    code = "import hog_flow; hog_flow.search.sweep({'x': [1, 2]}, search='grid', parallel=1)"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "holding").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.communicate()
    with Client() as client:
        (sweep,) = client.list_sweeps()
    first = sweep.trial_records[0]
    assert (first.status, first.values) == (Status.COMPLETED, (1.0,))


def test_the_code_of_a_sweep_is_in_the_catalog_from_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*given: object, **options: object) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr("flowlearner.sweep.submit.Driver", die)
    with pytest.raises(RuntimeError, match="killed"):
        sometimes.sweep(trials=2)
    with Client() as client:
        (sweep,) = client.list_sweeps()
        assert sweep.record.code.snapshot is not None
        assert client.find_artifact(sweep.record.code.snapshot).codec == "snapshot/1"


FILES = """
    from pathlib import Path
    from flowlearner import File, Metric, operator, workflow

    @operator
    def count(files: list[File], more: list[File], limit: int) -> Metric:
        total = sum(len(Path(f).read_text()) for f in [*files, *more])
        if total > limit:
            raise ValueError(total)
        return total

    @workflow(executor="local")
    def counted(files: list[File], more: list[File], limit: int = 5) -> Metric:
        return count(files, more, limit)
"""


def test_lists_of_files_are_what_they_were_when_failed_trials_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file_flow.py").write_text(textwrap.dedent(FILES))
    for name in ("a", "bb", "ccc", "dddd"):
        Path(f"{name}.txt").write_text(name)
    counted = load_workflow("file_flow.py:counted")
    assert isinstance(counted, Workflow)
    more = [["a.txt"], ["ccc.txt", "dddd.txt"]]
    sweep = counted.sweep({"more": more}, search="grid", files=["bb.txt"], executor="local")
    assert sweep.counts == {"COMPLETED": 1, "FAILED": 1}
    Path("bb.txt").write_text("longer than it was")
    retry_sweep(sweep.id, get_settings())
    assert [t.values for t in sweep.refresh().trial_records] == [(3.0,), (None,)]
    failed = [t.error.message for t in sweep.trial_records if t.error]
    assert "9" in failed[0]
