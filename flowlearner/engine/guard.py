"""Ends a child process, with everything that it has started, when the run's process dies.

Standard library only: a process that is nothing but a guard is made before the child loads anything.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def watch_parent(*inherited: int) -> None:
    """Make a process that kills this one's group and descendants when the other end of its input closes.

    Call it in the leader of a session whose standard input is a pipe that the parent alone holds open. The
    guard is nobody's child, so that user code that waits for its children does not meet it; it goes with its
    group. The standard input is empty afterwards.

    Args:
        inherited: descriptors whose end others wait for; the guard must not hold them open.
    """
    watched = os.getpid()
    between = os.fork()
    if between == 0:
        if os.fork() == 0:
            for fd in inherited:
                os.close(fd)
            _guard(watched)
        os._exit(0)
    os.waitpid(between, 0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)


def _guard(watched: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.read(0, 1)
    kill_family(watched)
    os._exit(0)


def kill_family(pid: int) -> None:
    """Kill the leader of a session, all that it has started, and what is in its group."""
    # Descendants are listed first: those in a session of their own are not in the group.
    for each in list_descendants(pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(each, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def list_descendants(pid: int) -> list[int]:
    """Return the children of a process, their children, and so on (Linux; empty elsewhere)."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found: list[int] = []
    todo = [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found
