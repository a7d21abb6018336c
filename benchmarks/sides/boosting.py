"""Owns the trials of boosted trees that all sides make: a grid of 64, on a table of 20,000 x 30.

Each trains 50 trees on one thread and gives the log loss on the last fifth; the table is the only thing that
they have in common.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pairs import time_once

ROWS, FEATURES, TREES = 20_000, 30, 50
TRAIN_ROWS = ROWS * 4 // 5
LABEL = "label"
DEPTHS = (2, 3, 4, 5)
ETAS = tuple(float(eta) for eta in np.exp(np.random.default_rng(1).uniform(np.log(0.03), np.log(0.3), 16)))
# Depths vary fastest, so that long trials and short ones are mixed.
POINTS = tuple(itertools.product(ETAS, DEPTHS))
CHECKED = (0, 21, 42, 63)


def make_table() -> pd.DataFrame:
    """Make a classification of numbers, of which a third says something."""
    random = np.random.default_rng(0)
    x = random.standard_normal((ROWS, FEATURES)).astype("float32")
    signal = x[:, :10] @ random.standard_normal(10) + x[:, 0] * x[:, 1]
    table = pd.DataFrame(x, columns=[f"f{i}" for i in range(FEATURES)])
    table[LABEL] = (signal + random.standard_normal(ROWS) > 0).astype("int64")
    return table


def train(rows: pd.DataFrame, eta: float, max_depth: int) -> float:
    """Train on all but the last fifth, and return the log loss there."""
    from sklearn.metrics import log_loss

    x, y = rows.drop(columns=LABEL), rows[LABEL]
    model = make_model(learning_rate=eta, max_depth=max_depth)
    model.fit(x.iloc[:TRAIN_ROWS], y.iloc[:TRAIN_ROWS])
    return float(log_loss(y.iloc[TRAIN_ROWS:], model.predict_proba(x.iloc[TRAIN_ROWS:])))


def make_model(**params: Any) -> Any:
    """Return a model that has not been trained."""
    import xgboost

    return xgboost.XGBClassifier(n_estimators=TREES, n_jobs=1, tree_method="hist", random_state=0, **params)


def make_rounds(run: Callable[[pd.DataFrame], Sequence[float]]) -> Callable[[], float]:
    """Return what measures one round; some losses are compared with those of training here.

    Args:
        run: trains at all points, and gives the loss of each in their order.
    """
    table = make_table()
    expected = [train(table, *POINTS[number]) for number in CHECKED]

    def measure() -> float:
        found: list[float] = []
        seconds = time_once(lambda: found.extend(run(table)))
        assert len(found) == len(POINTS), f"{len(found)} losses, expected {len(POINTS)}"
        assert len(set(found)) == len(POINTS), "two trials have the same loss"
        assert np.allclose([found[number] for number in CHECKED], expected), "a loss is another one"
        return seconds

    return measure
