"""The catalog's pages for a browser: how the process that serves them is started, found again and stopped.

Streamlit is not imported here: it runs in a process of its own, which holds a lock for as long as it lives.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import flowlearner
from flowlearner.config import Settings
from flowlearner.engine.background import (
    HOST,
    find_free_port,
    is_held,
    locked,
    read_note,
    send_signal,
    start_detached,
    tell_tail,
    wait_until,
    writing_to,
)
from flowlearner.engine.endpoint import ask
from flowlearner.errors import ServerError, UsageError
from flowlearner.lease import get_boot_id

PORT = 8501
START_LIMIT_S = 60.0
STOP_LIMIT_S = 10.0
ANSWER_LIMIT_S = 3.0
# Beside the package that this is, also where a user's folder has the same name.
APP = Path(flowlearner.__file__).resolve().parents[1] / "ui" / "app.py"
OPTIONS = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.enableStaticServing": "false",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "theme.light.primaryColor": "#0b57d0",
    "theme.dark.primaryColor": "#58a6ff",
    "theme.headingFontSizes": '["1.9rem","1.5rem","1.25rem","1.1rem","1rem","1rem"]',
    "theme.metricValueFontSize": "1.4rem",
}


@dataclass(frozen=True)
class PagesInfo:
    """The pages as they are now.

    Attributes:
        state: "running", "starting", "unhealthy" where they do not answer, or "stopped".
        url: where a browser finds them; empty where they are stopped.
    """

    state: str
    url: str = ""
    pid: int | None = None
    started_at: datetime | None = None


@dataclass(frozen=True)
class _State:
    pid: int
    session: int
    port: int
    spawned_at: float
    boot_id: str

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


class _Files:
    """The files of one home's pages."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.home_path / "ui"
        self.state_path = self.folder / "ui.json"
        self.lock_path = self.folder / "ui.lock"
        self.log_path = self.folder / "ui.log"

    def make(self) -> None:
        """Make the folder.

        Raises:
            StorageError: the disk refuses.
        """
        with writing_to(self.folder, "The pages need"):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def read_state(self) -> _State | None:
        """Return what was noted last since the machine was started; it may have ended."""
        return read_note(self.state_path, _State)


def get_pages(settings: Settings) -> PagesInfo:
    """Look at the pages of this home, without starting them."""
    files = _Files(settings)
    if not is_held(files.lock_path):
        return PagesInfo("stopped")
    state = files.read_state()
    if state is None:
        return PagesInfo("starting")
    since = datetime.fromtimestamp(state.spawned_at, UTC)
    if _answers(state.url):
        return PagesInfo("running", state.url, state.pid, since)
    is_late = time.time() - state.spawned_at > START_LIMIT_S
    return PagesInfo("unhealthy" if is_late else "starting", state.url, state.pid, since)


def ensure_pages(settings: Settings, say: Callable[[str], None] = lambda _: None) -> PagesInfo:
    """Start the pages where they are not served, and wait until they answer.

    Safe to call from several processes at once: one starts them, the others wait.

    Raises:
        ServerError: they do not start.
        StorageError: the home cannot be written.
    """
    files = _Files(settings)
    files.make()
    if get_pages(settings).state == "unhealthy":
        stop_pages(settings)
    deadline = time.monotonic() + START_LIMIT_S
    _spawn(settings, files, say)
    while (info := get_pages(settings)).state != "running":
        if info.state == "stopped":
            raise ServerError(f"The pages do not start.{tell_tail(files.log_path)}")
        if time.monotonic() > deadline:
            stop_pages(settings)
            raise ServerError(
                f"The pages were not ready within {START_LIMIT_S:g} s.{tell_tail(files.log_path)}"
            )
        time.sleep(0.05)
    return info


def stop_pages(settings: Settings) -> bool:
    """Stop the pages; return whether they were served.

    Raises:
        ServerError: the process could not be ended.
    """
    files = _Files(settings)
    state, was_held = files.read_state(), is_held(files.lock_path)
    if state is None or not was_held:
        return was_held
    for number in (signal.SIGTERM, signal.SIGKILL):
        send_signal(state.pid, number)
        if wait_until(lambda: not is_held(files.lock_path), STOP_LIMIT_S):
            files.state_path.unlink(missing_ok=True)
            return True
    raise ServerError(f"The pages (pid {state.pid}) cannot be ended. End the process by hand.")


@contextlib.contextmanager
def serving(
    settings: Settings, port: int | None, host: str = HOST
) -> Iterator[tuple[str, Callable[[], int]]]:
    """Serve the pages while this lasts, as a child of this process.

    Yields:
        where a browser finds them, and a function that waits until they end by themselves.

    Raises:
        UsageError: the port is taken.
        ServerError: they do not start.
    """
    if port is not None and not _is_free(port, host):
        raise UsageError(f"--port {port}: it is taken; name another one, or none to have a free one chosen")
    chosen = port or _choose_port(None, host)
    url = f"http://{HOST if host in ('0.0.0.0', '::') else host}:{chosen}"
    process = subprocess.Popen(
        _make_command(chosen, host), env=_make_environment(settings), stdout=subprocess.DEVNULL
    )
    try:
        if not wait_until(lambda: process.poll() is not None or _answers(url), START_LIMIT_S):
            raise ServerError(f"The pages were not ready within {START_LIMIT_S:g} s.")
        if process.poll() is not None:
            raise ServerError(f"The pages do not start: Streamlit ended with status {process.returncode}.")
        yield url, process.wait
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _spawn(settings: Settings, files: _Files, say: Callable[[str], None]) -> None:
    with locked(files.lock_path) as lock:
        if lock is None:
            return
        try:
            before = files.read_state()
            files.state_path.unlink(missing_ok=True)
            say("Starting the catalog's pages - stop them with `flowlearner down`")
            # Links that people have kept go on to work where the port is still free.
            port = _choose_port(before.port if before else None, HOST)
            note = {"port": port, "spawned_at": time.time(), "boot_id": get_boot_id()}
            start_detached(
                _make_command(port, HOST),
                state_path=files.state_path,
                note=json.dumps(note)[1:],
                lock=lock,
                log_path=files.log_path,
                env=_make_environment(settings),
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise ServerError(f"The pages cannot be started: {error}") from error


def _make_command(port: int, host: str) -> list[str]:
    options = [f"--{name}={value}" for name, value in OPTIONS.items()]
    # -P: the folder that it runs in is data, not code.
    return [
        *(sys.executable, "-P", "-m", "streamlit", "run", str(APP)),
        *(f"--server.port={port}", f"--server.address={host}", *options),
    ]


def _make_environment(settings: Settings) -> dict[str, str]:
    return {**os.environ, "FLOWLEARNER_HOME": str(settings.home_path), "NO_COLOR": "1"}


def _choose_port(before: int | None, host: str) -> int:
    for port in (before, PORT):
        if port is not None and _is_free(port, host):
            return port
    return find_free_port()


def _is_free(port: int, host: str) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _answers(url: str) -> bool:
    return ask(f"{url}/_stcore/health", ANSWER_LIMIT_S).status == 200
