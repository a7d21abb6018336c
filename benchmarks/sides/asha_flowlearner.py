"""A sweep over a cheaper copy of the flights example, whose trainer reports the AUC as its trees grow.

Both sides are ours: one stops trials early, the other runs each to its end.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Annotated, NamedTuple

import pandas as pd
from pairs import time_once

from examples.flights import (
    AIRPORTS,
    FEATURES,
    FLIGHTS,
    PLANES,
    WEATHER,
    describe_timetable,
    join_airports,
    join_planes,
    join_recent_delays,
    join_weather,
    measure_recent_delays,
)
from flowlearner import Client, File, LogRange, Metric, Range, Sweep, operator, workflow
from operators.evaluate import evaluate_classification
from operators.features import encode
from operators.load import load_table
from operators.predict import predict
from operators.split import split_by_time
from operators.train import train_xgboost

TRIALS = 32
ROUNDS = 100
TRAIN_ROWS, TEST_ROWS = 30_000, 15_000
SPACE = ("max_depth", "eta", "column_share", "l2")


class Sample(NamedTuple):
    """Fewer rows to learn from and to judge by."""

    train: pd.DataFrame
    test: pd.DataFrame


@operator
def draw_sample(train: pd.DataFrame, test: pd.DataFrame) -> Sample:
    """Draw rows of each part, so that a trial takes about a second."""
    return Sample(train.sample(TRAIN_ROWS, random_state=0), test.sample(TEST_ROWS, random_state=0))


@operator
def train_and_judge(
    train: pd.DataFrame,
    test: pd.DataFrame,
    label: str,
    max_depth: int,
    eta: float,
    column_share: float,
    l2: float,
    turn: int,  # noqa: ARG001 - another one in each sweep, so that the cache has nothing of it
) -> Metric:
    """Train with the stock's trainer, which reports the AUC of the test rows as the trees grow."""
    model = train_xgboost(train, label, max_depth, eta, ROUNDS, column_share=column_share, l2=l2, valid=test)
    return evaluate_classification(predict(model, test, keep=[label]), label).auc


class Found(NamedTuple):
    """How good the model is."""

    auc: Metric


@workflow(executor="local")
def delays(
    rows: File = FLIGHTS,
    weather: File = WEATHER,
    planes: File = PLANES,
    airports: File = AIRPORTS,
    label: str = "late",
    max_depth: Annotated[int, Range(2, 8)] = 6,
    eta: Annotated[float, LogRange(0.01, 0.5)] = 0.1,
    column_share: Annotated[float, Range(0.3, 1.0)] = 1.0,
    l2: Annotated[float, LogRange(0.1, 100)] = 1.0,
    turn: int = 0,
) -> Found:
    """The features of the example, on a sample of its flights."""
    flights = load_table(rows)
    timetable = describe_timetable(flights, 15)
    known = join_recent_delays(timetable, measure_recent_delays(flights))
    known = join_weather(known, load_table(weather))
    ready = join_airports(join_planes(known, load_table(planes)), load_table(airports))
    parts = split_by_time(ready, "hour_start", 0.2)
    sample = draw_sample(parts.train, parts.test)
    features = encode(sample.train, sample.test, label, FEATURES, method="ordinal")
    auc = train_and_judge(features.train, features.test, label, max_depth, eta, column_share, l2, turn)
    return Found(auc)


def count_rounds(sweep: Sweep) -> int:
    """Count the rounds that the trials of a sweep have run: of each up to the last that it reported."""
    client = Client()
    points = (client.list_metric_points(t.run_id) for t in sweep.trial_records)
    return sum(max(p.step for p in curve if p.step is not None) for curve in points)


def make(stop: str) -> Callable[[], list[float]]:
    """Rounds of a sweep with early stopping ("asha") or without ("full"), each with the next seed.

    A round gives the boosting rounds that were run, the best AUC, and the seconds. A first run of one trial
    has made the features before.
    """
    seeds = itertools.count()
    delays.sweep(None, metric="auc", trials=1, search="random", seed=1_000_000, turn=-1)

    def measure() -> list[float]:
        seed = next(seeds)
        sweeps: list[Sweep] = []
        seconds = time_once(
            lambda: sweeps.append(
                delays.sweep(
                    list(SPACE),
                    metric="auc",
                    trials=TRIALS,
                    search="random",
                    stop="asha" if stop == "asha" else None,
                    seed=seed,
                    turn=2 * seed + (stop == "asha"),
                )
            )
        )
        counts, best = sweeps[0].counts, sweeps[0].find_best()
        assert sum(counts.values()) == TRIALS, counts
        assert set(counts) <= {"COMPLETED", "PRUNED"}, counts
        assert best is not None, "no trial has completed"
        rounds = count_rounds(sweeps[0])
        assert stop == "asha" or rounds == TRIALS * ROUNDS, rounds
        return [rounds, best.values[0] or 0.0, seconds]

    return measure
