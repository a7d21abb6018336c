"""Owns the processes that benchmarks compare: each side runs in a child of its own and measures when told to.

A side is a module of `sides` with a function `make`, which gets the words of the command line and returns a
callable: one round, checked, that gives the seconds that it took. So neither side carries what the other has
imported, and both stay warm between rounds.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

HERE = Path(__file__).resolve().parent


class SideFailed(Exception):
    """A side ended or raised; the message is its traceback."""


class Side:
    """One side in a process of its own. Use it as a context manager; calling it measures one round.

    Args:
        module: name of the module in `sides`.
        words: what its `make` is given.
        env: the environment of the process; this one's where it is left out.
        python: the interpreter, of an environment that has what the side needs; this one's if left out.
    """

    def __init__(
        self, module: str, *words: str, env: Mapping[str, str] | None = None, python: str = sys.executable
    ) -> None:
        self._command = [python, str(HERE / "side.py"), module, *words]
        self._env = env
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Side:
        self._process = subprocess.Popen(
            self._command,
            cwd=HERE,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self._receive()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *ignored: object) -> None:
        self._stop()

    def __call__(self) -> float:
        return float(self.measure())

    def measure(self) -> Any:
        """Measure one round, of a side that gives more than a number, too."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._receive()["amount"]

    def _stop(self) -> None:
        assert self._process is not None
        # The end of its input is the end of the side; this closes both pipes, too.
        self._process.communicate()

    def _receive(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SideFailed(f"{' '.join(self._command[2:])}: ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SideFailed(f"{' '.join(self._command[2:])}:\n{answer['error']}")
        return answer


def measure_once(module: str, *words: str, env: Mapping[str, str] | None = None) -> float:
    """Measure one round in a process that is made for it."""
    with Side(module, *words, env=env) as side:
        return side()


def serve(module: str, words: list[str], answers: TextIO) -> None:
    """Make a side and measure a round for each line of the standard input."""
    try:
        measure = importlib.import_module(f"sides.{module}").make(*words)
        send(answers, {"ready": True})
        for _ in sys.stdin:
            send(answers, {"amount": measure()})
    except Exception:  # noqa: BLE001 - whatever a side raises, its parent shows it
        send(answers, {"error": traceback.format_exc()})


def send(answers: TextIO, message: dict[str, Any]) -> None:
    """Write one answer."""
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    # What libraries print must not mix with the answers.
    with os.fdopen(os.dup(1), "w") as channel:
        os.dup2(2, 1)
        serve(sys.argv[1], sys.argv[2:], channel)
