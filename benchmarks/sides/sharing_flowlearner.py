"""Our side of trials with work in common: a sweep, which finds by itself what they share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sides.ray_cluster import start_cluster
from sides.sharing import KINDS, Values, check_counts, load_numbers, make_features, make_rounds, train_at

from flowlearner import Metric, operator, workflow


@operator
def load(salt: int) -> np.ndarray:
    """What all trials begin with."""
    return load_numbers(salt)


@operator
def featurize(numbers: np.ndarray, kind: int) -> np.ndarray:
    """What half of them have in common."""
    return make_features(numbers, kind)


@operator
def train(features: np.ndarray, strength: int) -> Metric:
    """What each does alone."""
    return train_at(features, strength)


@workflow
def search(salt: int = 0, kind: int = 0, strength: int = 0) -> Metric:
    """A trial of three calls."""
    return train(featurize(load(salt), kind), strength)


def make(executor: str, strengths: str) -> Callable[[], float]:
    """Rounds of a sweep with threads ("local"), or on a cluster that is there before ("ray")."""
    if executor == "ray":
        start_cluster()
    count = int(strengths)

    def run(salt: int) -> Values:
        space = {"kind": list(range(KINDS)), "strength": list(range(count))}
        sweep = search.sweep(space, search="grid", executor=executor, salt=salt)
        check_counts(sweep.node_executions, count)
        return {(t.point["kind"], t.point["strength"]): t.values[0] or 0.0 for t in sweep.trial_records}

    return make_rounds(run, count)
