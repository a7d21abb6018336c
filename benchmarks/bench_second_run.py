"""Measures a second `flowlearner run` of five nodes, whole process, warm server, against a bare script."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pairs import collect_pairs, make_result, run_benchmark, time_once
from places import HERE, make_env, running_server

LIMIT_S = 1.0
CAPTURED: dict[str, Any] = {"capture_output": True, "text": True, "check": False}
COMMAND = [str(Path(sys.executable).with_name("flowlearner")), "run", "sides/five_flowlearner.py:five"]
SCRIPT = [sys.executable, "sides/five_prefect.py"]


def time_process(
    make_command: Callable[[int], list[str]], numbers: itertools.count[int], env: dict[str, str]
) -> float:
    """Seconds from start to end of a process that is given the next number, and whose answer is checked."""
    number = next(numbers)
    command = make_command(number)
    done: list[subprocess.CompletedProcess[str]] = []
    seconds = time_once(lambda: done.append(subprocess.run(command, cwd=HERE, env=env, **CAPTURED)))
    check_answer(done[0], number)
    return seconds


def check_answer(process: subprocess.CompletedProcess[str], number: int) -> None:
    """Both sides add 5 to the number by five nodes that were called in that process."""
    if process.returncode:
        raise RuntimeError(
            f"{process.args} ended with {process.returncode}:\n{process.stdout}{process.stderr}"
        )
    answer = json.loads(process.stdout)
    found = answer["outputs"]["result"]["value"] if isinstance(answer, dict) else answer
    assert found == number + 5, f"expected {number + 5}, found {found}"
    if isinstance(answer, dict):
        assert [node["cached"] for node in answer["nodes"]] == [False] * 5, "a node was not run"


def make_ours(number: int) -> list[str]:
    """The command as a user types it."""
    return [*COMMAND, "-p", f"number={number}", "--json"]


def make_peer(number: int) -> list[str]:
    """The bare script."""
    return [*SCRIPT, str(number)]


def measure(count: int) -> list[dict[str, Any]]:
    """Each process gets a number of its own, so that every node runs; the server and the home are warm."""
    # Values of nodes must differ between runs, or the cache would have them.
    numbers = itertools.count(start=100, step=100)
    with tempfile.TemporaryDirectory() as home, running_server(home) as url:
        env = make_env(home, url)
        ours = partial(time_process, make_ours, numbers, env)
        pairs = collect_pairs(ours, partial(time_process, make_peer, numbers, env), count)
    extra_s = pairs.extra_median
    target = f"<= {LIMIT_S} s more (found {extra_s:.2f})"
    name = "second `flowlearner run` of 5 nodes, against a bare script"
    return [make_result(name, pairs, target, extra_s <= LIMIT_S)]


if __name__ == "__main__":
    sys.exit(run_benchmark(measure))
