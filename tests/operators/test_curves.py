"""What trainers report of rows that judge them while they learn, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import flowlearner
from flowlearner import InputError
from flowlearner.canonical import digest
from operators.curves import list_judged
from operators.evaluate import evaluate_classification, evaluate_regression
from operators.predict import predict
from operators.train import train_forest, train_hist_gradient_boosting, train_sgd, train_xgboost

FEATURES = ["a", "b", "noise"]
SIZES = {
    train_xgboost: "rounds",
    train_hist_gradient_boosting: "rounds",
    train_forest: "trees",
    train_sgd: "epochs",
}


def make_rows(count: int, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, 3))
    number = 2 * x[:, 0] - x[:, 1] + generator.normal(scale=1.0, size=count)
    third = np.digitize(number, [-1.0, 1.0])
    return pd.DataFrame(
        {"a": x[:, 0], "b": x[:, 1], "noise": x[:, 2], "late": (number > 0) * 1, "third": third, "y": number}
    )


ROWS, VALID = make_rows(400, 0), make_rows(150, 1)


@pytest.fixture
def curve(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is reported, in order."""
    points: list[dict[str, Any]] = []
    monkeypatch.setattr(flowlearner, "report", lambda **values: points.append(values))
    return points


TASKS = [("late", "classification"), ("third", "classification"), ("y", "regression")]


@pytest.mark.parametrize(("label", "task"), TASKS)
@pytest.mark.parametrize("train", SIZES)
class TestTrainers:
    def test_the_model_is_the_same_whether_it_is_judged_or_not(
        self, train: Any, label: str, task: str, curve: list[dict[str, Any]]
    ) -> None:
        values = {SIZES[train]: 21, "features": FEATURES, "task": task, "seed": 3}
        plain = train(ROWS, label, **values)
        assert not curve
        judged = train(ROWS, label, **values, valid=VALID)
        assert digest(judged) == digest(plain)
        assert vars(judged).keys() == vars(plain).keys()
        assert judged.get_params() == plain.get_params()
        assert np.array_equal(judged.predict(VALID[FEATURES]), plain.predict(VALID[FEATURES]))

    def test_the_last_report_is_what_the_evaluation_finds(
        self, train: Any, label: str, task: str, curve: list[dict[str, Any]]
    ) -> None:
        model = train(ROWS, label, **{SIZES[train]: 21}, features=FEATURES, task=task, valid=VALID)
        assert [p["step"] for p in curve] == list_judged(21)
        evaluate = evaluate_regression if task == "regression" else evaluate_classification
        scores = evaluate(predict(model, VALID, keep=[label]), label)._asdict()
        names = ["rmse", "mae"] if task == "regression" else ["auc", "logloss", "accuracy"]
        assert list(curve[-1]) == ["step", *names]
        assert {n: curve[-1][n] for n in names} == pytest.approx({n: scores[n] for n in names}, rel=1e-5)

    def test_an_earlier_report_is_that_of_the_smaller_model(
        self, train: Any, label: str, task: str, curve: list[dict[str, Any]]
    ) -> None:
        for size in (5, 21):
            train(ROWS, label, **{SIZES[train]: size}, features=FEATURES, task=task, valid=VALID, seed=1)
        assert curve[:5] == [pytest.approx(p, rel=1e-9) for p in curve[5:10]]


