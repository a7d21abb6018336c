from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from flowlearner import InputError
from operators.evaluate import compute_calibration, evaluate_classification, evaluate_regression

GENERATOR = np.random.default_rng(0)
CHANCE = GENERATOR.uniform(size=2000)
HAPPENED = (GENERATOR.uniform(size=2000) < CHANCE).astype(int)
ROWS = pd.DataFrame({"late": HAPPENED, "prediction": (CHANCE > 0.5).astype(int), "probability": CHANCE})


def make_three_classes() -> pd.DataFrame:
    chances = GENERATOR.dirichlet([1, 1, 1], size=500)
    names = np.array(["a", "b", "c"])
    rows = pd.DataFrame(chances, columns=[f"probability_{n}" for n in names])
    rows.insert(0, "prediction", names[chances.argmax(axis=1)])
    rows.insert(0, "species", [GENERATOR.choice(names, p=p) for p in chances])
    return rows


def test_two_classes_are_judged_as_scikit_learn_does() -> None:
    found = evaluate_classification(ROWS, "late")
    assert found.auc == pytest.approx(metrics.roc_auc_score(HAPPENED, CHANCE))
    assert found.logloss == pytest.approx(metrics.log_loss(HAPPENED, CHANCE))
    assert found.brier == pytest.approx(metrics.brier_score_loss(HAPPENED, CHANCE))
    assert found.accuracy == pytest.approx(metrics.accuracy_score(HAPPENED, CHANCE > 0.5))
    assert found.f1 == pytest.approx(metrics.f1_score(HAPPENED, CHANCE > 0.5))


def test_true_probabilities_are_calibrated_and_halved_ones_are_not() -> None:
    assert evaluate_classification(ROWS, "late").calibration_error < 0.05
    halved = evaluate_classification(ROWS.assign(probability=CHANCE / 2), "late")
    assert halved.calibration_error == pytest.approx(HAPPENED.mean() - CHANCE.mean() / 2, abs=0.02)


def test_the_names_of_two_classes_do_not_matter() -> None:
    names = ROWS.assign(
        late=np.where(ROWS["late"] == 1, "yes", "no"),
        prediction=np.where(ROWS["prediction"] == 1, "yes", "no"),
    )
    assert evaluate_classification(names, "late") == pytest.approx(evaluate_classification(ROWS, "late"))


def test_truth_values_are_classes_too() -> None:
    rows = ROWS.assign(late=ROWS["late"] == 1, prediction=ROWS["prediction"] == 1)
    assert evaluate_classification(rows, "late") == pytest.approx(evaluate_classification(ROWS, "late"))


def test_predictions_of_a_single_class_are_judged() -> None:
    found = evaluate_classification(ROWS.assign(prediction=0), "late")
    assert (found.accuracy, found.f1) == (pytest.approx(1 - HAPPENED.mean()), 0.0)


def test_certainty_that_was_wrong_has_a_finite_log_loss() -> None:
    rows = pd.DataFrame({"late": [0, 1], "prediction": [0, 0], "probability": [0.0, 0.0]})
    assert math.isfinite(evaluate_classification(rows, "late").logloss)


def test_three_classes_are_judged_as_scikit_learn_does() -> None:
    rows = make_three_classes()
    chances = rows[["probability_a", "probability_b", "probability_c"]]
    found = evaluate_classification(rows, "species")
    assert found.auc == pytest.approx(
        metrics.roc_auc_score(rows["species"], chances, multi_class="ovr", average="weighted")
    )
    assert found.logloss == pytest.approx(metrics.log_loss(rows["species"], chances))
    assert found.brier == pytest.approx(
        metrics.brier_score_loss(rows["species"], chances, scale_by_half=False)
    )
    assert found.accuracy == pytest.approx((rows["species"] == rows["prediction"]).mean())


def test_classes_of_numbers_are_told_by_their_columns() -> None:
    rows = make_three_classes()
    numbers = {"a": 0, "b": 1, "c": 10}
    renamed = rows.rename(columns={f"probability_{k}": f"probability_{v}" for k, v in numbers.items()})
    renamed["species"] = rows["species"].map(numbers)
    renamed["prediction"] = rows["prediction"].map(numbers)
    assert evaluate_classification(renamed, "species") == pytest.approx(
        evaluate_classification(rows, "species")
    )


