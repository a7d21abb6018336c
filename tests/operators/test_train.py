from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import r2_score, roc_auc_score

from flowlearner import InputError
from operators.train import (
    train_forest,
    train_hist_gradient_boosting,
    train_linear,
    train_logistic,
    train_sgd,
    train_tree,
    train_xgboost,
)

CLASSIFIERS = [
    train_xgboost,
    train_hist_gradient_boosting,
    train_forest,
    train_tree,
    train_sgd,
    train_logistic,
]
TREES = [train_xgboost, train_hist_gradient_boosting, train_forest, train_tree]
EVERY = [*CLASSIFIERS, train_linear]


def make_rows(count: int = 400, seed: int = 0) -> pd.DataFrame:
    """Two features that tell, one that does not, a label of classes and one of numbers."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, 3))
    number = 2 * x[:, 0] - x[:, 1] + generator.normal(scale=0.3, size=count)
    return pd.DataFrame(
        {"a": x[:, 0], "b": x[:, 1], "noise": x[:, 2], "late": (number > 0).astype(int), "y": number}
    )


ROWS = make_rows()
FEATURES = ["a", "b", "noise"]


@pytest.mark.parametrize("train", CLASSIFIERS)
class TestClassifiers:
    def test_it_learns_what_can_be_learned(self, train: Any) -> None:
        fresh = make_rows(seed=1)
        chance = train(ROWS, "late", features=FEATURES).predict_proba(fresh[FEATURES])[:, 1]
        assert roc_auc_score(fresh["late"], chance) > 0.9

    def test_it_uses_the_features_asked_for_in_their_order(self, train: Any) -> None:
        model = train(ROWS, "late", features=["b", "a"])
        assert list(model.feature_names_in_) == ["b", "a"]

    def test_it_uses_all_columns_but_the_label_by_default(self, train: Any) -> None:
        assert list(train(ROWS[["late", *FEATURES]], "late").feature_names_in_) == FEATURES

    def test_training_twice_gives_the_same_predictions(self, train: Any) -> None:
        one, two = (train(ROWS, "late", features=FEATURES).predict_proba(ROWS[FEATURES]) for _ in range(2))
        assert np.array_equal(one, two)

    def test_a_label_of_one_class_is_refused(self, train: Any) -> None:
        with pytest.raises(InputError, match="label 'late' has the one class 1 in all 400 rows"):
            train(ROWS.assign(late=1), "late")

    def test_three_classes_are_learned(self, train: Any) -> None:
        rows = ROWS.assign(late=pd.cut(ROWS["y"], 3, labels=False))
        assert train(rows, "late", features=["a", "b"]).classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("train", EVERY)
class TestEveryTrainer:
    def test_a_label_with_gaps_is_refused(self, train: Any) -> None:
        rows = ROWS.assign(late=ROWS["late"].astype(float).where(ROWS.index != 7))
        with pytest.raises(InputError, match="label 'late' is missing in 1 of 400 rows, the first at row 7"):
            train(rows, "late")

    def test_an_unknown_label_is_refused_with_the_nearest_name(self, train: Any) -> None:
        with pytest.raises(
            InputError, match=rf"{train.__name__}: .*no column 'lat'\. Did you mean 'late'\? It has: a, b"
        ):
            train(ROWS, "lat")

    def test_text_is_refused_with_the_cure(self, train: Any) -> None:
        with pytest.raises(InputError, match=r"column carrier holds text; encode it before"):
            train(ROWS.assign(carrier="UA"), "late")

    def test_times_are_refused(self, train: Any) -> None:
        rows = ROWS.assign(at=pd.Timestamp("2013-01-01"))
        with pytest.raises(InputError, match=r"column at holds datetime64.*, expected numbers"):
            train(rows, "late")

    def test_infinite_values_are_refused(self, train: Any) -> None:
        with pytest.raises(InputError, match="column a has infinite values"):
            train(ROWS.assign(a=np.inf), "late")

    def test_a_table_without_rows_is_refused(self, train: Any) -> None:
        with pytest.raises(InputError, match="expected at least 1 rows, found 0"):
            train(ROWS.head(0), "late")

    def test_a_table_without_features_is_refused(self, train: Any) -> None:
        with pytest.raises(InputError, match="no feature is left beside the label 'late'"):
            train(ROWS[["late"]], "late")

    def test_the_rows_stay_as_they_were(self, train: Any) -> None:
        rows = ROWS.copy(deep=True)
        train(rows, "late", features=FEATURES)
        pd.testing.assert_frame_equal(rows, ROWS)


@pytest.mark.parametrize("train", TREES)
class TestTrees:
    def test_missing_values_are_welcome(self, train: Any) -> None:
        rows = ROWS.assign(a=ROWS["a"].where(ROWS.index % 5 > 0))
        assert train(rows, "late", features=FEATURES).predict(rows[FEATURES]).shape == (400,)

    def test_it_learns_numbers_too(self, train: Any) -> None:
        model = train(ROWS, "y", features=FEATURES, task="regression")
        assert r2_score(ROWS["y"], model.predict(ROWS[FEATURES])) > 0.8

    def test_a_regression_of_text_is_refused(self, train: Any) -> None:
        with pytest.raises(InputError, match="label 'carrier' holds str; a regression predicts numbers"):
            train(ROWS.assign(carrier="UA"), "carrier", task="regression")

    def test_no_seed_is_seed_0(self, train: Any) -> None:
        one, two = (
            train(ROWS, "late", features=FEATURES, seed=s).predict_proba(ROWS[FEATURES]) for s in (None, 0)
        )
        assert np.array_equal(one, two)


def test_another_seed_gives_another_forest() -> None:
    one, two = (
        train_forest(ROWS, "late", features=FEATURES, seed=s).predict_proba(ROWS[FEATURES]) for s in (1, 2)
    )
    assert not np.array_equal(one, two)


def test_another_seed_gives_another_sample_for_xgboost() -> None:
    one, two = (
        train_xgboost(ROWS, "late", subsample=0.5, features=FEATURES, seed=s).predict_proba(ROWS[FEATURES])
        for s in (1, 2)
    )
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("train", [*TREES, train_sgd])
def test_the_global_random_generator_is_left_alone(train: Any) -> None:
    np.random.seed(7)
    expected = np.random.rand()
    np.random.seed(7)
    train(ROWS, "late", features=FEATURES)
    assert np.random.rand() == expected


@pytest.mark.parametrize("train", [train_sgd, train_logistic, train_linear])
def test_a_linear_model_names_the_columns_with_gaps(train: Any) -> None:
    with pytest.raises(
        InputError, match="column b has missing values, which this model cannot take; fill them"
    ):
        train(ROWS.assign(b=ROWS["b"].where(ROWS.index > 3)), "late")


def test_xgboost_refuses_classes_of_text_with_the_cure() -> None:
    rows = ROWS.assign(late=np.where(ROWS["late"] == 1, "yes", "no"))
    with pytest.raises(
        InputError, match=r"has the classes no, yes, expected 0, 1, 2 .*features\.index_label"
    ):
        train_xgboost(rows, "late")


def test_xgboost_takes_a_label_of_truth_values() -> None:
    model = train_xgboost(ROWS.assign(late=ROWS["late"] == 1), "late", features=FEATURES, rounds=3)
    assert set(model.predict(ROWS[FEATURES])) == {0, 1}


def test_xgboost_gets_every_parameter() -> None:
    model = train_xgboost(
        ROWS,
        "late",
        max_depth=3,
        eta=0.3,
        rounds=4,
        min_child_weight=2,
        subsample=0.9,
        column_share=0.8,
        l2=3,
        booster="dart",
        features=FEATURES,
        seed=5,
    )
    wanted = {
        "max_depth": 3,
        "learning_rate": 0.3,
        "n_estimators": 4,
        "min_child_weight": 2,
        "subsample": 0.9,
        "colsample_bytree": 0.8,
        "reg_lambda": 3,
        "booster": "dart",
        "random_state": 5,
        "n_jobs": 1,
    }
    assert {k: v for k, v in model.get_params().items() if k in wanted} == wanted


def test_a_penalty_makes_the_weights_of_a_linear_regression_smaller() -> None:
    free, held = (train_linear(ROWS, "y", l2=l2, features=FEATURES).coef_ for l2 in (0.0, 1000.0))
    assert np.abs(held).sum() < np.abs(free).sum()


def test_numbers_are_learned_row_by_row() -> None:
    model = train_sgd(ROWS, "y", task="regression", features=FEATURES)
    assert r2_score(ROWS["y"], model.predict(ROWS[FEATURES])) > 0.95


def test_another_seed_is_another_order_of_the_rows() -> None:
    one, two = (train_sgd(ROWS, "late", features=FEATURES, seed=s).coef_ for s in (1, 2))
    assert not np.array_equal(one, two)


def test_each_epoch_has_another_order_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[int] = []
    learn = SGDClassifier.partial_fit

    def note(model: Any, *args: Any, **kwargs: Any) -> Any:
        states.append(model.random_state)
        return learn(model, *args, **kwargs)

    monkeypatch.setattr(SGDClassifier, "partial_fit", note)
    model = train_sgd(ROWS, "late", features=FEATURES, epochs=5, seed=9)
    assert len(set(states)) == 5
    assert model.random_state == 9


def test_weights_that_grow_without_end_name_the_cure() -> None:
    with pytest.raises(InputError, match=r"grown without end in epoch 1\. Scale the features before"):
        train_sgd(ROWS.assign(a=ROWS["a"] * 1e300), "y", features=FEATURES, task="regression")


def test_features_that_are_not_scaled_are_told() -> None:
    with pytest.warns(UserWarning, match=r"further off than one that always says 0\. Scale the features"):
        train_sgd(ROWS.assign(a=ROWS["a"] * 100), "y", features=FEATURES, task="regression")
