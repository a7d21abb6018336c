"""Leases of processes that write: kept while they do, by a small process beside each; run out; taken over."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from time import monotonic, sleep
from typing import ClassVar

from flowlearner.catalog import Catalog
from flowlearner.lease import get_process_owner, is_alive, is_dead, is_stopped
from flowlearner.records import Owner

BEAT_S = 10.0
LOOK_S = 0.1
# A beating process that has nothing to renew is kept for as long: to start one takes longer than a small run.
IDLE_S = 60.0
SCRIPT = Path(__file__).with_name("beating.py")

# The shell goes at once, so that user code that waits for its children does not meet the beating process.
# That reads the shell's input, by way of 3: what a shell puts in the background has none of its own.
_DETACH = 'exec 3<&0; "$0" "$@" <&3 3<&- &'


@contextlib.contextmanager
def beating(catalog: Catalog, beat_s: float | None = None) -> Iterator[None]:
    """Have the lease of this process renewed while this lasts.

    Safe to use from several threads at once.
    """
    beats = _Beats.of_process()
    beats.enter(catalog, BEAT_S if beat_s is None else beat_s)
    try:
        yield
    finally:
        beats.leave(catalog)


class _Beats:
    """The beating process of this one, and which leases it renews: one for each catalog in use."""

    _all: ClassVar[dict[int, _Beats]] = {}

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._users: Counter[bytes] = Counter()
        self._orders: dict[bytes, bytes] = {}
        self._line: socket.socket | None = None
        self._told_at = 0.0

    @classmethod
    def of_process(cls) -> _Beats:
        # A forked child writes under a lease of its own.
        return cls._all.setdefault(os.getpid(), _Beats())

    def enter(self, catalog: Catalog, beat_s: float) -> None:
        with self._lock:
            key = _get_key(catalog)
            if not self._users[key]:
                self._orders[key] = _make_order(catalog, beat_s)
                self._begin(key)
            self._users[key] += 1

    def leave(self, catalog: Catalog) -> None:
        if os.getpid() != self._pid:
            # A child was forked inside, and unwinds what its parent goes on with.
            return
        with self._lock:
            key = _get_key(catalog)
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._orders[key]
                self._tell(key + b"\n")

    def _begin(self, key: bytes) -> None:
        is_kept = len(self._orders) > 1 or monotonic() - self._told_at < IDLE_S / 2
        if is_kept and self._tell(self._orders[key]):
            return
        if self._line is not None:
            self._line.close()
        self._line = _start()
        for order in self._orders.values():
            self._tell(order)

    def _tell(self, text: bytes) -> bool:
        """Send a line to the beating process; False where it is gone."""
        self._told_at = monotonic()
        if self._line is None:
            return False
        try:
            self._line.sendall(text, getattr(socket, "MSG_NOSIGNAL", 0))
        except OSError:
            return False
        return True


def _get_key(catalog: Catalog) -> bytes:
    return catalog.url.encode().hex().encode()


def _make_order(catalog: Catalog, beat_s: float) -> bytes:
    renewal = catalog.begin_lease(get_process_owner(), beat_s)
    order = asdict(renewal)
    if not renewal.path:
        # What other databases need is not in the standard library.
        order["imports"] = sys.path
    return b"%s %r %s\n" % (_get_key(catalog), float(beat_s), json.dumps(order).encode())


def _start() -> socket.socket:
    """Start a beating process; return what it is told things by. It ends when that does."""
    command = [sys.executable or "", "-I", "-S", str(SCRIPT), str(os.getpid()), str(IDLE_S)]
    ours, theirs = socket.socketpair()
    atexit.register(ours.close)
    # A run goes on without: only those who cannot see this process will take it for dead.
    with theirs, contextlib.suppress(OSError, subprocess.CalledProcessError):
        subprocess.run(
            ["/bin/sh", "-c", _DETACH, *command],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=True,
        )
    return ours


def is_gone(catalog: Catalog, owner: Owner) -> bool:
    """Say whether a process has ended, or, where that cannot be seen from here, has let its lease run out."""
    alive = is_alive(owner)
    return catalog.has_expired(owner) if alive is None else not alive


def may_take_over(catalog: Catalog, owner: Owner) -> bool:
    """Say whether another process may go on with what this one has begun.

    It is gone, or has let its lease run out and is not seen to go on: it is stopped, or on another host.
    """
    return not _goes_on(owner) and (is_dead(owner) or catalog.has_expired(owner))


def wait_until_gone(catalog: Catalog, owner: Owner) -> bool:
    """Wait until what a process has begun may be taken over.

    Returns:
        False as soon as it is known to go on: it is seen to, or, where it cannot be seen, has renewed its
        lease; or it has none that could run out.
    """
    before = catalog.find_beat(owner)
    while not may_take_over(catalog, owner):
        beat = catalog.find_beat(owner)
        # Of one that is stopped the last heartbeat may come a moment later.
        is_heard_of = is_alive(owner) is None and beat != before
        if _goes_on(owner) or is_heard_of or beat is None:
            return False
        sleep(LOOK_S)
    return True


def _goes_on(owner: Owner) -> bool:
    return bool(is_alive(owner)) and not is_stopped(owner)
