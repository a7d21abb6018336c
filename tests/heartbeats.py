"""Processes whose heartbeats are short, and the beating processes beside them."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from flowlearner.catalog import Catalog
from flowlearner.config import get_settings
from tests.engine.processes import wait_until

BEAT_S = 0.4
# Put before a script: all runs of its process beat that often.
QUICK = f"import flowlearner.heartbeat\nflowlearner.heartbeat.BEAT_S = {BEAT_S}\n"
# The command line, with the arguments that follow.
QUICK_COMMANDS = f"{QUICK}import sys\nfrom flowlearner.cli.main import main\nsys.exit(main())\n"


def find_beating(pid: int) -> list[int]:
    """Return the beating processes of a process (Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if any(w.endswith(b"/beating.py") for w in words) and str(pid).encode() in words:
                found.append(int(path.parent.name))
    return found


def stop(pid: int) -> None:
    """Stop a process while it does not write: else nobody could, as long as it stands still."""
    with Catalog(get_settings().catalog_url) as catalog, catalog.batch():
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)


def stop_until_expired(pid: int) -> None:
    """Stop a process that runs something, and wait until its lease has run out."""
    stop(pid)
    with Catalog(get_settings().catalog_url) as catalog:
        owners = [r.process for r in [*catalog.list_runs(include_trials=True), *catalog.list_sweeps()]]
        owner = next(o for o in owners if o is not None and o.pid == pid)
        wait_until(lambda: catalog.has_expired(owner))
