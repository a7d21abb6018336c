"""Leases of processes that write: kept while they do, by a small process beside each; run out; taken over."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from flowlearner.catalog import Catalog
from flowlearner.lease import get_process_owner, is_alive, is_stopped
from flowlearner.records import Owner

BEAT_S = 10.0
LOOK_S = 0.1
SCRIPT = Path(__file__).with_name("beating.py")

# The shell goes at once, so that user code that waits for its children does not meet the beating process.
# That reads the shell's input, by way of 3: what a shell puts in the background has none of its own.
_DETACH = 'exec 3<&0; "$0" "$@" <&3 3<&- &'


@contextlib.contextmanager
def beating(catalog: Catalog, beat_s: float = BEAT_S) -> Iterator[None]:
    """Have the lease of this process renewed while this lasts.

    Safe to use from several threads at once; they share one beating process for each catalog.
    """
    beat = _Beat.of(catalog)
    with beat.lock:
        beat.users += 1
        if beat.users == 1:
            beat.pipe = _start(catalog, beat_s)
    try:
        yield
    finally:
        with beat.lock:
            beat.users -= 1
            if beat.users == 0 and beat.pipe is not None:
                # Its end is the end of the beating process.
                os.close(beat.pipe)
                beat.pipe = None


class _Beat:
    """What this process has for one catalog."""

    _all: ClassVar[dict[tuple[int, str], _Beat]] = {}
    _all_lock = threading.Lock()

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.pipe: int | None = None

    @classmethod
    def of(cls, catalog: Catalog) -> _Beat:
        # A forked child writes under a lease of its own.
        with cls._all_lock:
            return cls._all.setdefault((os.getpid(), catalog.url), _Beat())


def _start(catalog: Catalog, beat_s: float) -> int:
    owner = get_process_owner()
    renewal = catalog.begin_lease(owner, beat_s)
    order = asdict(renewal) | {"pid": owner.pid, "beat_s": beat_s}
    # What other databases need is not in the standard library.
    options = ["-I", "-S"] if renewal.path else ["-I"]
    theirs, ours = os.pipe()
    try:
        subprocess.run(
            ["/bin/sh", "-c", _DETACH, sys.executable, *options, str(SCRIPT)],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=True,
        )
        os.write(ours, json.dumps(order).encode() + b"\n")
    except (OSError, subprocess.CalledProcessError):
        # A run goes on without: only those who cannot see this process will take it for dead.
        pass
    finally:
        os.close(theirs)
    return ours


def is_gone(catalog: Catalog, owner: Owner) -> bool:
    """Say whether a process has ended, or, where that cannot be seen from here, has let its lease run out."""
    alive = is_alive(owner)
    return catalog.has_expired(owner) if alive is None else not alive


def may_take_over(catalog: Catalog, owner: Owner) -> bool:
    """Say whether another process may go on with what this one has begun: it is gone, or stopped."""
    return is_gone(catalog, owner) or catalog.has_expired(owner)


def wait_until_gone(catalog: Catalog, owner: Owner) -> bool:
    """Wait until what a process has begun may be taken over.

    Returns:
        False as soon as it is known to go on: it is seen to, or has renewed its lease.
    """
    before = catalog.find_beat(owner)
    while not may_take_over(catalog, owner):
        if (
            (is_alive(owner) and not is_stopped(owner))
            or catalog.find_beat(owner) != before
            or before is None
        ):
            return False
        time.sleep(LOOK_S)
    return True
