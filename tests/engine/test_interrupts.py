"""Signals, deaths and a full disk in the middle of a run, in processes of their own."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowlearner import Client
from flowlearner.records import Status
from tests.engine.processes import is_running, wait_until

pytestmark = pytest.mark.slow

FLOW = """
    import os, subprocess, sys, time
    from pathlib import Path
    from typing import NamedTuple
    from flowlearner import operator, workflow

    @operator
    def first(n: int) -> int:
        return n + 1

    @operator(isolate=True)
    def wait(folder: str, n: int) -> int:
        child = subprocess.Popen(["sleep", "600"])
        Path(folder, "pids").write_text(f"{os.getpid()} {child.pid}")
        Path(folder, "pids").rename(Path(folder, "ready"))
        while not Path(folder, "go").exists():
            time.sleep(0.02)
        child.kill()
        return n + 1

    @operator(isolate=True)
    def start(folder: str) -> int:
        near = subprocess.Popen(["sh", "-c", "sleep 600; :"])
        far = subprocess.Popen(["sleep", "600"], start_new_session=True)
        Path(folder, "pids").write_text(f"{os.getpid()} {near.pid} {far.pid}")
        Path(folder, "pids").rename(Path(folder, "ready"))
        return near.wait()

    @operator
    def sleep(folder: str, n: int) -> int:
        Path(folder, "ready").touch()
        time.sleep(600)
        return n

    @operator
    def last(n: int) -> int:
        return n + 1

    @workflow(executor="local")
    def flow(folder: str, n: int = 1) -> int:
        return last(wait(folder, first(n)))

    @workflow(executor="local")
    def sleeper(folder: str, n: int = 1) -> int:
        return last(sleep(folder, first(n)))

    @workflow(executor="local")
    def family(folder: str) -> int:
        return start(folder)

    if __name__ == "__main__":
        chosen = {"flow": flow, "sleeper": sleeper, "family": family}[sys.argv[1]]
        print(chosen.run(folder=sys.argv[2]).outputs.result)
