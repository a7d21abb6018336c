"""A process that is killed at any moment loses nothing that had ended, and its run goes on from there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowlearner import Client
from flowlearner.records import Status
from tests.engine.processes import is_running, wait_until

FIVE = """
import os
import time
from flowlearner import operator, workflow

def note(name):
    with open("calls", "a") as file:
        file.write(f"{os.getpid()} {name}\\n")
    time.sleep(0.03)

@operator
def first(n: int) -> int:
    note("first")
    return n + 1

@operator(cache=False)
def spread(n: int) -> str:
    # Large enough for a file.
    note("spread")
    return f"{n} " * 40_000

@operator
def total(n: str) -> int:
    note("total")
    return sum(map(int, n.split()))

@operator
def beside(n: int) -> int:
    note("beside")
    return n + 3

@operator(effects=True)
def told(n: int, m: int) -> int:
    note("told")
    return n + m

@workflow(executor="local")
def five(n: int = 0) -> int:
    x = first(n)
    return told(total(spread(x)), beside(x))
"""
KILLS = 50
# Each run has a process of its own, which is forked once everything is loaded. It kills itself at one of the
# moments before and after whatever is done to disk or catalog, where it is told which.
FORKING = """
import functools
import os
import signal
import sys
import tempfile
from flowlearner.artifacts import ArtifactStore
from flowlearner.catalog import Catalog
from five import five

count = 0

def step(at):
    global count
    count += 1
    if count == at:
        os.kill(os.getpid(), signal.SIGKILL)

def around(owner, name, at):
    real = getattr(owner, name)

    @functools.wraps(real)
    def call(*args, **options):
        step(at)
        result = real(*args, **options)
        step(at)
        return result

    setattr(owner, name, call)

def run(n, at):
    for name in ("fsync", "replace", "link"):
        around(os, name, at)
    around(ArtifactStore, "put", at)
    for name in ("begin_lease", "begin_run", "record_nodes", "update_run", "finish_run", "store_crashes"):
        around(Catalog, name, at)
    five.run(n=n)
    with open("steps", "w") as file:
        file.write(str(count))

home = os.environ["FLOWLEARNER_HOME"]
with tempfile.TemporaryDirectory() as elsewhere:
    os.environ["FLOWLEARNER_HOME"] = elsewhere
    five.run()
os.environ["FLOWLEARNER_HOME"] = home
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        run(*map(int, line.split()))
        os._exit(0)
    print(pid, flush=True)
    # Not collected yet: its number stays its own.
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "five.py").write_text(FIVE)
    return tmp_path


Start = Callable[..., int]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start runs one after the other, by the number that they are given; each call returns the process."""
    command = [sys.executable, "-c", FORKING]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    given, told = process.stdin, process.stdout

    def begin(n: int, kills_at: int = 0) -> int:
        given.write(f"{n} {kills_at}\n")
        given.flush()
        return int(told.readline())

    yield begin
    process.communicate()


def run_whole(start: Start, n: int) -> None:
    pid = start(n)
    wait_until(lambda: not is_running(pid))


def resume_and_check(client: Client, n: int) -> tuple[Status, int] | None:
    """Go on with the run of a number, if there is one; return how it had ended, with how many nodes."""
    runs = client.list_runs(query=f"param.n = {n}", limit=None)
    if not runs:
        return None
    (killed,) = runs
    killed.refresh()
    ended = {node.name for node in killed.nodes if node.status is Status.COMPLETED}
    if killed.status is Status.COMPLETED:
        return Status.COMPLETED, len(ended)
    assert killed.status is Status.CRASHED
    Path("calls").write_text("")
    again = client.resume(killed.id)
    assert again.outputs.result == (n + 1) * 40_000 + n + 4
    calls = [line.split() for line in Path("calls").read_text().splitlines()]
    assert {name for pid, name in calls} == {node.name for node in again.nodes} - ended
    assert len(calls) == 5 - len(ended)
    return Status.CRASHED, len(ended)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_that_ended_is_lost_or_done_twice_and_no_result_is_wrong(
    start: Start, folder: Path, client: Client
) -> None:
    chance = random.Random(4)
    found: Counter[tuple[Status, int] | None] = Counter()
    run_whole(start, -1)
    begun = time.monotonic()
    run_whole(start, -2)
    whole_s = time.monotonic() - begun
    for n in range(KILLS):
        pid = start(n)
        # Before that nothing is recorded yet, mostly.
        time.sleep(chance.uniform(0.25, 1) * whole_s)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not is_running(pid))
        found[resume_and_check(client, n)] += 1
    assert len({way[1] for way in found if way is not None}) >= 3
    assert client.check_catalog() == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_kill_at_any_step_of_the_engine_loses_nothing(start: Start, folder: Path, client: Client) -> None:
    run_whole(start, 0)
    steps = int((folder / "steps").read_text())
    found: Counter[tuple[Status, int] | None] = Counter()
    for n in range(1, steps + 1):
        pid = start(n, kills_at=n)
        wait_until(lambda pid=pid: not is_running(pid))
        found[resume_and_check(client, n)] += 1
    assert set(found) == {None, *((Status.CRASHED, ended) for ended in range(6))}
    assert client.check_catalog() == []
