"""Renews the lease of another process for as long as that one lives. `heartbeat` starts it, as a script.

It is a process of its own, since one whose interpreter is held by a long call cannot say that it lives. Most
runs end before its first beat, so it loads only then what that needs: for SQLite the standard library.
"""

from __future__ import annotations

import os
import select
import sys
from time import monotonic

# `typing` is for readers and checkers of the code; it would take most of the time to load.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

INPUT = 0
# Where the catalog does not answer, there is time for more tries within a heartbeat.
RETRY_S = 1.0
BUSY_S = 5.0


def main() -> None:
    """Beat until the other end of the input closes, or the process is gone, or nothing is left to renew.

    A line of the input is `KEY PERIOD ORDER`, which begins to renew a lease, or `KEY`, which ends it. Its
    arguments are the process, and for how many seconds to stay where there is nothing to renew.
    """
    pid, idle_s = int(sys.argv[1]), float(sys.argv[2])
    _, begun = read_process(pid)
    gone = _watch(pid)
    # No folder is kept from being removed.
    os.chdir("/")
    leases: dict[bytes, Lease] = {}
    rest = b""
    while True:
        wait_s = min((lease.due for lease in leases.values()), default=monotonic() + idle_s) - monotonic()
        ready = select.select([INPUT, *gone], [], [], max(wait_s, 0))[0]
        if ready == [INPUT]:
            part = os.read(INPUT, 65536)
            if not part:
                return
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                key, *order = line.split(b" ", 2)
                leases.pop(key, None)
                if order:
                    leases[key] = Lease(float(order[0]), order[1])
            continue
        state, started = read_process(pid)
        if ready or not leases or state in "ZX" or started != begun:
            return
        for lease in leases.values():
            # Who waits for a process that is stopped may go on in its place.
            lease.beat(is_alive=state not in "Tt")


def _watch(pid: int) -> list[int]:
    """Return what can be read from once a process has ended, where the system has such a thing.

    The end of the input says the same, unless it has forked children that live on.
    """
    try:
        return [os.pidfd_open(pid)]
    except (AttributeError, OSError):
        return []


class Lease:
    """A lease that is renewed each `period_s`."""

    def __init__(self, period_s: float, text: bytes) -> None:
        self.due = monotonic() + period_s
        self._period_s = period_s
        self._text = text

    def beat(self, *, is_alive: bool) -> None:
        """Renew it, if it is time and the process does not stand still."""
        if monotonic() >= self.due:
            done = not is_alive or renew(self._text)
            self.due = monotonic() + (self._period_s if done else min(RETRY_S, self._period_s))


def read_process(pid: int) -> tuple[str, str]:
    """Return state and start of a process: "X" where it is gone, "R" where the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return fields[0], fields[19]
    except OSError:
        if os.path.exists("/proc/self/stat"):
            return "X", ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "X", ""
    except PermissionError:
        pass
    return "R", ""


def renew(text: bytes) -> bool:
    """Renew the lease; return False where that does not work now."""
    import json

    order = json.loads(text)
    return (_renew_in_file if order["path"] else _renew_elsewhere)(order, {"lease": order["lease"]})


def _renew_in_file(order: dict[str, Any], values: dict[str, str]) -> bool:
    import contextlib
    import sqlite3
    from pathlib import Path

    # Never made anew where it is gone.
    place = f"{Path(order['path']).as_uri()}?mode=rw"
    try:
        with contextlib.closing(sqlite3.connect(place, BUSY_S, uri=True)) as connection, connection:
            connection.execute(order["statement"], values)
    except sqlite3.Error:
        return False
    return True


def _renew_elsewhere(order: dict[str, Any], values: dict[str, str]) -> bool:
    # Packages are where the process that is watched has found them.
    sys.path[:] = order["imports"]
    import sqlalchemy

    # A server that no longer answers must not keep this process from seeing that the other one has ended.
    limits = {"connect_timeout": int(BUSY_S), "tcp_user_timeout": int(BUSY_S * 1000)}
    engine = sqlalchemy.create_engine(order["url"], poolclass=sqlalchemy.NullPool, connect_args=limits)
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(order["statement"]), values)
    except sqlalchemy.exc.SQLAlchemyError:
        return False
    return True


if __name__ == "__main__":
    main()
