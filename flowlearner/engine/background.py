"""What the services that run in the background have in common: begin and end, locks, logs, ports."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from flowlearner.errors import StorageError
from flowlearner.lease import get_boot_id

HOST = "127.0.0.1"


class Note(Protocol):
    """What is noted of a service when it starts; `boot_id` says since which start of the machine it holds."""

    @property
    def boot_id(self) -> str: ...


Noted = TypeVar("Noted", bound=Note)

POLL_S = 0.05
TAIL_LINES = 15

# The shell notes its own pid, then becomes the service.
_BECOME = (
    'printf \'{"pid": %d, "session": %d, %s\' "$$" "$1" "$3" > "$2.new" && '
    'mv "$2.new" "$2" && shift 3 && exec "$@"'
)
# The session's leader starts it and ends at once, so that it is nobody's child and nobody has to collect it.
_DETACH = '/bin/sh -c "$0" sh "$$" "$@" &'


def start_detached(
    command: Sequence[str], *, state_path: Path, note: str, lock: int, log_path: Path, env: Mapping[str, str]
) -> None:
    """Start a service as nobody's child, in a session of its own; it holds a lock for as long as it lives.

    Its pid and session are noted before it begins: at no moment does one run that nobody knows.

    Args:
        state_path: where it is noted, as JSON.
        note: what else is noted, JSON without its first brace.
        lock: descriptor of the lock, which is held already; what the service starts does not inherit it.

    Raises:
        OSError, subprocess.CalledProcessError: it cannot be started.
    """
    with log_path.open("wb") as log:
        subprocess.run(
            ["/bin/sh", "-c", _DETACH, _BECOME, str(state_path), note, *command],
            cwd=state_path.parent,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock],
            start_new_session=True,
            check=True,
        )


@contextlib.contextmanager
def writing_to(folder: Path, who: str) -> Iterator[None]:
    """Say what to do where a service cannot write its files.

    Args:
        who: the service and its verb, such as "Ray needs".

    Raises:
        StorageError: the disk refuses.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{who} to write to {folder}: {error.strerror}. "
            "Free some space or give access to it, or set FLOWLEARNER_HOME to another folder."
        ) from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int | None]:
    """Hold a lock while this lasts, and give its descriptor; None where another process holds it.

    A service that is started meanwhile and inherits the descriptor goes on holding it.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield lock
    finally:
        os.close(lock)


def read_note(path: Path, make: Callable[..., Noted]) -> Noted | None:
    """Return what was noted of a service since the machine was started; it may have ended."""
    try:
        note = make(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return note if note.boot_id == get_boot_id() else None


def is_held(path: Path) -> bool:
    """Say whether a living process holds a lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def send_signal(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended, and whose number another user's may have by now."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def wait_until(holds: Callable[[], bool], limit_s: float) -> bool:
    """Wait for a condition; return whether it came in time."""
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def tell_tail(log: Path, begin: int = 0, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log from a byte on, as a sentence for the end of a message."""
    with log.open("rb") as file:
        file.seek(begin)
        last = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()][-lines:]
    if not last:
        return f" Its log {log} says nothing."
    return f" The end of its log {log}:\n" + "\n".join(f"  {line}" for line in last)


def find_free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
