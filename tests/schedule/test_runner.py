"""The runner's files: who holds a lock, whose notes are believed, and which work pool is whose."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowlearner.config import get_settings
from flowlearner.engine.server import ServerInfo
from flowlearner.errors import ServerError, StorageError
from flowlearner.schedule.runner import (
    POOL,
    RunnerFiles,
    choose_pool,
    ensure_runner,
    get_runner,
    held,
    is_held,
    make_state,
    marked_running,
    stop_runner,
)

HOLD = """
import sys
import time
from pathlib import Path
from flowlearner.schedule.runner import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""

LATE = """
import time
from dataclasses import replace
from flowlearner.config import get_settings
from flowlearner.schedule.runner import RunnerFiles, held, make_state
print("Traceback (most recent call last): of a run", flush=True)
time.sleep(0.5)
files = RunnerFiles(get_settings())
with held(files.lock_path):
    files.write_state(replace(make_state("http://127.0.0.1:1/api"), asked_at=time.time()))
    time.sleep(600)
"""


def test_a_lock_is_held_for_as_long_as_its_process_lives(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-c", HOLD, str(path)]
    assert not is_held(path)
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert is_held(path)
        with held(path, 0.1) as mine:
            assert not mine
        process.kill()
        process.wait()
    assert not is_held(path)
    with held(path) as mine:
        assert mine


def test_a_note_that_a_dead_runner_has_left_is_not_believed() -> None:
    settings = get_settings()
    files = RunnerFiles(settings)
    files.make()
    # Of this very process, which is no runner.
    files.write_state(make_state("http://127.0.0.1:1/api"))
    assert get_runner(settings).state == "stopped"
    assert stop_runner(settings) is False
    files.lock_path.touch()
    assert get_runner(settings).state == "stopped"


def test_a_runner_that_has_not_noted_anything_yet_is_starting() -> None:
    settings = get_settings()
    files = RunnerFiles(settings)
    files.make()
    files.state_path.write_text(json.dumps({"pid": 1}))
    with held(files.lock_path):
        assert get_runner(settings).state == "starting"
        files.write_state(make_state("http://127.0.0.1:1/api"))
        info = get_runner(settings)
        assert (info.state, info.pid, info.url) == ("starting", os.getpid(), "http://127.0.0.1:1/api")


def test_what_a_killed_process_has_left_is_forgotten() -> None:
    settings = get_settings()
    files = RunnerFiles(settings)
    with marked_running(settings, "here"):
        (files.running_path / "gone").write_text("1")
        assert files.list_running() == [("here", os.getpid())]
        files.forget_ended()
        assert [p.name for p in files.running_path.glob("*")] == ["here"]
    assert list(files.running_path.glob("*")) == []


def test_schedules_of_several_homes_on_one_configured_server_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ServerInfo("http://127.0.0.1:4200/api", 17, "unhealthy")
    shared = ServerInfo("https://prefect.example/api", None, "external")
    assert choose_pool(get_settings(), own) == POOL
    first = choose_pool(get_settings(), shared)
    assert first.startswith(f"{POOL}-")
    assert choose_pool(get_settings(), shared) == first
    monkeypatch.setenv("FLOWLEARNER_HOME", str(tmp_path))
    assert choose_pool(get_settings(), shared) != first


def test_a_home_that_cannot_be_written_is_a_storage_error(own_home: Path) -> None:
    (own_home / "schedule").write_text("a file where a folder is needed")
    with pytest.raises(StorageError, match="set FLOWLEARNER_HOME to another folder"):
        ensure_runner(get_settings(), "http://127.0.0.1:1/api")


def test_a_process_that_ends_at_its_start_is_told_with_the_end_of_its_log(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = RunnerFiles(get_settings())
    files.make()
    # Of a run that goes on without the runner before.
    files.log_path.write_text("Traceback (most recent call last): of old\n")
    monkeypatch.setattr("flowlearner.schedule.runner.MODULE", "flowlearner.schedule.nothing")
    with pytest.raises(
        ServerError, match=r"does not start\. The end of its log(.|\n)*No module named"
    ) as raised:
        ensure_runner(get_settings(), "http://127.0.0.1:1/api")
    assert "of old" not in str(raised.value)


def test_what_runs_write_to_the_log_meanwhile_is_no_failure_of_the_runner(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = RunnerFiles(get_settings())
    files.make()
    # A runner that takes its time, in whose log a run of the one before has a line.
    (tmp_path / "late_runner.py").write_text(LATE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path(__file__).resolve().parents[2]}")
    monkeypatch.setattr("flowlearner.schedule.runner.MODULE", "late_runner")
    try:
        assert ensure_runner(get_settings(), "http://127.0.0.1:1/api").state == "running"
    finally:
        assert stop_runner(get_settings())
