"""A Prefect server that goes away in the middle of a run: the run ends as if it were there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowlearner import Client
from flowlearner.config import get_settings
from flowlearner.engine.local_server import _is_free
from flowlearner.engine.server import ensure_server, get_server, stop_server
from flowlearner.records import Status
from tests.engine.api import Api
from tests.engine.processes import wait_until

pytestmark = pytest.mark.slow

# Each task has three events; Prefect waits for eight seconds with each.
NODES = 12
FLOW = f"""
    import time
    from pathlib import Path
    from flowlearner import operator, workflow

    @operator(cache=False)
    def wait(folder: str) -> int:
        print("waiting")
        Path(folder, "ready").touch()
        while not Path(folder, "go").exists():
            time.sleep(0.02)
        return 0

    @operator(cache=False)
    def step(n: int) -> int:
        print("step", n)
        return n + 1

    @workflow
    def flow(folder: str) -> int:
        n = wait(folder)
        for _ in range({NODES}):
            n = step(n)
        return n
"""


@pytest.fixture
def url(own_home: Path) -> Iterator[str]:
    settings = get_settings()
    yield ensure_server(settings)
    stop_server(settings)


@pytest.fixture
def running(url: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run whose first node waits until `go` is there, and whose server was killed meanwhile."""
    (tmp_path / "flows.py").write_text(textwrap.dedent(FLOW))
    process = subprocess.Popen(
        [sys.executable, "-m", "flowlearner.cli.main", "run", "flows.py:flow", "-p", f"folder={tmp_path}"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until((tmp_path / "ready").exists)
        port = int(url.removesuffix("/api").rpartition(":")[2])
        pid = get_server(get_settings()).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        # Its threads, and with them its port, may outlast the process's main thread for a moment.
        wait_until(lambda: _is_free(port))
        yield process
    finally:
        process.kill()
        process.communicate()


def check_whole() -> str:
    """Check that the catalog has all of the run; return its id."""
    client = Client()
    (run,) = client.list_runs()
    run = client.get_run(run.id)
    assert run.status is Status.COMPLETED
    assert run.outputs.result == NODES
    assert {n.status for n in run.nodes} == {Status.COMPLETED}
    assert [line.message for line in client.logs(run.id)] == ["waiting", *(f"step {i}" for i in range(NODES))]
    return run.id


def test_a_run_whose_server_has_died_ends_soon_and_whole(
    running: subprocess.Popen[str], tmp_path: Path
) -> None:
    (tmp_path / "go").touch()
    begin = time.monotonic()
    _, err = running.communicate(timeout=100)
    # As long as a server that comes back is waited for, and not so long for each task.
    assert time.monotonic() - begin < 60
    assert running.returncode == 0, err
    assert "The run is recorded; Prefect does not know its end" in err
    assert "logging to API" not in err
    assert "Traceback" not in err
    check_whole()


def test_a_run_that_was_killed_while_its_server_was_away_has_crashed_on_both_sides(
    running: subprocess.Popen[str], url: str
) -> None:
    running.kill()
    running.wait()
    (run_id,) = Client().store_crashes()
    # The first run after that, or `flowlearner up`, starts it again.
    assert ensure_server(get_settings()) == url
    assert Client().catalog.get_run(run_id).status is Status.CRASHED
    assert Api(url).find_flow_run(run_id)["state_type"] == "CRASHED"


def test_a_run_whose_server_was_started_again_is_whole_on_both_sides(
    running: subprocess.Popen[str], url: str, tmp_path: Path
) -> None:
    assert ensure_server(get_settings()) == url
    (tmp_path / "go").touch()
    _, err = running.communicate(timeout=100)
    assert running.returncode == 0, err
    assert "fails or does not answer" not in err
    run_id = check_whole()
    api = Api(url)
    assert api.find_flow_run(run_id)["state_type"] == "COMPLETED"
    tasks = api.wait_for_tasks(run_id, NODES + 1)
    assert {t["state_type"] for t in tasks.values()} == {"COMPLETED"}
