"""Our side of boosted trees: a sweep over the grid, everything recorded."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pandas as pd
from sides.boosting import DEPTHS, ETAS, POINTS, make_rounds, train
from sides.ray_cluster import start_cluster

from flowlearner import Metric, operator, workflow


@operator
def train_trees(rows: pd.DataFrame, eta: float, max_depth: int, turn: int) -> Metric:  # noqa: ARG001
    """Train and judge; `turn` is another one in each round, so that the cache has nothing of it."""
    return train(rows, eta, max_depth)


@workflow
def boosting(rows: pd.DataFrame, eta: float = 0.1, max_depth: int = 6, turn: int = 0) -> Metric:
    """A trial of one call."""
    return train_trees(rows, eta, max_depth, turn)


def sweep_grid(rows: pd.DataFrame, executor: str, turn: int) -> list[float]:
    """Make all trials, and return the loss of each in the order of the points."""
    space = {"eta": list(ETAS), "max_depth": list(DEPTHS)}
    sweep = boosting.sweep(space, search="grid", mode="min", executor=executor, rows=rows, turn=turn)
    assert sweep.node_executions == {"train_trees": len(POINTS)}, sweep.node_executions
    found = {(t.point["eta"], t.point["max_depth"]): t.values[0] for t in sweep.trial_records}
    return [found[point] or 0.0 for point in POINTS]


def make(executor: str) -> Callable[[], float]:
    """Rounds of a sweep with threads ("local"), or on a cluster that is there before ("ray")."""
    if executor == "ray":
        start_cluster()
    turns = itertools.count()
    return make_rounds(lambda rows: sweep_grid(rows, executor, next(turns)))
