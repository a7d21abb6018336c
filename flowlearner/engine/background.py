"""What the services that run in the background have in common: locks, logs, ports, and their end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

HOST = "127.0.0.1"
POLL_S = 0.05
TAIL_LINES = 15


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