@pytest.mark.parametrize("train", SIZES)
class TestRowsThatJudge:
    def test_rows_of_one_class_have_no_auc(self, train: Any, curve: list[dict[str, Any]]) -> None:
        train(ROWS, "late", **{SIZES[train]: 2}, features=FEATURES, valid=VALID[VALID["late"] == 1])
        assert [list(p) for p in curve] == [["step", "logloss", "accuracy"]] * 2

    def test_an_unknown_class_is_refused(self, train: Any) -> None:
        with pytest.raises(
            InputError, match=r"input 'valid': label 'late' has the class 7, which .* do not have\. They have"
        ):
            train(ROWS, "late", features=FEATURES, valid=VALID.assign(late=7))

    def test_a_column_that_they_lack_is_named(self, train: Any) -> None:
        with pytest.raises(InputError, match=rf"{train.__name__}, input 'valid': .* no column 'noise'"):
            train(ROWS, "late", features=FEATURES, valid=VALID.drop(columns="noise"))

    def test_a_table_without_rows_is_refused(self, train: Any) -> None:
        with pytest.raises(InputError, match=r"input 'valid': expected at least 1 rows, found 0"):
            train(ROWS, "late", features=FEATURES, valid=VALID.head(0))

    def test_further_columns_and_another_order_do_no_harm(
        self, train: Any, curve: list[dict[str, Any]]
    ) -> None:
        for valid in (VALID, VALID[[*reversed(VALID.columns)]].assign(text="x")):
            train(ROWS[["late", *FEATURES]], "late", **{SIZES[train]: 2}, valid=valid)
        assert curve[:2] == curve[2:]


@pytest.mark.parametrize("train", [train_hist_gradient_boosting, train_forest, train_sgd])
def test_classes_may_be_text(train: Any, curve: list[dict[str, Any]]) -> None:
    rows, valid = (r.assign(late=np.where(r["late"] == 1, "yes", "no")) for r in (ROWS, VALID))
    model = train(rows, "late", **{SIZES[train]: 3}, features=FEATURES, valid=valid)
    scores = evaluate_classification(predict(model, valid, keep=["late"]), "late")
    assert curve[-1]["auc"] == pytest.approx(scores.auc)
    assert curve[-1]["accuracy"] == pytest.approx(scores.accuracy)


@pytest.mark.parametrize("kind", [bool, float, "Int64"])
@pytest.mark.parametrize("train", SIZES)
def test_the_label_may_be_of_another_type(train: Any, kind: Any, curve: list[dict[str, Any]]) -> None:
    for rows, valid in ((ROWS, VALID), (ROWS, VALID.astype({"late": kind}))):
        train(rows, "late", **{SIZES[train]: 2}, features=FEATURES, valid=valid)
    assert curve[:2] == curve[2:]


@pytest.mark.parametrize("train", [train_xgboost, train_hist_gradient_boosting, train_forest])
def test_rows_that_judge_may_have_gaps(train: Any, curve: list[dict[str, Any]]) -> None:
    valid = VALID.assign(a=VALID["a"].where(VALID.index % 4 > 0))
    model = train(ROWS, "late", **{SIZES[train]: 3}, features=FEATURES, valid=valid)
    scores = evaluate_classification(predict(model, valid, keep=["late"]), "late")
    assert curve[-1]["logloss"] == pytest.approx(scores.logloss, rel=1e-5)


def test_dart_is_judged_like_any_booster(curve: list[dict[str, Any]]) -> None:
    values: dict[str, Any] = {"rounds": 12, "booster": "dart", "subsample": 0.7, "features": FEATURES}
    model = train_xgboost(ROWS, "late", **values, valid=VALID)
    assert digest(model) == digest(train_xgboost(ROWS, "late", **values))
    scores = evaluate_classification(predict(model, VALID, keep=["late"]), "late")
    assert curve[-1]["logloss"] == pytest.approx(scores.logloss, rel=1e-5)


@pytest.mark.parametrize("last", [1, 2, 7, 8, 100, 1001, 10_000])
def test_a_training_is_judged_seventy_times_at_most_and_at_its_end(last: int) -> None:
    steps = list_judged(last)
    assert steps[-1] == last
    assert len(steps) <= 70
    assert steps == sorted(set(steps))


def test_models_of_different_length_are_judged_at_the_same_steps() -> None:
    assert list_judged(75)[:-1] == [s for s in list_judged(300) if s < 75]


def test_models_are_judged_where_halving_compares_them() -> None:
    assert {4, 12, 36} <= set(list_judged(100))
