"""Owns where benchmarks happen: environments without settings of the user, and servers of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flowlearner.config import Settings
from flowlearner.engine.server import ensure_server, stop_server

HERE = Path(__file__).resolve().parent


def make_env(home: str, prefect_url: str | None = None) -> dict[str, str]:
    """Return the environment of a side, equal for both: its own home, quiet, and no setting of the user."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("FLOWLEARNER_", "PREFECT_", "FLYTE_"))}
    env |= {
        "HOME": home,
        "FLOWLEARNER_HOME": home,
        "PREFECT_HOME": f"{home}/prefect-client",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Lines still go to the server; only the terminal is spared, on both sides.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "DO_NOT_TRACK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "KEDRO_DISABLE_TELEMETRY": "1",
    }
    if prefect_url is not None:
        env["PREFECT_API_URL"] = prefect_url
    return env


@contextmanager
def own_home() -> Iterator[dict[str, str]]:
    """Give the environment of sides with a home of their own; what they have started for it is stopped."""
    with tempfile.TemporaryDirectory() as home:
        env = make_env(home)
        try:
            yield env
        finally:
            command = [sys.executable, "-m", "flowlearner.cli.main", "down"]
            subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=True)


@contextmanager
def running_server(home: str) -> Iterator[str]:
    """Keep a local Prefect server of its own while a benchmark runs; gives the URL of its API."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(make_env(home))
    try:
        settings = Settings()
        try:
            yield ensure_server(settings)
        finally:
            stop_server(settings)
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def running_ray(env: Mapping[str, str]) -> Iterator[str]:
    """Keep a Ray cluster of two processors while a benchmark runs; gives its address."""
    port = find_free_port()
    # Its commands are in the package, whatever the PATH; `ray stop` would end the clusters of others, too.
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--head"]
    command += [
        "--block",
        f"--port={port}",
        "--num-cpus=2",
        "--include-dashboard=false",
        "--disable-usage-stats",
    ]
    head = subprocess.Popen(
        command, env=dict(env), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _await_port(port, head)
        yield f"127.0.0.1:{port}"
    finally:
        # It passes the signal on to what it has started.
        head.terminate()
        head.wait()


def find_free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"`ray start` ended with status {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("the Ray cluster does not answer after a minute")


def await_task_runs(url: str, batch: int, after: int) -> int:
    """Wait until a Prefect server has written down what it was told, and return how many task runs it has.

    It writes task runs some time after they have ended, and meanwhile turns the next flow away, which then
    tries again after two seconds: whoever came second would pay for the first.

    Args:
        url: of its API.
        batch: the number of task runs is a multiple of this once all are there.
        after: how many it had before.
    """
    last = after
    for _ in range(600):
        count = count_task_runs(url)
        if count > after and count % batch == 0 and count == last:
            return count
        last = count
        time.sleep(0.1)
    raise TimeoutError(f"the Prefect server has {last} completed task runs after a minute, expected more")


def count_task_runs(url: str) -> int:
    """Return how many completed task runs a Prefect server knows."""
    completed = {"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    request = urllib.request.Request(
        f"{url}/task_runs/count", json.dumps(completed).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return int(response.read())
