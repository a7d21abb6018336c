"""The local Prefect server: how it is started in the background, found again, and ended.

It is a detached process with its database, log and state under `FLOWLEARNER_HOME/prefect`. Its state file is
written by the process itself before it becomes the server, so that a starter that is killed leaves no server
that nobody knows.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter

from flowlearner.config import Settings
from flowlearner.engine.background import HOST, find_free_port, tell_tail, wait_until
from flowlearner.engine.endpoint import ask
from flowlearner.errors import ServerError, StorageError
from flowlearner.lease import find_process_age_s, find_process_start, get_boot_id, is_alive
from flowlearner.records import Owner

PREFERRED_PORT = 4200
START_LIMIT_S = 60.0
START_TRIES = 3
LOCK_LIMIT_S = 90.0
ANSWER_LIMIT_S = 30.0
STOP_LIMIT_S = 10.0
SPAWN_LIMIT_S = 10.0
LOG_LIMIT_BYTES = 5 * 1024 * 1024
# What a new server writes at least, its database and its log.
ROOM_BYTES = 1024 * 1024

# The shell notes its own pid, then becomes the server: at no moment does a server run that nobody knows.
_BECOME = 'printf \'{"pid": %d, %s\' "$$" "$2" > "$1.new" && mv "$1.new" "$1" && shift 2 && exec "$@"'
# A shell that ends at once starts it, so that the server is nobody's child and nobody has to collect it.
_DETACH = '/bin/sh -c "$0" sh "$@" &'


@dataclass(frozen=True)
class ServerState:
    """What is known of the local server's process.

    Attributes:
        home: the folder that it serves.
        spawned_at: seconds since 1970, taken just before the process was made.
        pid_started: as in `lease`; None until the server has answered once.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    pid: Annotated[int, Field(gt=0, lt=1 << 31)]
    host: str
    boot_id: str
    port: Annotated[int, Field(gt=0, lt=1 << 16)]
    home: str
    spawned_at: float
    pid_started: float | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/api"

    @property
    def lives(self) -> bool:
        """Whether the process still runs and is that process."""
        if self.pid_started is not None:
            return is_alive(Owner(self.host, self.pid, self.pid_started, self.boot_id)) is True
        # Never confirmed: then its age must fit, give or take what a loaded machine needs for a fork.
        age = find_process_age_s(self.pid)
        return age is not None and abs(time.time() - self.spawned_at - age) < SPAWN_LIMIT_S

    @property
    def is_starting(self) -> bool:
        """Whether it has never answered and still has time to."""
        return self.pid_started is None and time.time() - self.spawned_at < START_LIMIT_S

    def answers(self, limit_s: float) -> bool:
        """Ask the server, while its process runs, until it answers or the time is over."""
        deadline = time.monotonic() + limit_s
        while True:
            left = deadline - time.monotonic()
            if ask(f"{self.url}/health", max(left, 0.1)).status == 200:
                return True
            if left <= 0 or not self.lives:
                return False
            time.sleep(min(0.1, left))

    def end(self) -> None:
        """End the server's process and whatever it has started."""
        try:
            group = os.getpgid(self.pid)
        except ProcessLookupError:
            return
        if group == os.getpgrp() or group != os.getsid(self.pid):
            group = 0
        os.kill(self.pid, signal.SIGTERM)
        if not wait_until(lambda: not self.lives, STOP_LIMIT_S):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            if not wait_until(lambda: not self.lives, STOP_LIMIT_S):
                raise ServerError(
                    f"The local Prefect server (pid {self.pid}) cannot be ended. End it by hand."
                )
        if group:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)


_STATE = TypeAdapter(ServerState)


class _PortTaken(Exception):
    """Another process has the port by now."""


