"""The process that starts what schedules ask for: how it is started, found again and stopped.

The runner holds a lock on a file under `FLOWLEARNER_HOME/schedule` for as long as it lives, and so does every
process that it starts for a run: whoever can take a lock knows that its holder has ended, whatever ended it.
Prefect is not imported here, which would cost every command over a second; `worker` is what runs in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

from flowlearner.config import Settings
from flowlearner.engine.background import is_held, send_signal, tell_tail, wait_until, writing_to
from flowlearner.engine.server import ServerInfo
from flowlearner.errors import ServerError
from flowlearner.lease import find_process_start, is_process

MODULE = "flowlearner.schedule.worker"
POOL = "flowlearner"
START_LIMIT_S = 60.0
# A runner that has not asked for work for so long is not well.
SILENCE_LIMIT_S = 60.0
# From the request to end until runs are killed; the second request comes half-way.
END_LIMIT_S = 8.0
STOP_LIMIT_S = END_LIMIT_S + 7.0
LOCK_TRIES_S = 2.0
LOG_LIMIT_BYTES = 5 * 1024 * 1024

# A shell that ends at once starts it, so that the runner is nobody's child and nobody has to collect it.
_DETACH = '"$@" >>"$0" 2>&1 & echo $!'


@dataclass(frozen=True)
class RunnerInfo:
    """The runner as it is now.

    Attributes:
        state: "running", "starting", "unhealthy" where it has not asked for work for a minute, or "stopped".
        url: of the Prefect API that it serves; empty where it is stopped.
    """

    state: str
    pid: int | None = None
    url: str = ""
    started_at: datetime | None = None


@dataclass(frozen=True)
class RunnerState:
    """What the runner notes of itself.

    Attributes:
        pid_started: as in `lease`.
        spawned_at, asked_at: seconds since 1970; the latter is when it last asked for work, None before that.
    """

    pid: int
    pid_started: float | None
    url: str
    spawned_at: float
    asked_at: float | None = None


class RunnerFiles:
    """The files of one home's runner."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.home_path / "schedule"
        self.lock_path = self.folder / "runner.lock"
        self.state_path = self.folder / "runner.json"
        self.log_path = self.folder / "runner.log"
        self.running_path = self.folder / "running"

    def make(self) -> None:
        """Make the folders.

        Raises:
            StorageError: the disk refuses.
        """
        with writing_to(self.folder, "Schedules need"):
            self.running_path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def read_state(self) -> RunnerState | None:
        """Return what the runner noted that lives, None where none does."""
        if not is_held(self.lock_path):
            return None
        try:
            state = RunnerState(**json.loads(self.state_path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        # The note of one before, until the new one has written its own.
        lives = state.pid_started is None or is_process(state.pid, state.pid_started) is not False
        return state if lives else None

    def write_state(self, state: RunnerState) -> None:
        new = self.state_path.with_suffix(f".{os.getpid()}.new")
        new.write_text(json.dumps(asdict(state)), encoding="utf-8")
        new.replace(self.state_path)

    def forget_ended(self) -> None:
        """Remove what processes have left that were killed."""
        for path in self.running_path.glob("*"):
            if not is_held(path):
                path.unlink(missing_ok=True)

    def list_running(self) -> list[tuple[str, int]]:
        """Return the Prefect flow runs whose processes live, each with its pid."""
        found = []
        for path in self.running_path.glob("*") if self.running_path.is_dir() else ():
            if is_held(path):
                with contextlib.suppress(OSError, ValueError):
                    found.append((path.name, int(path.read_text())))
        return found


@contextlib.contextmanager
def held(path: Path, limit_s: float = LOCK_TRIES_S) -> Iterator[bool]:
    """Hold a lock that dies with this process; say whether it could be taken."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + limit_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # Somebody may only be looking whether it is held.
                if time.monotonic() > deadline:
                    yield False
                    return
                time.sleep(0.02)
            else:
                yield True
                return
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def marked_running(settings: Settings, flow_run_id: str) -> Iterator[None]:
    """Let everybody know for how long this process works at a flow run."""
    files = RunnerFiles(settings)
    files.make()
    path = files.running_path / flow_run_id
    with held(path):
        path.write_text(str(os.getpid()), encoding="utf-8")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def choose_pool(settings: Settings, server: ServerInfo) -> str:
    """Return the name of the work pool of this home's schedules on a server.

    Others may use a configured server too, and what they schedule is of no use here.
    """
    is_own = server.pid is not None or server.state == "stopped"
    if is_own:
        return POOL
    place = f"{socket.gethostname()}:{settings.home_path}"
    return f"{POOL}-{blake2b(place.encode(), digest_size=4).hexdigest()}"


def get_runner(settings: Settings) -> RunnerInfo:
    """Look at the runner of this home."""
    files = RunnerFiles(settings)
    state = files.read_state()
    if state is None:
        return RunnerInfo("starting" if is_held(files.lock_path) else "stopped")
    since = datetime.fromtimestamp(state.spawned_at, UTC)
    if state.asked_at is None:
        return RunnerInfo("starting", state.pid, state.url, since)
    is_silent = time.time() - state.asked_at > SILENCE_LIMIT_S
    return RunnerInfo("unhealthy" if is_silent else "running", state.pid, state.url, since)


def ensure_runner(settings: Settings, url: str, say: Callable[[str], None] = lambda _: None) -> RunnerInfo:
    """Start the runner of this home where none lives, and wait until it asks for work.

    Safe to call from several processes at once: one runner is left.

    Args:
        url: of the Prefect API that it shall serve; one that serves another is stopped first.
        say: is told in one line that it is being started.

    Raises:
        ServerError: it does not start.
        StorageError: the home cannot be written.
    """
    files = RunnerFiles(settings)
    files.make()
    info = get_runner(settings)
    if info.state == "unhealthy" or (info.url and info.url != url):
        stop_runner(settings)
        info = get_runner(settings)
    begin = files.log_path.stat().st_size if files.log_path.exists() else 0
    deadline = time.monotonic() + START_LIMIT_S
    if info.state == "stopped":
        say("Starting the process that runs schedules - stop it with `flowlearner down`")
        begin, pid = _spawn(files, url)
        started = find_process_start(pid) or 0.0
        while not is_held(files.lock_path):
            if time.monotonic() > deadline or is_process(pid, started) is False:
                raise ServerError(
                    f"The process that runs schedules does not start.{tell_tail(files.log_path, begin)}"
                )
            time.sleep(0.05)
    while (info := get_runner(settings)).state != "running":
        if info.state == "stopped":
            raise ServerError(
                f"The process that runs schedules ended at its start.{tell_tail(files.log_path, begin)}"
            )
        if time.monotonic() > deadline:
            stop_runner(settings)
            raise ServerError(
                f"The process that runs schedules was not ready within {START_LIMIT_S:g} s "
                f"and was stopped.{tell_tail(files.log_path, begin)}"
            )
        time.sleep(0.05)
    return info


def _spawn(files: RunnerFiles, url: str) -> tuple[int, int]:
    """Make the process; return where its part of the log begins, and its pid."""
    if files.log_path.exists() and files.log_path.stat().st_size > LOG_LIMIT_BYTES:
        files.log_path.replace(files.log_path.with_suffix(".log.1"))
    env = {
        **os.environ,
        "FLOWLEARNER_HOME": str(files.folder.parent),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
    }
    # -P: the folder that it runs in is data, not code.
    command = ["/bin/sh", "-c", _DETACH, str(files.log_path), sys.executable, "-P", "-m", MODULE]
    begin = files.log_path.stat().st_size if files.log_path.exists() else 0
    try:
        done = subprocess.run(
            command,
            cwd=files.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise ServerError(f"The process that runs schedules cannot be started: {error}") from error
    return begin, int(done.stdout)


def stop_runner(settings: Settings) -> bool:
    """Stop the runner and the runs that it has started; return whether one was running.

    Runs are asked to end in good order, and are recorded as cancelled.

    Raises:
        ServerError: it could not be ended.
    """
    files = RunnerFiles(settings)
    was_held = is_held(files.lock_path)
    state = files.read_state()
    if state is not None:
        send_signal(state.pid, signal.SIGTERM)
        if not wait_until(lambda: not is_held(files.lock_path), STOP_LIMIT_S):
            send_signal(state.pid, signal.SIGKILL)
            if not wait_until(lambda: not is_held(files.lock_path), STOP_LIMIT_S):
                raise ServerError(
                    f"The process that runs schedules (pid {state.pid}) cannot be ended. End it by hand."
                )
    # Those that a runner has left behind which was killed.
    end_running(files)
    return was_held


def end_running(files: RunnerFiles) -> None:
    """End the processes of all flow runs: they are asked twice, then killed."""
    for pause_s, number in (
        (END_LIMIT_S / 2, signal.SIGTERM),
        (END_LIMIT_S / 2, signal.SIGTERM),
        (1.0, signal.SIGKILL),
    ):
        left = files.list_running()
        for _, pid in left:
            send_signal(pid, number)
        if not left or wait_until(lambda: not files.list_running(), pause_s):
            return


def make_state(url: str) -> RunnerState:
    """Return what a runner notes when it begins: it is this process."""
    return RunnerState(os.getpid(), find_process_start(os.getpid()), url, time.time())
