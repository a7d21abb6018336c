"""Operators that judge predictions: the metrics of classification and of regression."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from flowlearner import InputError, Metric, operator
from operators.predict import PREDICTION, PROBABILITY
from operators.tables import join_names, require_classes, require_columns, require_label

BINS = 10

Floats = npt.NDArray[np.float64]


class Classification(NamedTuple):
    """How good the predictions of classes are.

    Attributes:
        auc: area under the ROC curve; 0.5 is chance, 1 is perfect order.
        logloss: mean negative log of the probability given to what happened; lower is better.
        brier: mean squared distance between probabilities and what happened; lower is better.
        accuracy: share of the rows whose class was predicted.
        f1: harmonic mean of precision and recall of the greater class; the mean over all for more than two.
        calibration_error: mean distance between predicted and true rates; lower is better.
    """

    auc: Metric
    logloss: Metric
    brier: Metric
    accuracy: Metric
    f1: Metric
    calibration_error: Metric


class Regression(NamedTuple):
    """How good the predictions of numbers are.

    Attributes:
        rmse: root of the mean squared error, in the unit of the label.
        mae: mean absolute error, in the unit of the label.
        r2: share of the label's variance that is explained; 0 is as good as the mean.
    """

    rmse: Metric
    mae: Metric
    r2: Metric


@operator
def evaluate_classification(predictions: pd.DataFrame, label: str) -> Classification:
    """Judge predicted probabilities against what happened.

    AUC is the probability that a row of the greater class got a higher value than one of the other
    (Hanley and McNeil, 1982); for more than two classes the mean over one class against the rest,
    weighted by their rows. Log loss and Brier score (Brier, 1950) are proper: the true probabilities
    have the best mean. The Brier score of two classes is that of the greater one, within 0..1; for
    more it sums over the classes, within 0..2. The calibration error parts the rows into 10 bins of
    equal size by the probability (of the predicted class, for more than two) and weights the bins'
    distances by their rows (Naeini, Cooper and Hauskrecht, 2015).

    Args:
        predictions: what `predict` returned, with the label among the kept columns.
        label: the column of what happened.

    Returns:
        The metrics.

    Raises:
        InputError: a column is missing, the label has gaps, one class or an unknown class, or a
            probability is not within 0..1.

    Example:
        >>> rows = pd.DataFrame({"late": [0, 1], "prediction": [0, 1], "probability": [0.1, 0.8]})
        >>> scores = evaluate_classification(rows, "late")
        >>> scores.auc, round(scores.brier, 3), scores.accuracy
        (1.0, 0.025, 1.0)
    """
    from sklearn import metrics

    where = "evaluate_classification"
    truth = require_label(predictions, label, where)
    require_columns(predictions, [PREDICTION], where)
    happened = require_classes(truth, where)
    classes, chances = _take_chances(predictions, truth, where)
    codes = np.searchsorted(np.array(classes, dtype=truth.to_numpy().dtype), truth.to_numpy())
    guesses = predictions[PREDICTION]
    hits = (guesses.to_numpy() == truth.to_numpy()).astype(float)
    if len(classes) == 2:
        chance = chances[:, 1]
        auc = float(metrics.roc_auc_score(codes, chance))
        brier = float(np.mean((chance - codes) ** 2))
        f1 = float(metrics.f1_score(truth, guesses, pos_label=classes[1], zero_division=0.0))
        calibration = compute_calibration(chance, codes.astype(float), BINS)
    else:
        if len(happened) < len(classes):
            absent = [c for c in classes if c not in happened]
            raise InputError(
                f"{where}: no row of class {join_names(absent)}, so AUC against the rest is not defined; "
                "split_stratified keeps all classes in both parts"
            )
        auc = float(metrics.roc_auc_score(codes, chances, multi_class="ovr", average="weighted"))
        brier = float(np.mean(np.sum((chances - np.eye(len(classes))[codes]) ** 2, axis=1)))
        f1 = float(metrics.f1_score(truth, guesses, average="macro", zero_division=0.0))
        calibration = compute_calibration(chances.max(axis=1), hits, BINS)
    # Chances of a model that computes in single precision add up to a little more or less than 1.
    whole = chances / chances.sum(axis=1, keepdims=True)
    return Classification(
        auc=auc,
        logloss=float(metrics.log_loss(codes, whole, labels=list(range(len(classes))))),
        brier=brier,
        accuracy=float(hits.mean()),
        f1=f1,
        calibration_error=float(
            np.average(np.abs(calibration.predicted - calibration.true), weights=calibration.rows)
        ),
    )


@operator
def evaluate_regression(predictions: pd.DataFrame, label: str) -> Regression:
    """Judge predicted numbers against what happened.

    Args:
        predictions: what `predict` returned, with the label among the kept columns.
        label: the column of what happened.

    Returns:
        The metrics. R² is 1 - SS_res / SS_tot; where the label does not vary it is 1 for predictions
        without error, else 0.

    Raises:
        InputError: a column is missing, has gaps, or does not hold numbers.

    Example:
        >>> rows = pd.DataFrame({"hours": [1.0, 2.0, 3.0], "prediction": [1.0, 2.0, 5.0]})
        >>> scores = evaluate_regression(rows, "hours")
        >>> round(scores.rmse, 3), round(scores.mae, 3), scores.r2
        (1.155, 0.667, -1.0)
    """
    where = "evaluate_regression"
    truth = _take_numbers(predictions, label, where)
    guess = _take_numbers(predictions, PREDICTION, where)
    errors = guess - truth
    spread = float(np.sum((truth - truth.mean()) ** 2))
    lost = float(np.sum(errors**2))
    exact = 1.0 if lost == 0 else 0.0
    return Regression(
        rmse=float(np.sqrt(np.mean(errors**2))),
        mae=float(np.mean(np.abs(errors))),
        r2=1 - lost / spread if spread > 0 else exact,
    )


class Calibration(NamedTuple):
    """Bins of rows by predicted probability: its mean, the true rate, and how many rows."""

    predicted: Floats
    true: Floats
    rows: npt.NDArray[np.int64]


def compute_calibration(chance: Floats, happened: Floats, bins: int) -> Calibration:
    """Part rows into bins of equal size by their probability; rows of equal probability stay together.

    Args:
        chance: predicted probabilities.
        happened: 1 where it happened, else 0.
        bins: most bins; ties make fewer.

    Example:
        >>> compute_calibration(np.array([0.1, 0.1, 0.9, 0.9]), np.array([0.0, 0, 1, 1]), 2).true.tolist()
        [0.0, 1.0]
    """
    edges = np.unique(np.quantile(chance, np.linspace(0, 1, bins + 1)[1:-1], method="lower"))
    places = np.searchsorted(edges, chance)  # an edge is the last value of its bin
    rows = np.bincount(places, minlength=len(edges) + 1)
    filled = rows > 0
    counts = rows[filled].astype(np.int64)
    return Calibration(
        predicted=np.bincount(places, weights=chance, minlength=len(rows))[filled] / counts,
        true=np.bincount(places, weights=happened, minlength=len(rows))[filled] / counts,
        rows=counts,
    )


def take_binary(predictions: pd.DataFrame, label: str, where: str) -> tuple[Floats, Floats]:
    """Return the probabilities of the greater of two classes, and 1 where it happened.

    Raises:
        InputError: the label has another number of classes, or a column is missing or has gaps.
    """
    truth = require_label(predictions, label, where)
    require_columns(predictions, [PREDICTION, PROBABILITY], where)
    require_classes(truth, where)
    classes, chances = _take_chances(predictions, truth, where)
    return chances[:, 1], (truth == classes[1]).to_numpy(dtype=np.float64)


def _take_chances(predictions: pd.DataFrame, truth: pd.Series[Any], where: str) -> tuple[list[Any], Floats]:
    happened = set(truth.unique().tolist())
    if PROBABILITY in predictions.columns:
        classes = sorted(happened | set(predictions[PREDICTION].unique().tolist()))
        if len(classes) != 2:
            raise InputError(
                f"{where}: column '{PROBABILITY}' is that of two classes, but label '{truth.name}' and the "
                f"predictions have {len(classes)}: {join_names(classes)}"
            )
        greater = _check_chances(predictions[PROBABILITY], where)
        return classes, np.column_stack([1 - greater, greater])
    columns = {str(c): c for c in predictions.columns if str(c).startswith(f"{PROBABILITY}_")}
    if not columns:
        raise InputError(
            f"{where}: the table has no column '{PROBABILITY}' or '{PROBABILITY}_CLASS', as the operator "
            f"predict makes for a classifier. It has: {join_names(list(predictions.columns))}"
        )
    known = {str(c): c for c in happened | set(predictions[PREDICTION].unique().tolist())}
    names = [c.removeprefix(f"{PROBABILITY}_") for c in columns]
    unknown = [n for n in known if n not in names]
    if unknown:
        raise InputError(f"{where}: the model knows no class {join_names(unknown)}, only {join_names(names)}")
    typed = [known[n] if n in known else type(next(iter(happened)))(n) for n in names]
    order = sorted(range(len(typed)), key=lambda i: typed[i])
    chances = [_check_chances(predictions[list(columns.values())[i]], where) for i in order]
    table = np.column_stack(chances)
    if not np.allclose(table.sum(axis=1), 1):
        raise InputError(
            f"{where}: columns {join_names(list(columns))} do not add up to 1 in some rows, as "
            "probabilities do"
        )
    return [typed[i] for i in order], table


def _check_chances(values: pd.Series[Any], where: str) -> Floats:
    if not pd.api.types.is_numeric_dtype(values):
        raise InputError(f"{where}: column '{values.name}' holds {values.dtype}, expected probabilities")
    chances = values.to_numpy(dtype=np.float64, na_value=np.nan)
    if not ((chances >= -1e-6) & (chances <= 1 + 1e-6)).all():
        raise InputError(f"{where}: column '{values.name}' is missing or outside 0..1 in some rows")
    clipped: Floats = np.clip(chances, 0.0, 1.0)
    return clipped


def _take_numbers(predictions: pd.DataFrame, name: str, where: str) -> Floats:
    values = require_label(predictions, name, where)
    if not pd.api.types.is_numeric_dtype(values):
        raise InputError(f"{where}: column '{name}' holds {values.dtype}, expected numbers")
    return values.to_numpy(dtype=np.float64)
