"""The driver that one would write by hand: random points or a grid, a table of its own, batched commits."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sides.ray_cluster import start_cluster
from sides.trials import Trial, make_rounds

BATCH = 100
FLYING = 32
COLUMNS = 200


def score(x: float, y: float) -> float:
    """As little as a trial can do."""
    return x + y


def iter_points(search: str, count: int, seed: int) -> Iterator[tuple[float, float]]:
    """Give the points of a round."""
    if search == "grid":
        rows = count // COLUMNS
        yield from itertools.product(
            [seed + i / rows for i in range(rows)], [i / COLUMNS for i in range(COLUMNS)]
        )
        return
    random = np.random.default_rng(seed)
    for _ in range(count):
        x, y = random.random(2)
        yield float(x), float(y)


def call_here(points: Iterable[tuple[float, float]]) -> Iterator[Trial]:
    """Make each trial in this thread."""
    for x, y in points:
        yield x, y, score(x, y)


def make_ray_caller() -> Callable[[Iterable[tuple[float, float]]], Iterator[Trial]]:
    """Return what makes each trial a Ray task, 32 of them in flight."""
    import ray

    start_cluster()
    remote = ray.remote(score)

    def call(points: Iterable[tuple[float, float]]) -> Iterator[Trial]:
        flying: dict[Any, tuple[float, float]] = {}
        for point in points:
            flying[remote.remote(*point)] = point
            if len(flying) >= FLYING:
                yield take(flying)
        while flying:
            yield take(flying)

    def take(flying: dict[Any, tuple[float, float]]) -> Trial:
        done, _ = ray.wait(list(flying), num_returns=1)
        return *flying.pop(done[0]), ray.get(done[0])

    return call


def make(search: str, count: str, executor: str) -> Callable[[], float]:
    """Rounds of a loop, its trials made in the same thread ("local") or by Ray ("ray")."""
    trials = int(count)
    call = make_ray_caller() if executor == "ray" else call_here
    path = Path(os.environ["FLOWLEARNER_HOME"], f"bare-{os.getpid()}.db")
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("CREATE TABLE trial (sweep INT, number INT, x REAL, y REAL, value REAL)")
    seeds: list[int] = []

    def run(seed: int) -> None:
        seeds[:] = [seed]
        rows = []
        for number, found in enumerate(call(iter_points(search, trials, seed))):
            rows.append((seed, number, *found))
            if len(rows) >= BATCH:
                write(rows)
        write(rows)

    def write(rows: list[Any]) -> None:
        with database:
            database.executemany("INSERT INTO trial VALUES (?, ?, ?, ?, ?)", rows)
        rows.clear()

    def read() -> list[Trial]:
        found = database.execute("SELECT x, y, value FROM trial WHERE sweep = ?", seeds)
        return [(x, y, value) for x, y, value in found]

    return make_rounds(run, read, trials)
