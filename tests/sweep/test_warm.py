"""The cluster that is kept for sweeps: started once, found again, used, and stopped as a whole."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flowlearner import Client
from flowlearner.config import get_settings
from flowlearner.engine.guard import list_descendants
from flowlearner.errors import ServerError, StorageError
from flowlearner.lease import get_boot_id
from flowlearner.sweep.warm import RayInfo, ensure_ray, ensure_warm, find_warm, get_ray, stop_warm
from tests.engine.processes import is_running, wait_until

pytestmark = pytest.mark.timeout(240)

FLOW = """
from typing import Annotated
from flowlearner import Metric, Range, operator, workflow

@operator
def score(x: int) -> Metric:
    return float(x)

@workflow
def search(x: Annotated[int, Range(1, 3)] = 1) -> Metric:
    return score(x)
"""


@pytest.mark.slow
def test_a_sweep_uses_the_cluster_that_is_kept_and_leaves_it(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", server)
    (tmp_path / "warm_flow.py").write_text(FLOW)
    settings = get_settings()
    assert find_warm(settings) is None
    said: list[str] = []
    try:
        warm = ensure_warm(settings, said.append)
        assert said == ["Starting Ray for sweeps - stop it with `flowlearner down`"]
        assert ensure_warm(settings) == warm
        code = "import warm_flow; warm_flow.search.sweep(search='grid')"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert (done.returncode, done.stderr) == (0, "")
        with Client() as client:
            assert client.list_sweeps()[0].best.params == {"x": 3}
        assert find_warm(settings) == warm
        family = [warm.pid, *list_descendants(warm.pid)]
        assert len(family) > 3
    finally:
        assert stop_warm(settings)
    assert [pid for pid in family if is_running(pid)] == []
    assert get_ray(settings) == RayInfo("stopped")
    assert find_warm(settings) is None
    assert not stop_warm(settings)


@pytest.mark.slow
def test_two_at_once_start_one_cluster_and_of_one_whose_head_was_killed_nothing_is_left() -> None:
    settings = get_settings()
    said: list[str] = []
    try:
        threads = [threading.Thread(target=ensure_warm, args=(settings, said.append)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(said) == 1
        warm = ensure_warm(settings)
        family = [warm.pid, *list_descendants(warm.pid)]
        os.kill(warm.pid, signal.SIGKILL)
        wait_until(lambda: get_ray(settings).state == "stopped")
        again = ensure_warm(settings)
        assert get_ray(settings).state == "running"
        assert [pid for pid in family if is_running(pid)] == []
        family = [again.pid, *list_descendants(again.pid)]
        os.kill(again.pid, signal.SIGKILL)
        wait_until(lambda: get_ray(settings).state == "stopped")
        assert not stop_warm(settings)
        assert [pid for pid in family if is_running(pid)] == []
    finally:
        stop_warm(settings)


@pytest.mark.slow
def test_a_cluster_whose_starter_was_killed_is_known_and_stopped(tmp_path: Path) -> None:
    settings = get_settings()
    code = "from flowlearner.config import get_settings; from flowlearner.sweep.warm import ensure_warm; "
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen([sys.executable, "-c", f"{code}ensure_warm(get_settings())"], env=path) as starter:
        try:
            wait_until(lambda: get_ray(settings).pid)
        finally:
            starter.kill()
    info = get_ray(settings)
    assert info.state == "starting"
    assert info.pid is not None
    assert is_running(info.pid)
    assert stop_warm(settings)
    assert not is_running(info.pid)


def test_one_that_runs_but_takes_no_connections_is_unhealthy(own_home: Path) -> None:
    (own_home / "ray").mkdir()
    (own_home / "ray" / "ray.log").write_text("Ray runtime started.")
    with socket.socket() as taken, (own_home / "ray" / "ray.lock").open("w") as lock:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        note = {
            "pid": os.getpid(),
            "session": 1,
            "address": address,
            "spawned_at": 0.0,
            "boot_id": get_boot_id(),
        }
        (own_home / "ray" / "ray.json").write_text(json.dumps(note))
        assert get_ray(get_settings()).state == "stopped"
        fcntl.flock(lock, fcntl.LOCK_EX)
        info = get_ray(get_settings())
        assert (info.state, info.address, info.pid) == ("unhealthy", address, os.getpid())
        assert find_warm(get_settings()) is None
        taken.listen()
        assert get_ray(get_settings()).state == "running"


def test_a_configured_cluster_is_taken_as_it_is_and_none_is_started(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as theirs:
        theirs.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{theirs.getsockname()[1]}"
        monkeypatch.setenv("FLOWLEARNER_RAY_ADDRESS", address)
        assert get_ray(get_settings()) == RayInfo("unhealthy", address)
        with pytest.raises(ServerError, match=f"FLOWLEARNER_RAY_ADDRESS: nothing answers at {address}"):
            ensure_ray(get_settings())
        theirs.listen()
        ensure_ray(get_settings())
        assert get_ray(get_settings()) == RayInfo("external", address)
    assert not (own_home / "ray").exists()


def test_a_home_that_cannot_be_written_is_a_storage_error(own_home: Path) -> None:
    (own_home / "ray").write_text("a file where a folder is needed")
    with pytest.raises(StorageError, match="set FLOWLEARNER_HOME to another folder"):
        ensure_warm(get_settings())
