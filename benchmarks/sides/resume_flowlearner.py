"""Both sides of going on with a killed run: the time to its first call, and that of a run that is new."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable

from sides.thousand import KILLED_AT, NODES, name_file, thousand

from flowlearner import Client

COMMAND = [sys.executable, "-m", "flowlearner.cli.main"]
RUN = [*COMMAND, "run", "sides/thousand.py:thousand", "--executor", "local", "-p"]
# What took no time shares a transaction, and is lost with it.
LOST = NODES // 4


def run_command(words: list[str]) -> int:
    """Run a command to its end, which need not be a good one."""
    return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode


def make(what: str, way: str) -> Callable[[], float]:
    """Rounds of a run that goes on ("resume") or is new ("run"), by the client or by the shell.

    Seconds from the call of the client, or the start of the command, to the first call of the operator.
    """
    client = Client()
    turns = itertools.count(0 if what == "resume" else 1000)

    def measure() -> float:
        turn = next(turns)
        killed = name_file("killed", turn)
        if what == "run":
            killed.touch()
        else:
            run_command([*RUN, f"turn={turn}"])
            assert killed.exists(), "the run was not killed"
            name_file("first", turn).unlink()
        before = client.list_runs(limit=1)
        began = time.time()
        if way == "shell":
            shell = [*COMMAND, "runs", "resume", before[0].id] if what == "resume" else [*RUN, f"turn={turn}"]
            assert run_command(shell) == 0
        elif what == "resume":
            client.resume(before[0].id)
        else:
            thousand.with_options(executor="local").run(turn=turn)
        (run,) = client.list_runs(limit=1)
        ran = sum(not node.cached for node in client.get_run(run.id).nodes)
        assert NODES - KILLED_AT <= ran <= NODES - KILLED_AT + LOST if what == "resume" else ran == NODES, ran
        return float(name_file("first", turn).read_text()) - began

    return measure
