"""Owns the workflow of a thousand nodes that is killed midway: a grid of 100 layers of ten."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from flowlearner import operator, workflow

NODES, WIDTH = 1000, 10
KILLED_AT = NODES // 2


def name_file(what: str, turn: int) -> Path:
    """Where a turn leaves word: when its first node was called ("first"), that it was killed ("killed")."""
    return Path(os.environ["FLOWLEARNER_HOME"]) / f"{what}-{turn}"


def leave_word(turn: int, number: int) -> None:
    """Tell when the first node is called; kill the process in the middle, once in each turn."""
    first, killed = name_file("first", turn), name_file("killed", turn)
    if not first.exists():
        first.write_text(str(time.time()))
    if number == KILLED_AT and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)


@operator
def step(left: int, right: int, number: int, turn: int) -> int:
    """A node."""
    leave_word(turn, number)
    return max(left, right) + 1


@workflow
def thousand(turn: int) -> list[int]:
    """Each node reads two of the layer before."""
    layer = [step(number, number, number, turn) for number in range(WIDTH)]
    for begin in range(WIDTH, NODES, WIDTH):
        layer = [step(layer[i], layer[(i + 1) % WIDTH], begin + i, turn) for i in range(WIDTH)]
    return layer