"""


class Script:
    """The workflows above as a user's script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "script.py"
        self.path.write_text(textwrap.dedent(FLOW))
        self.started: list[subprocess.Popen[str]] = []

    def start(self, workflow: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(self.path), workflow, str(self.folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.started.append(process)
        return process

    def is_ready(self) -> bool:
        return (self.folder / "ready").exists()

    def read_pids(self) -> list[int]:
        return [int(p) for p in (self.folder / "ready").read_text().split()]

    def let_go(self) -> None:
        (self.folder / "go").touch()


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    made = Script(tmp_path)
    yield made
    for process in made.started:
        process.kill()
        process.wait()
        # Not `communicate`: what the killed process has started may still hold the pipes.
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def test_ctrl_c_ends_in_cancelled_with_the_children_gone(script: Script) -> None:
    process = script.start("flow")
    wait_until(script.is_ready)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode in (-signal.SIGINT, 130)
    assert "KeyboardInterrupt" in errors
    (run,) = Client().list_runs()
    assert run.status is Status.CANCELLED
    assert [n.status for n in run.refresh().nodes] == [Status.COMPLETED, Status.CANCELLED, Status.CANCELLED]
    assert [p for p in script.read_pids() if is_running(p)] == []


def test_a_node_that_cannot_be_stopped_does_not_hold_up_ctrl_c(script: Script) -> None:
    process = script.start("sleeper")
    wait_until(script.is_ready)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    (run,) = Client().list_runs()
    assert [n.status for n in run.refresh().nodes] == [Status.COMPLETED, Status.CANCELLED, Status.CANCELLED]


def test_sigterm_cancels_as_ctrl_c_does(script: Script) -> None:
    process = script.start("flow")
    wait_until(script.is_ready)
    process.terminate()
    process.communicate(timeout=30)
    assert Client().list_runs()[0].status is Status.CANCELLED
    assert [p for p in script.read_pids() if is_running(p)] == []


def test_a_killed_run_leaves_nothing_that_its_isolated_nodes_have_started(script: Script) -> None:
    process = script.start("family")
    wait_until(script.is_ready)
    pids = script.read_pids()
    assert all(is_running(p) for p in pids)
    process.kill()
    process.wait()
    wait_until(lambda: not any(is_running(p) for p in pids), 10)


def test_what_was_finished_before_a_kill_is_kept_and_hit(script: Script) -> None:
    process = script.start("flow")
    wait_until(script.is_ready)
    wait_until(lambda: len(Client().list_runs()[0].refresh().nodes) == 2)
    process.kill()
    process.wait(timeout=30)
    (crashed,) = Client().list_runs()
    assert crashed.status is Status.CRASHED
    assert [(n.name, n.status) for n in crashed.refresh().nodes] == [
        ("first", Status.COMPLETED),
        ("wait", Status.CRASHED),
    ]
    child, grandchild = script.read_pids()
    wait_until(lambda: not is_running(child))
    os.kill(grandchild, signal.SIGKILL)
    (script.folder / "ready").unlink()
    script.let_go()
    output, errors = script.start("flow").communicate(timeout=60)
    assert (output.strip(), errors) == ("4", "")
    assert [n.cached for n in Client().list_runs()[0].refresh().nodes] == [True, False, False]


def test_two_processes_with_the_same_keys_end_the_same(script: Script) -> None:
    script.let_go()
    ends = [p.communicate(timeout=60) for p in [script.start("flow") for _ in range(3)]]
    assert ends == [("4\n", "")] * 3
    runs = [r.refresh() for r in Client().list_runs()]
    assert [r.status for r in runs] == [Status.COMPLETED] * 3
    assert len({tuple(n.outputs[0].hash for n in r.nodes) for r in runs}) == 1


FULL = """
    import resource
    import numpy as np
    from flowlearner import PlatformError, operator, workflow

    @operator
    def small(n: int) -> int:
        return n + 1

    @operator
    def large(n: int) -> np.ndarray:
        # From here on no file may grow beyond 1 MB: what a full disk does, for this process alone.
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        return np.ones(1_000_000)

    @workflow(executor="local")
    def flow(n: int = 1) -> np.ndarray:
        return large(small(n))

    try:
        flow.run()
    except PlatformError as error:
        print(type(error).__name__, error)
"""


def test_a_full_disk_is_the_platforms_failure_and_keeps_what_was_finished(tmp_path: Path) -> None:
    path = tmp_path / "full.py"
    path.write_text(textwrap.dedent(FULL))
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.startswith("StorageError an artifact of type")
    (run,) = Client().list_runs()
    assert run.status is Status.FAILED
    assert [n.status for n in run.refresh().nodes] == [Status.COMPLETED, Status.FAILED]


LOCKED = """
    import functools, os, sqlite3, time
    from pathlib import Path
    import flowlearner.engine.submit as submit
    from flowlearner import CatalogError, operator, workflow
    from flowlearner.catalog import Catalog

    submit.Catalog = functools.partial(Catalog, busy_timeout_s=0.3)

    @operator
    def first(n: int) -> int:
        return n + 1

    @operator
    def lock(n: int) -> int:
        # Another process that has taken the catalog and does not let go.
        path = Path(os.environ["FLOWLEARNER_HOME"], "catalog.db")
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        deadline = time.monotonic() + 20
        while not other.execute("SELECT count(*) FROM node_run WHERE name = 'first'").fetchone()[0]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        other.execute("BEGIN IMMEDIATE")
        globals()["kept"] = other
        return n + 1

    @workflow(executor="local")
    def flow(n: int = 1) -> int:
        return lock(first(n))

    try:
        flow.run()
    except CatalogError as error:
        print(error)
"""


def test_a_locked_catalog_is_the_platforms_failure_and_keeps_what_was_written(
    tmp_path: Path, own_home: Path
) -> None:
    path = tmp_path / "locked.py"
    path.write_text(textwrap.dedent(LOCKED))
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert "locked: another process" in done.stdout
    (run,) = Client().list_runs()
    assert run.status is Status.CRASHED
    assert run.refresh().nodes[0].status is Status.COMPLETED
    with sqlite3.connect(own_home / "catalog.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_home_that_cannot_be_made_is_a_clear_error(tmp_path: Path, script: Script) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    command = [sys.executable, str(script.path), "flow", str(tmp_path)]
    environment = {**os.environ, "FLOWLEARNER_HOME": str(blocked / "home")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 1
    assert "StorageError" in done.stderr.splitlines()[-1]
    assert "Set FLOWLEARNER_HOME" in done.stderr.splitlines()[-1]
