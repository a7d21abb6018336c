"""The Ray cluster that `flowlearner up` keeps on this machine, so that no sweep waits for one to start.

Ray is not imported here: `ray start` runs in a process of its own, which holds a lock as long as it lives.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flowlearner.capture import count_cpus
from flowlearner.config import Settings
from flowlearner.engine.background import (
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
from flowlearner.errors import ServerError
from flowlearner.lease import get_boot_id

START_LIMIT_S = 90.0
STOP_LIMIT_S = 20.0
KILL_LIMIT_S = 5.0
# From the lock until its holder has noted what it is.
NOTE_LIMIT_S = 10.0
ANSWER_LIMIT_S = 5.0
TAIL_LINES = 5
STARTED = b"Ray runtime started"


@dataclass(frozen=True)
class WarmCluster:
    """The cluster of one home, as it was noted when it started.

    Attributes:
        session: of all its processes.
        address: where drivers connect.
        spawned_at: seconds since 1970.
    """

    pid: int
    session: int
    address: str
    spawned_at: float
    boot_id: str


@dataclass(frozen=True)
class RayInfo:
    """The Ray cluster that sweeps would use, as it is now.

    Attributes:
        state: "running", "starting" or "stopped" for the kept one, "external" for a configured one,
            "unhealthy" for one that does not answer.
        address: where drivers connect; empty where it is stopped.
        pid: of the kept one.
    """

    state: str
    address: str = ""
    pid: int | None = None
    started_at: datetime | None = None


def get_ray(settings: Settings) -> RayInfo:
    """Look at the configured cluster, or else at the one that is kept, without starting one."""
    if settings.ray_address:
        state = "external" if _answers(settings.ray_address) else "unhealthy"
        return RayInfo(state, settings.ray_address)
    return _look(_Files(settings))


def _look(files: _Files) -> RayInfo:
    if not is_held(files.lock_path):
        return RayInfo("stopped")
    warm = files.read_state()
    if warm is None:
        return RayInfo("starting")
    state = "starting"
    if files.has_started():
        state = "running" if _answers(warm.address) else "unhealthy"
    return RayInfo(state, warm.address, warm.pid, datetime.fromtimestamp(warm.spawned_at, UTC))


def find_warm(settings: Settings) -> WarmCluster | None:
    """Return the kept cluster where it takes work, None where there is none."""
    files = _Files(settings)
    warm = files.read_state() if is_held(files.lock_path) and files.has_started() else None
    return warm if warm is not None and _answers(warm.address) else None


@contextlib.contextmanager
def attached_where_warm(settings: Settings) -> Iterator[str]:
    """Be attached to the cluster that sweeps use, where it is there already; give its address, else "".

    Its workers begin to load while this process loads what a sweep needs.

    Raises:
        ServerError: the configured cluster does not answer.
    """
    address = find_address(settings)
    with contextlib.ExitStack() as stack:
        if address:
            # Loaded only now: Ray takes its settings from the environment.
            cluster = importlib.import_module("flowlearner.sweep.cluster")
            stack.enter_context(cluster.attached(address))
        yield address


def find_address(settings: Settings) -> str:
    """Return the address of the configured cluster, or of the kept one; this process may connect then."""
    if settings.ray_address:
        return settings.ray_address
    warm = find_warm(settings)
    if warm is None:
        return ""
    _allow_connecting(settings)
    return warm.address


def _allow_connecting(settings: Settings) -> None:
    """Give this process, and what it starts, the token that the cluster asks for; before Ray is imported."""
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(_Files(settings).token_path)


def ensure_ray(settings: Settings, say: Callable[[str], None] = lambda _: None) -> None:
    """See that sweeps find a cluster: the configured one, or the kept one, which is started if need be.

    Raises:
        ServerError: it does not answer, or does not start.
        StorageError: the home cannot be written.
    """
    if not settings.ray_address:
        ensure_warm(settings, say)
    elif not _answers(settings.ray_address):
        raise ServerError(
            f"FLOWLEARNER_RAY_ADDRESS: nothing answers at {settings.ray_address}. Start the cluster, or "
            "leave the variable empty to use this machine."
        )


def ensure_warm(settings: Settings, say: Callable[[str], None] = lambda _: None) -> WarmCluster:
    """Start a cluster where none lives, and wait until it takes work.

    Safe to call from several processes at once: one starts it, the others wait for it.

    Raises:
        ServerError: it does not start.
        StorageError: the home cannot be written.
    """
    files = _Files(settings)
    files.make()
    if _look(files).state in ("unhealthy", "stopped"):
        # Of one that was killed something may be left.
        stop_warm(settings)
    deadline = time.monotonic() + START_LIMIT_S
    is_mine = _spawn(files, say)
    while (found := find_warm(settings)) is None:
        if not is_held(files.lock_path):
            raise ServerError(f"Ray does not start.{tell_tail(files.log_path, lines=TAIL_LINES)}")
        if time.monotonic() > deadline:
            if is_mine:
                stop_warm(settings)
            raise ServerError(
                f"Ray was not ready within {START_LIMIT_S:g} s.{tell_tail(files.log_path, lines=TAIL_LINES)}"
            )
        time.sleep(0.05)
    return found


def stop_warm(settings: Settings) -> bool:
    """Stop the kept cluster with all that runs on it; return whether one was running.

    Raises:
        ServerError: it could not be ended.
    """
    files = _Files(settings)
    deadline = time.monotonic() + NOTE_LIMIT_S
    while (warm := files.read_state()) is None and is_held(files.lock_path):
        if time.monotonic() > deadline:
            raise ServerError(f"Ray is being started, but does not note its pid in {files.state_path}.")
        time.sleep(0.05)
    was_held = is_held(files.lock_path)
    if warm is None:
        return was_held
    if was_held:
        send_signal(warm.pid, signal.SIGTERM)
        wait_until(lambda: not is_held(files.lock_path), STOP_LIMIT_S)
    # Where Ray's head was killed, some that it had started live on.
    for pid in _list_session(warm):
        send_signal(pid, signal.SIGKILL)
    if not wait_until(lambda: not _list_session(warm), KILL_LIMIT_S):
        raise ServerError(f"Ray (pid {warm.pid}) cannot be ended. End it by hand.")
    files.state_path.unlink(missing_ok=True)
    return was_held


def _list_session(warm: WarmCluster) -> list[int]:
    """Return the processes of a cluster that live (Linux; empty elsewhere)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session, *_ = stat.read_text(errors="replace").rpartition(")")[2].split()
            if int(session) == warm.session and state not in "ZX":
                found.append(int(stat.parent.name))
    # The leader of ours has ended: if there is one, its number was given to another session.
    return [] if warm.session in found else found


