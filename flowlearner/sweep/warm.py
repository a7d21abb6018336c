"""The Ray cluster that `flowlearner up` keeps on this machine, so that no sweep waits for one to start.

Ray is not imported here: `ray start` runs in a process of its own, and is found again by what is noted.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from flowlearner.capture import count_cpus
from flowlearner.config import Settings
from flowlearner.errors import ServerError, StorageError
from flowlearner.lease import find_process_start, is_process

START_LIMIT_S = 90.0
STOP_LIMIT_S = 20.0
TAIL_LINES = 5
STARTED = b"Ray runtime started"


@dataclass(frozen=True)
class WarmCluster:
    """The cluster of one home, as it was noted when it started.

    Attributes:
        pid_started: as in `lease`.
        address: where drivers connect.
    """

    pid: int
    pid_started: float
    address: str


def find_warm(settings: Settings) -> WarmCluster | None:
    """Return the cluster that lives, None where there is none."""
    try:
        found = WarmCluster(**json.loads(_state_path(settings).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if is_process(found.pid, found.pid_started) else None


def allow_connecting(settings: Settings) -> None:
    """Give this process, and what it starts, the token that the cluster asks for; before Ray is imported."""
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(_token_path(settings))


def ensure_warm(settings: Settings, say: Callable[[str], None] = lambda _: None) -> WarmCluster:
    """Start a cluster where none lives, and wait until it takes work.

    Raises:
        ServerError: it does not start.
        StorageError: the home cannot be written.
    """
    found = find_warm(settings)
    if found is not None:
        return found
    say("Starting Ray for sweeps - stop it with `flowlearner down`")
    log_path = _folder(settings) / "ray.log"
    try:
        log_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make_token(settings)
        log_path.write_bytes(b"")
    except OSError as error:
        raise StorageError(
            error.errno, f"Ray needs to write to {log_path.parent}: {error.strerror}"
        ) from error
    address = f"127.0.0.1:{_find_free_port()}"
    pid = _spawn(settings, address, log_path)
    started = find_process_start(pid) or 0.0
    deadline = time.monotonic() + START_LIMIT_S
    while STARTED not in log_path.read_bytes():
        if not is_process(pid, started) or time.monotonic() > deadline:
            _end(pid, started)
            tail = log_path.read_text(errors="replace").strip().splitlines()[-TAIL_LINES:]
            raise ServerError(f"Ray does not start. The end of its log {log_path}:\n" + "\n".join(tail))
        time.sleep(0.1)
    warm = WarmCluster(pid, started, address)
    _state_path(settings).write_text(json.dumps(asdict(warm)), encoding="utf-8")
    return warm


def stop_warm(settings: Settings) -> bool:
    """Stop the cluster with all that runs on it; return whether one was running."""
    found = find_warm(settings)
    if found is not None:
        _end(found.pid, found.pid_started)
    _state_path(settings).unlink(missing_ok=True)
    return found is not None


def _spawn(settings: Settings, address: str, log_path: Path) -> int:
    """Start Ray's head as nobody's child, in a session of its own; return its pid."""
    env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "NO_COLOR": "1", "RAY_AUTH_MODE": "token"}
    env |= {"RAY_AUTH_TOKEN_PATH": str(_token_path(settings)), "LOG": str(log_path)}
    # Ray's sockets do not take long paths.
    folder = Path(tempfile.gettempdir(), f"flowlearner-ray-{os.getuid()}")
    command = [
        *("/bin/sh", "-c", '"$0" "$@" >"$LOG" 2>&1 & echo $!'),
        *(sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *(f"--port={address.rpartition(':')[2]}", "--node-ip-address=127.0.0.1"),
        *("--include-dashboard=false", "--disable-usage-stats"),
        *(f"--num-cpus={count_cpus()}", f"--temp-dir={folder}"),
    ]
    try:
        done = subprocess.run(
            command,
            cwd=_folder(settings),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise ServerError(f"Ray cannot be started: {error}") from error
    return int(done.stdout)


def _end(pid: int, started: float) -> None:
    """Ask `ray start` to stop what it has started; kill its group where it does not in time."""
    for number, limit_s in ((signal.SIGTERM, STOP_LIMIT_S), (signal.SIGKILL, 2.0)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if number is signal.SIGKILL:
                os.killpg(os.getpgid(pid), number)
            else:
                os.kill(pid, number)
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            if not is_process(pid, started):
                return
            time.sleep(0.05)


def _make_token(settings: Settings) -> None:
    path = _token_path(settings)
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _folder(settings: Settings) -> Path:
    return settings.home_path / "ray"


def _state_path(settings: Settings) -> Path:
    return _folder(settings) / "ray.json"


def _token_path(settings: Settings) -> Path:
    return _folder(settings) / "token"