def test_chances_in_single_precision_are_judged_without_a_warning() -> None:
    rows = make_three_classes()
    columns = ["probability_a", "probability_b", "probability_c"]
    single = rows.assign(**{c: rows[c].astype("float32") for c in columns})
    single["probability_a"] += np.float32(1e-6)
    found = evaluate_classification(single, "species")
    assert found.logloss == pytest.approx(evaluate_classification(rows, "species").logloss, rel=1e-4)


def test_chances_that_do_not_add_up_are_refused() -> None:
    rows = make_three_classes()
    with pytest.raises(InputError, match=r"columns probability_a, .*_c do not add up to 1 in some rows"):
        evaluate_classification(rows.assign(probability_a=rows["probability_a"] / 2), "species")


def test_metrics_are_plain_floats() -> None:
    assert {type(v) for v in evaluate_classification(ROWS, "late")} == {float}


def test_a_label_of_one_class_has_no_auc() -> None:
    with pytest.raises(InputError, match="label 'late' has the one class 0"):
        evaluate_classification(ROWS.assign(late=0), "late")


def test_a_class_without_rows_is_named() -> None:
    rows = make_three_classes()
    with pytest.raises(InputError, match="no row of class c"):
        evaluate_classification(rows[rows["species"] != "c"], "species")


def test_a_class_that_the_model_does_not_know_is_named() -> None:
    rows = make_three_classes().drop(columns="probability_c")
    with pytest.raises(InputError, match="the model knows no class c, only a, b"):
        evaluate_classification(rows, "species")


def test_a_third_class_beside_the_probability_of_two_is_refused() -> None:
    with pytest.raises(
        InputError, match="is that of two classes, but label 'late' and the predictions have 3: 0, 1, 2"
    ):
        evaluate_classification(ROWS.assign(late=ROWS.index % 3), "late")


def test_predictions_without_probabilities_are_refused() -> None:
    with pytest.raises(InputError, match="no column 'probability' or 'probability_CLASS'"):
        evaluate_classification(ROWS.drop(columns="probability"), "late")


@pytest.mark.parametrize("wrong", [1.5, -0.1, float("nan")])
def test_a_probability_that_is_none_is_refused(wrong: float) -> None:
    rows = ROWS.assign(probability=ROWS["probability"].where(ROWS.index > 0, wrong))
    with pytest.raises(InputError, match="column 'probability' is missing or outside"):
        evaluate_classification(rows, "late")


def test_numbers_are_judged_as_scikit_learn_does() -> None:
    truth = GENERATOR.normal(size=200)
    guess = truth + GENERATOR.normal(scale=0.2, size=200)
    found = evaluate_regression(pd.DataFrame({"y": truth, "prediction": guess}), "y")
    assert found.rmse == pytest.approx(metrics.root_mean_squared_error(truth, guess))
    assert found.mae == pytest.approx(metrics.mean_absolute_error(truth, guess))
    assert found.r2 == pytest.approx(metrics.r2_score(truth, guess))


@pytest.mark.parametrize(("guess", "r2"), [(2.0, 1.0), (3.0, 0.0)])
def test_r2_of_a_label_that_does_not_vary_is_as_scikit_learn_defines_it(guess: float, r2: float) -> None:
    assert evaluate_regression(pd.DataFrame({"y": [2.0, 2.0], "prediction": [guess] * 2}), "y").r2 == r2


def test_a_missing_prediction_of_a_number_is_refused() -> None:
    with pytest.raises(InputError, match="'prediction' is missing in 1 of 2 rows"):
        evaluate_regression(pd.DataFrame({"y": [1.0, 2.0], "prediction": [1.0, None]}), "y")


def test_text_is_no_number_to_judge() -> None:
    with pytest.raises(InputError, match="column 'y' holds str, expected numbers"):
        evaluate_regression(pd.DataFrame({"y": ["a", "b"], "prediction": [1.0, 2.0]}), "y")


def test_calibration_bins_are_of_equal_size() -> None:
    assert compute_calibration(np.arange(100) / 100, np.ones(100), 10).rows.tolist() == [10] * 10


def test_rows_of_one_probability_are_in_one_bin() -> None:
    found = compute_calibration(np.array([0.2] * 90 + [0.8] * 10), np.zeros(100), 10)
    assert found.rows.tolist() == [90, 10]
    assert found.predicted.tolist() == pytest.approx([0.2, 0.8])