class _Files:
    """The files of one home's cluster."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.home_path / "ray"
        self.state_path = self.folder / "ray.json"
        self.lock_path = self.folder / "ray.lock"
        self.log_path = self.folder / "ray.log"
        self.token_path = self.folder / "token"

    def make(self) -> None:
        """Make the folder and the token.

        Raises:
            StorageError: the disk refuses.
        """
        with writing_to(self.folder, "Ray needs"):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(FileExistsError):
                descriptor = os.open(self.token_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w") as file:
                    file.write(secrets.token_hex(32))

    def read_state(self) -> WarmCluster | None:
        """Return what the last cluster has noted since the machine was started; it may have ended."""
        return read_note(self.state_path, WarmCluster)

    def has_started(self) -> bool:
        try:
            return STARTED in self.log_path.read_bytes()
        except OSError:
            return False


def _spawn(files: _Files, say: Callable[[str], None]) -> bool:
    """Start Ray's head as nobody's child, in a session of its own; return False where one holds the lock."""
    with locked(files.lock_path) as lock:
        if lock is None:
            return False
        try:
            files.state_path.unlink(missing_ok=True)
            say("Starting Ray for sweeps - stop it with `flowlearner down`")
            address = f"127.0.0.1:{find_free_port()}"
            note = json.dumps({"address": address, "spawned_at": time.time(), "boot_id": get_boot_id()})[1:]
            env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
            env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(files.token_path)}
            ray = [
                *(sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--head", "--block"),
                *(f"--port={address.rpartition(':')[2]}", "--node-ip-address=127.0.0.1"),
                *("--include-dashboard=false", "--disable-usage-stats"),
                *(f"--num-cpus={count_cpus()}", f"--temp-dir={find_ray_folder()}"),
            ]
            start_detached(
                ray,
                state_path=files.state_path,
                note=note,
                lock=lock,
                log_path=files.log_path,
                env=env,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise ServerError(f"Ray cannot be started: {error}") from error
    return True


def _answers(address: str) -> bool:
    return explain_silence(address, ANSWER_LIMIT_S) is None


def explain_silence(address: str, limit_s: float) -> str | None:
    """Say why nothing takes connections at an address; None where something does, or it names no port."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return None
    try:
        socket.create_connection((host, int(port)), timeout=limit_s).close()
    except OSError as error:
        return str(error.strerror or error)
    return None


def find_ray_folder() -> str:
    """Return where Ray keeps its sockets and logs: its sockets do not take long paths."""
    return os.path.join(tempfile.gettempdir(), f"flowlearner-ray-{os.getuid()}")
