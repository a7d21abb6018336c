"""Who writes a run, and whether that process still lives.

A pid alone says nothing: pids are used again, after a reboot at the latest. A process is known by its
host, its boot, its pid and the moment it started.
"""

from __future__ import annotations

import calendar
import os
import platform
import socket
import subprocess
import time
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from flowlearner.records import Owner

PROC = Path("/proc")
# Zombie and dead: the process has ended, though its parent has not collected it yet.
_ENDED = frozenset("ZXx")
_STOPPED = frozenset("Tt")
_PS_TIMEOUT_S = 10
# `ps` prints whole seconds, and Linux's counts them from a clock that may be adjusted.
_PS_TOLERANCE_S = 2.0
_PROC_TOLERANCE_S = 0.001


def get_process_owner() -> Owner:
    """Return the identity of this process, for the record of a run.

    Example:
        >>> is_alive(get_process_owner())
        True
    """
    pid = os.getpid()
    started = find_process_start(pid)
    return Owner(
        host=socket.gethostname(),
        pid=pid,
        pid_started=0.0 if started is None else started,
        boot_id=get_boot_id(),
    )


def is_alive(owner: Owner) -> bool | None:
    """Say whether a process still lives.

    Returns:
        None where that cannot be known from here: the process belongs to another host, or to another
        container of this one.
    """
    if owner.host != socket.gethostname():
        return None
    theirs, ours = _split_boot_id(owner.boot_id), _split_boot_id(get_boot_id())
    if theirs.machine != ours.machine:
        return None
    if theirs.boot != ours.boot:
        return False
    if theirs.namespace != ours.namespace:
        return None
    return is_process(owner.pid, owner.pid_started)


def is_dead(owner: Owner) -> bool:
    """Say whether a process is known to have ended."""
    return is_alive(owner) is False


def is_stopped(owner: Owner) -> bool:
    """Say whether a process of this host is stopped, by Ctrl-Z for example (Linux; False elsewhere)."""
    return _has_proc() and _read_proc(owner.pid)[0] in _STOPPED


def is_process(pid: int, started: float) -> bool | None:
    """Say whether `pid` is the process that started then: not ended, and not another one under its number.

    Args:
        started: what `find_process_start` gave.

    Returns:
        None where the process exists but its start is hidden from this user.
    """
    exists, found = _inspect(pid)
    if not exists or found is None:
        return None if exists else False
    return abs(found - started) <= (_PROC_TOLERANCE_S if _has_proc() else _PS_TOLERANCE_S)


def find_process_start(pid: int) -> float | None:
    """Return when a living process started, in seconds since boot (Linux) or since 1970."""
    return _inspect(pid)[1]


def find_process_age_s(pid: int) -> float | None:
    """Return for how long a living process has been running, the time that the machine slept included."""
    started = find_process_start(pid)
    if started is None:
        return None
    now = time.clock_gettime(time.CLOCK_BOOTTIME) if _has_proc() else time.time()
    return now - started


@lru_cache(maxsize=1)
def get_boot_id() -> str:
    """Return what tells this boot of this machine, and this pid namespace of it, from every other.

    Three parts joined by "/": machine, boot, namespace; a part that the system does not tell is empty.
    """
    if platform.system() == "Darwin":
        return "/".join(("", _run(["sysctl", "-n", "kern.bootsessionuuid"]).strip(), ""))
    try:
        namespace = str((PROC / "self/ns/pid").stat().st_ino)
    except OSError:
        namespace = ""
    machine = _read_text(Path("/etc/machine-id"))
    boot = _read_text(PROC / "sys/kernel/random/boot_id")
    return "/".join((machine, boot, namespace))


class _BootId(NamedTuple):
    machine: str
    boot: str
    namespace: str


def _split_boot_id(text: str) -> _BootId:
    parts = text.split("/")
    return _BootId(*parts) if len(parts) == 3 else _BootId("", text, "")


def _has_proc() -> bool:
    return (PROC / "self/stat").exists()


def _inspect(pid: int) -> tuple[bool, float | None]:
    """Return whether a process exists, and when it started as far as this user may know."""
    if pid <= 0:
        return False, None
    state, started = _read_proc(pid) if _has_proc() else _ask_ps(pid)
    if state:
        return (False, None) if state in _ENDED else (True, started)
    return _answers(pid), None


def _read_proc(pid: int) -> tuple[str, float | None]:
    try:
        # The command's name stands in parentheses and may hold spaces and parentheses itself.
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return "", None
    return fields[0], int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _ask_ps(pid: int) -> tuple[str, float | None]:
    state, _, started = _run(["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]).strip().partition(" ")
    try:
        return state[:1], float(calendar.timegm(time.strptime(started.strip(), "%a %b %d %H:%M:%S %Y")))
    except ValueError:
        return state[:1], None


def _run(command: list[str]) -> str:
    try:
        # Names of days in English, and no jump when the clocks change.
        env = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
        return subprocess.run(
            command, capture_output=True, text=True, env=env, timeout=_PS_TIMEOUT_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _read_text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
