"""A process that is killed at any moment loses nothing that had ended, and its run goes on from there."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flowlearner import Client
from flowlearner.records import Status

FIVE = """
import os
import time
from flowlearner import operator, workflow

def note(name):
    with open("calls", "a") as file:
        file.write(f"{os.getpid()} {name}\\n")
    time.sleep(0.06)

@operator
def first(n: int) -> int:
    note("first")
    return n + 1

@operator(cache=False)
def spread(n: int) -> list[int]:
    note("spread")
    return [n] * 20_000

@operator
def total(n: list[int]) -> int:
    note("total")
    return sum(n)

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
START = """
import sys
import flowlearner.client, flowlearner.engine.submit
from five import five
print("ready", flush=True)
five.run(n=int(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_that_ended_is_lost_or_done_twice_and_no_result_is_wrong(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("five.py").write_text(FIVE)
    chance = random.Random(4)
    found: set[tuple[Status, int]] = set()
    for n in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", START, str(n)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0, 0.5))
        process.kill()
        process.communicate()
        if not (Path(os.environ["FLOWLEARNER_HOME"]) / "catalog.db").exists():
            continue
        for killed in client.list_runs(query=f"param.n = {n}"):
            killed.refresh()
            ended = {node.name for node in killed.nodes if node.status is Status.COMPLETED}
            found.add((killed.status, len(ended)))
            if killed.status is Status.COMPLETED:
                continue
            assert killed.status is Status.CRASHED
            Path("calls").write_text("")
            again = client.resume(killed.id)
            assert again.outputs.result == (n + 1) * 20_000 + n + 4
            calls = [line.split() for line in Path("calls").read_text().splitlines()]
            assert {name for pid, name in calls} == {node.name for node in again.nodes} - ended
            assert len(calls) == 5 - len(ended)
    assert len({count for _, count in found}) >= 3
    assert client.check_catalog() == []