class LocalServer:
    """The server of one home: its files, and how it is started and ended."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.home_path / "prefect"
        self.state_path = self.folder / "server.json"
        self.log_path = self.folder / "server.log"

    def read_state(self) -> ServerState | None:
        """Return what the last starter noted; it may be of a process that has ended."""
        try:
            # What was damaged or written by hand is checked, not only parsed.
            return _STATE.validate_json(self.state_path.read_bytes())
        except (OSError, ValueError):
            return None

    def write_state(self, state: ServerState) -> None:
        new = self.state_path.with_suffix(f".{os.getpid()}.new")
        new.write_text(json.dumps(asdict(state)), encoding="utf-8")
        new.replace(self.state_path)

    def start(self, say: Callable[[str], None], wanted_port: int | None) -> ServerState:
        """Start the server, or wait for one that is being started."""
        with self._written(), self.locked(LOCK_LIMIT_S, say):
            state = self.read_state()
            if state is not None and state.lives:
                if Path(state.home) == self.folder:
                    return self._await_answer(state, say)
                if not Path(state.home).exists():
                    # The home was moved: its server still writes where the home no longer is.
                    state.end()
            if wanted_port:
                return self._start_on(
                    [wanted_port], say, f"port {wanted_port}, which PREFECT_API_URL names, is"
                )
            kept = [state.port] if state is not None and Path(state.home) == self.folder else []
            free = [port for port in [*kept, PREFERRED_PORT] if _is_free(port)]
            return self._start_on([*free, None, None][:START_TRIES], say, "every port that was tried is")

    def stop(self) -> bool:
        """Stop the server with all its processes; return whether one was running.

        Raises:
            ServerError: it could not be ended.
        """
        if not self.folder.is_dir():
            return False
        with contextlib.ExitStack() as stack:
            # A starter that hangs is no reason not to stop what it has started.
            with contextlib.suppress(ServerError):
                stack.enter_context(self.locked(STOP_LIMIT_S))
            state = self.read_state()
            if state is None or not state.lives:
                return False
            state.end()
            return True

    def _start_on(self, ports: Sequence[int | None], say: Callable[[str], None], which: str) -> ServerState:
        """Try ports in turn; None lets the system choose one. `which` names them all for the error."""
        self._check_room()
        first_use = not (self.folder / "prefect.db").exists()
        cost = "first use; about 10 s" if first_use else "about 5 s"
        tried: int | None = None
        for choice in ports:
            port = choice or find_free_port()
            page = f"http://{HOST}:{port}"
            if tried is None:
                say(f"Starting a local Prefect server ({cost}): {page} - stop it with `flowlearner down`")
            else:
                say(f"Port {tried} is taken by now; the server will be at {page}")
            tried = port
            with contextlib.suppress(_PortTaken):
                return self._await_start(*self._spawn(port))
        raise ServerError(
            f"The local Prefect server cannot start: {which} taken by another process. "
            "End that process, or set PREFECT_API_URL to a server that runs."
        )

    def _spawn(self, port: int) -> tuple[ServerState, int]:
        """Make the process; return its state and where its part of the log begins."""
        self.state_path.unlink(missing_ok=True)
        self._shorten_log()
        known = {
            "host": socket.gethostname(),
            "boot_id": get_boot_id(),
            "port": port,
            "home": str(self.folder),
            "spawned_at": time.time(),
        }
        server = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
        command = ["/bin/sh", "-c", _DETACH, _BECOME, str(self.state_path), json.dumps(known)[1:], *server]
        with self.log_path.open("ab") as log:
            begin = log.tell()
            try:
                subprocess.run(
                    command,
                    cwd=self.folder,
                    env=self._make_env(port),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    check=True,
                )
            except (OSError, subprocess.CalledProcessError) as error:
                raise ServerError(f"The local Prefect server cannot be started: {error}") from error
        deadline = time.monotonic() + SPAWN_LIMIT_S
        while (state := self.read_state()) is None:
            if time.monotonic() > deadline:
                raise ServerError(
                    f"The local Prefect server cannot be started: {self.state_path} was not written."
                    + tell_tail(self.log_path, begin)
                )
            time.sleep(0.01)
        return state, begin

    def _await_start(self, state: ServerState, begin: int) -> ServerState:
        """Wait until a new server answers, and note when its process started."""
        deadline = time.time() + START_LIMIT_S
        pause = 0.05
        while True:
            if not state.lives:
                if not _is_free(state.port):
                    raise _PortTaken
                raise ServerError(
                    f"The local Prefect server ended while it was starting.{tell_tail(self.log_path, begin)}"
                )
            home = _ask_home(state.url)
            if home == str(self.folder):
                started = find_process_start(state.pid)
                confirmed = replace(state, pid_started=started)
                self.write_state(confirmed)
                return confirmed
            if home is not None:
                state.end()
                raise _PortTaken
            if time.time() > deadline:
                state.end()
                raise ServerError(
                    f"The local Prefect server did not answer within {START_LIMIT_S:g} s "
                    f"and was stopped.{tell_tail(self.log_path, begin)}"
                )
            time.sleep(pause)
            pause = min(pause * 1.3, 0.25)

    def _await_answer(self, state: ServerState, say: Callable[[str], None]) -> ServerState:
        """Wait for a server whose process runs."""
        if state.pid_started is None:
            say("Waiting for the local Prefect server, which another process began to start")
            return self._await_start(state, self._log_size())
        if not state.answers(2.0):
            say(f"Waiting for the local Prefect server at {state.url}, which does not answer at once")
            if not state.answers(ANSWER_LIMIT_S):
                raise ServerError(
                    f"The local Prefect server (pid {state.pid}, {state.url}) runs but does not answer "
                    f"within {ANSWER_LIMIT_S:g} s. Stop it with `flowlearner down`; a run starts another. "
                    f"Its log is {self.log_path}."
                )
        return state

    @contextlib.contextmanager
    def locked(self, limit_s: float, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
        """Hold the lock of starters and stoppers; it dies with its process."""
        descriptor = os.open(self.folder / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + limit_s
            waiting = False
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise ServerError(
                            f"Another process has been starting the local Prefect server for {limit_s:g} s. "
                            f"See {self.log_path}, or run `flowlearner down` and try again."
                        ) from None
                    if not waiting:
                        say("Waiting for the local Prefect server, which another process is starting")
                        waiting = True
                    time.sleep(0.05)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        """Make the folder; what the disk refuses becomes a StorageError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            yield
        except OSError as error:
            if error.errno not in (
                errno.EACCES,
                errno.EPERM,
                errno.EROFS,
                errno.ENOSPC,
                errno.EDQUOT,
                errno.ENOTDIR,
                errno.EEXIST,
                errno.ENOENT,
            ):
                raise
            raise StorageError(
                f"The local Prefect server needs to write to {self.folder}: {error.strerror}. "
                "Free some space or give access to it, or set FLOWLEARNER_HOME to another folder."
            ) from error

    def _check_room(self) -> None:
        """Raise OSError where the disk is full: a server there could not even say so in its log."""
        with tempfile.TemporaryFile(dir=self.folder) as probe:
            probe.write(bytes(ROOM_BYTES))
            probe.flush()

    def _make_env(self, port: int) -> dict[str, str]:
        """Return the caller's environment without what it sets for Prefect's client and for debugging."""
        dropped = (
            "PREFECT_",
            "PYTHONWARNINGS",
            "PYTHONDEVMODE",
            "PYTHONTRACEMALLOC",
            "PYTHONPROFILEIMPORTTIME",
        )
        env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        env |= {
            "PREFECT_HOME": str(self.folder),
            "PREFECT_SERVER_API_HOST": HOST,
            # Its pages ask this address, whatever port --port gives.
            "PREFECT_SERVER_API_PORT": str(port),
            # Else any page in the user's browser may talk to it.
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{HOST}:{port},http://localhost:{port}",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "NO_COLOR": "1",
            # The folder that it runs in is data, not code.
            "PYTHONSAFEPATH": "1",
        }
        found = importlib.util.find_spec("prefect")
        if (
            found is not None
            and found.origin
            and not os.access(Path(found.origin).parent / "server", os.W_OK)
        ):
            # Prefect unpacks its pages beside its code, which is read-only here.
            env["PREFECT_SERVER_UI_STATIC_DIRECTORY"] = str(self.folder / "ui")
        return env

    def _shorten_log(self) -> None:
        if self._log_size() > LOG_LIMIT_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))

    def _log_size(self) -> int:
        return self.log_path.stat().st_size if self.log_path.exists() else 0


def _ask_home(url: str) -> str | None:
    """Return the home of the Prefect server at an address; None where none answers, "" if it won't tell."""
    if ask(f"{url}/health", 2.0).status != 200:
        return None
    answer = ask(f"{url}/admin/settings", 10.0)
    try:
        return str(json.loads(answer.body)["home"])
    except (ValueError, KeyError, TypeError):
        return "" if answer.status else None


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
