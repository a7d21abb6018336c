"""Renews the lease of another process for as long as that one lives. `heartbeat` starts it, as a script.

It is a process of its own, since one whose interpreter is held by a long call cannot say that it lives. For
SQLite it needs the standard library alone, and so begins at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sqlite3
import sys
from pathlib import Path
from typing import Any

# Where the catalog does not answer, there is time for more tries within a heartbeat.
RETRY_S = 1.0
BUSY_S = 5.0


def main() -> None:
    """Beat until the other end of standard input closes, or the process is gone."""
    order = json.loads(sys.stdin.readline())
    first = read_process(order["pid"])
    wait_s = order["beat_s"]
    while not select.select([sys.stdin], [], [], wait_s)[0]:
        state, started = read_process(order["pid"])
        if state in "ZX" or started != first[1]:
            return
        # Who waits for a process that is stopped may go on in its place.
        done = state in "Tt" or renew(order)
        wait_s = order["beat_s"] if done else min(RETRY_S, order["beat_s"])


def read_process(pid: int) -> tuple[str, str]:
    """Return state and start of a process: "X" where it is gone, "R" where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return "X", ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "X", ""
    except PermissionError:
        pass
    return "R", ""


def renew(order: dict[str, Any]) -> bool:
    """Renew the lease; return False where that does not work now."""
    return (_renew_in_file if order["path"] else _renew_elsewhere)(order, {"lease": order["lease"]})


def _renew_in_file(order: dict[str, Any], values: dict[str, str]) -> bool:
    # Never made anew where it is gone.
    place = f"{Path(order['path']).as_uri()}?mode=rw"
    try:
        with contextlib.closing(sqlite3.connect(place, BUSY_S, uri=True)) as connection, connection:
            connection.execute(order["statement"], values)
    except sqlite3.Error:
        return False
    return True


def _renew_elsewhere(order: dict[str, Any], values: dict[str, str]) -> bool:
    import sqlalchemy

    engine = sqlalchemy.create_engine(order["url"], poolclass=sqlalchemy.NullPool)
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(order["statement"]), values)
    except sqlalchemy.exc.SQLAlchemyError:
        return False
    return True


if __name__ == "__main__":
    main()
