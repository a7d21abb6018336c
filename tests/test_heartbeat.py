"""Heartbeats: a process that works is not taken for dead, one that does not is, and nothing is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from flowlearner import heartbeat
from flowlearner.catalog import Catalog
from flowlearner.errors import CatalogError
from flowlearner.heartbeat import beating, is_gone, may_take_over, wait_until_gone
from flowlearner.lease import find_process_start, get_process_owner
from flowlearner.records import Owner
from tests.engine.processes import is_running, wait_until
from tests.heartbeats import BEAT_S, find_beating

OURS = get_process_owner()
ELSEWHERE = replace(OURS, host="elsewhere")
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/a name%20?#&.db"


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    with Catalog(url) as opened:
        yield opened


def age(catalog: Catalog, seconds: float) -> None:
    with catalog.database.write() as connection:
        connection.execute(text(f"UPDATE lease SET beat_us = beat_us - {round(seconds * 1e6)}"))


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(url: str) -> Iterator[Start]:
    """Start processes that do something while their hearts beat; each has begun when this returns."""
    processes: list[subprocess.Popen[str]] = []

    def begin(body: str, beat_s: float = BEAT_S) -> subprocess.Popen[str]:
        processes.append(start_one(url, body, beat_s))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def start_one(url: str, body: str, beat_s: float) -> subprocess.Popen[str]:
    code = f"""
import ctypes, multiprocessing, os, sys, time
from flowlearner.catalog import Catalog
from flowlearner.heartbeat import beating
catalog = Catalog({url!r})
with beating(catalog, {beat_s}):
    print("begun", flush=True)
{textwrap.indent(textwrap.dedent(body), "    ")}
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def find_owner(pid: int) -> Owner:
    started = find_process_start(pid)
    assert started is not None
    return replace(OURS, pid=pid, pid_started=started)


# A process that works


def test_a_process_that_holds_the_interpreter_for_long_keeps_its_lease(
    start: Start, catalog: Catalog
) -> None:
    process = start("ctypes.PyDLL(None).usleep(4_500_000)", beat_s=1.0)
    owner = find_owner(process.pid)
    beats = set()
    while process.poll() is None:
        assert not catalog.has_expired(owner)
        beats.add(catalog.find_beat(owner))
        time.sleep(0.05)
    process.communicate()
    assert process.returncode == 0
    assert len(beats) >= 4


def test_user_code_does_not_meet_the_beating_process(start: Start) -> None:
    body = """
    try:
        os.wait()
    except ChildProcessError:
        print("none")
    context = multiprocessing.get_context("fork")
    with context.Pool(1) as pool:
        print(pool.map(abs, [-1]), len(multiprocessing.active_children()))
    """
    process = start(body)
    assert process.stdout is not None
    assert process.stdout.read() == "none\n[1] 1\n"


def test_a_forked_child_that_ends_inside_leaves_its_parent_beating(start: Start, catalog: Catalog) -> None:
    process = start("if os.fork() == 0: sys.exit()\nos.wait()\nprint('forked', flush=True)\nsys.stdin.read()")
    assert process.stdout is not None
    process.stdout.readline()
    owner = find_owner(process.pid)
    before = catalog.find_beat(owner)
    wait_until(lambda: catalog.find_beat(owner) != before)
    process.communicate(timeout=60)


def test_a_forked_child_beats_for_itself(start: Start, catalog: Catalog) -> None:
    body = """
    if os.fork() == 0:
        with beating(catalog, 10):
            print(os.getpid(), flush=True)
            sys.stdin.read()
        os._exit(0)
    os.wait()
    """
    process = start(body)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert catalog.find_beat(find_owner(child)) is not None
    assert len(find_beating(child)) == 1
    process.communicate(timeout=60)


def test_runs_of_one_process_share_a_beating_process(catalog: Catalog, tmp_path: Path) -> None:
    with Catalog(f"sqlite:///{tmp_path}/other.db") as other:
        with beating(catalog, BEAT_S), beating(catalog, BEAT_S), beating(other, BEAT_S):
            (first,) = wait_for_one()
            times = [c.find_beat(OURS) for c in (catalog, other)]
            wait_until(lambda: all(c.find_beat(OURS) not in times for c in (catalog, other)))
        assert find_beating(OURS.pid) == [first]
        before = catalog.find_beat(OURS)
        with beating(other, BEAT_S):
            now = other.find_beat(OURS)
            wait_until(lambda: other.find_beat(OURS) != now)
            assert find_beating(OURS.pid) == [first]
        # Nobody renews what nobody uses.
        assert catalog.find_beat(OURS) == before


def wait_for_one() -> list[int]:
    wait_until(lambda: len(find_beating(OURS.pid)) == 1)
    return find_beating(OURS.pid)


def test_one_that_was_killed_is_replaced_for_the_next_run(catalog: Catalog) -> None:
    with beating(catalog, BEAT_S):
        (first,) = wait_for_one()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not is_running(first))
    with beating(catalog, BEAT_S):
        before = catalog.find_beat(OURS)
        wait_until(lambda: catalog.find_beat(OURS) != before)


