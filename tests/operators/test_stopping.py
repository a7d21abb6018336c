"""Sweeps over stock trainers that stop trials early, by what these report of rows that judge them."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import pytest

from flowlearner import Choice, Client, Metric, Model, Operator, Range, operator, workflow
from flowlearner.records import Status, find_curve
from operators.curves import list_judged
from operators.evaluate import evaluate_classification
from operators.predict import predict
from operators.train import train_forest, train_hist_gradient_boosting, train_sgd, train_xgboost

STEPS = 40


class Found(NamedTuple):
    model: Model
    auc: Metric


@operator
def make_rows(seed: int, noise: float) -> pd.DataFrame:
    """Rows whose label tells less of the features the more noise there is."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(300, 2))
    late = x[:, 0] - x[:, 1] + noise * generator.normal(size=300) > 0
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "late": late.astype(int)})


@operator
def boost(rows: pd.DataFrame, valid: pd.DataFrame) -> Model:
    return train_xgboost(rows, "late", max_depth=2, rounds=STEPS, valid=valid)


@operator
def boost_by_histograms(rows: pd.DataFrame, valid: pd.DataFrame) -> Model:
    return train_hist_gradient_boosting(rows, "late", max_leaves=4, rounds=STEPS, valid=valid)


@operator
def plant(rows: pd.DataFrame, valid: pd.DataFrame) -> Model:
    return train_forest(rows, "late", trees=STEPS, max_depth=3, valid=valid)


@operator
def descend(rows: pd.DataFrame, valid: pd.DataFrame) -> Model:
    return train_sgd(rows, "late", epochs=STEPS, valid=valid)


@workflow(executor="local")
def search(
    noise: Annotated[float, Range(0, 10)] = 1.0,
    train: Annotated[Operator, Choice([boost, boost_by_histograms, plant, descend])] = boost,
) -> Found:
    valid = make_rows(1, noise)
    model = train(make_rows(0, noise), valid)
    return Found(model, evaluate_classification(predict(model, valid), "late").auc)


@pytest.mark.parametrize("train", [boost, boost_by_histograms, plant, descend])
def test_poor_trials_are_stopped_and_keep_their_curves(train: Operator) -> None:
    noises = [0.1, 4.0, 6.0, 8.0]
    sweep = search.sweep(
        {"noise": noises}, train=train, search="grid", metric="auc", stop="asha", parallel=1, trials=4
    )
    trials = {t.point["noise"]: t for t in sweep.trial_records}
    statuses = {noise: t.status for noise, t in trials.items()}
    assert statuses == {0.1: Status.COMPLETED, **dict.fromkeys(noises[1:], Status.PRUNED)}
    with Client() as client:
        curves = {n: find_curve(client.list_metric_points(t.run_id), "auc") for n, t in trials.items()}
    assert [step for step, _ in curves[0.1]] == list_judged(STEPS)
    assert sweep.best is not None
    assert curves[0.1][-1][1] == pytest.approx(sweep.best.metrics["auc"])
    assert {n: curves[n][-1][0] for n in noises[1:]} == dict.fromkeys(noises[1:], 8)
    # What was stored is the whole model.
    assert len(predict(sweep.best.outputs.model, make_rows(2, 0.1))) == 300