def test_a_catalog_that_does_not_answer_fails_the_run_and_not_those_after_it(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise CatalogError("locked")

    with monkeypatch.context() as patch:
        patch.setattr(catalog, "begin_lease", fail)
        with pytest.raises(CatalogError), beating(catalog, BEAT_S):
            pass
    with beating(catalog, BEAT_S):
        before = catalog.find_beat(OURS)
        wait_until(lambda: catalog.find_beat(OURS) != before)


def test_a_catalog_that_is_locked_for_a_while_is_tried_again(catalog: Catalog) -> None:
    with beating(catalog, BEAT_S):
        before = catalog.find_beat(OURS)
        with catalog.batch():
            time.sleep(2 * BEAT_S)
        wait_until(lambda: catalog.find_beat(OURS) != before)


# A process that does not


@pytest.mark.parametrize("forks", [False, True])
def test_nothing_is_left_of_a_killed_process(start: Start, forks: bool) -> None:
    fork = "if os.fork() == 0: os.close(1); time.sleep(600)\n" if forks else ""
    process = start(f"{fork}print('ready', flush=True)\ntime.sleep(600)", beat_s=1000)
    assert process.stdout is not None
    process.stdout.readline()
    wait_until(lambda: find_beating(process.pid))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == forks
    process.kill()
    killed = time.monotonic()
    wait_until(lambda: not find_beating(process.pid))
    assert time.monotonic() - killed < 5
    process.wait()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    process.communicate()


def test_nothing_is_left_of_a_process_that_ends_well(start: Start) -> None:
    process = start("sys.stdin.read()", beat_s=1000)
    wait_until(lambda: find_beating(process.pid))
    process.communicate(timeout=60)
    assert process.returncode == 0
    wait_until(lambda: not find_beating(process.pid))


def test_one_that_nobody_needs_any_more_goes(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "IDLE_S", 0.5)
    monkeypatch.setattr(heartbeat._Beats, "_all", {})
    before = set(find_beating(OURS.pid))
    with beating(catalog, 10):
        wait_until(lambda: set(find_beating(OURS.pid)) - before)
    wait_until(lambda: set(find_beating(OURS.pid)) <= before)
    with beating(catalog, BEAT_S):
        beat = catalog.find_beat(OURS)
        wait_until(lambda: catalog.find_beat(OURS) != beat)


def test_a_stopped_process_lets_its_lease_run_out_and_renews_it_when_it_goes_on(
    start: Start, catalog: Catalog
) -> None:
    process = start("sys.stdin.read()")
    owner = find_owner(process.pid)
    assert not may_take_over(catalog, owner)
    os.kill(process.pid, signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
    assert wait_until_gone(catalog, owner)
    # It is seen to be there: nobody but who wants to go on with its work takes it for dead.
    assert not is_gone(catalog, owner)
    os.kill(process.pid, signal.SIGCONT)
    wait_until(lambda: not catalog.has_expired(owner))
    assert not wait_until_gone(catalog, owner)
    process.communicate(timeout=60)
    assert wait_until_gone(catalog, owner)


def test_the_last_heartbeat_of_a_stopped_process_may_come_a_moment_later(
    start: Start, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start("sys.stdin.read()", beat_s=1000)
    owner = find_owner(process.pid)
    os.kill(process.pid, signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
    pause, last = heartbeat.sleep, iter([0.01])

    def beat_once(seconds: float) -> None:
        for beat_s in last:
            catalog.begin_lease(owner, beat_s)
        pause(seconds)

    monkeypatch.setattr(heartbeat, "sleep", beat_once)
    assert wait_until_gone(catalog, owner)


def test_a_process_that_is_seen_to_go_on_is_not_taken_over_whatever_its_lease_says(catalog: Catalog) -> None:
    catalog.begin_lease(OURS, 10)
    age(catalog, 1000)
    assert catalog.has_expired(OURS)
    assert not may_take_over(catalog, OURS)
    assert not is_gone(catalog, OURS)
    assert not wait_until_gone(catalog, OURS)


def test_a_process_of_another_host_is_gone_once_its_lease_has_run_out(catalog: Catalog) -> None:
    catalog.begin_lease(ELSEWHERE, 0.3)
    assert not is_gone(catalog, ELSEWHERE)
    assert not may_take_over(catalog, ELSEWHERE)
    assert wait_until_gone(catalog, ELSEWHERE)
    assert is_gone(catalog, ELSEWHERE)


def test_who_waits_for_a_process_of_another_host_hears_that_it_lives(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.begin_lease(ELSEWHERE, 1000)
    monkeypatch.setattr(heartbeat, "sleep", lambda _: catalog.begin_lease(ELSEWHERE, 1000))
    assert not wait_until_gone(catalog, ELSEWHERE)


def test_a_process_of_another_host_that_never_had_a_lease_is_not_taken_for_dead(catalog: Catalog) -> None:
    assert not is_gone(catalog, ELSEWHERE)
    assert not may_take_over(catalog, ELSEWHERE)
    assert not wait_until_gone(catalog, ELSEWHERE)
