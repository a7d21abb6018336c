"""Curves of learning: how good a model is while it grows, on rows that do not change it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import flowlearner
from flowlearner import InputError
from operators.tables import join_names

Floats = npt.NDArray[np.floating[Any]]


def list_judged(last: int) -> list[int]:
    """Return the steps after which a model that grows for `last` steps is judged.

    All up to 12, then six from 12 to 24, six from there to 48 and so on, and the last: judging costs little
    beside growing, models of different length are judged at the same steps, and where successive halving
    compares them: after 8, 24 and 72.

    Example:
        >>> list_judged(50)
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 22, 24, 28, 32, 36, 40, 44, 48, 50]
    """
    return [s for s in range(1, last + 1) if s == last or s % (1 << max((s // 3).bit_length() - 2, 0)) == 0]


class ClassJudge:
    """Reports AUC, log loss and accuracy of a classifier that grows, as `evaluate_classification` has them.

    Args:
        truth: the label of the rows that judge.
        classes: the sorted classes that the model knows.
        where: operator and input, for the message.

    Attributes:
        truth: as given.

    Raises:
        InputError: the label has a class that the model does not know.
    """

    def __init__(self, truth: pd.Series[Any], classes: Sequence[Any], where: str) -> None:
        unknown = sorted(set(truth.unique().tolist()) - set(classes))
        if unknown:
            raise InputError(
                f"{where}: label '{truth.name}' has the class {join_names(unknown)}, which the rows to learn "
                f"from do not have. They have: {join_names(classes)}"
            )
        self.truth = truth
        self._codes = np.searchsorted(np.array(classes), truth.to_numpy())
        # The greater class alone for two, else each against the rest.
        judged = range(len(classes)) if len(classes) > 2 else (1,)
        self._parts = [(np.flatnonzero(self._codes == c), np.flatnonzero(self._codes != c)) for c in judged]

    def report(self, step: int, chances: Floats) -> None:
        """Report how good the model is after a step.

        Args:
            step: what the model has grown by so far, from 1.
            chances: for two classes the probabilities of the greater one, else a column for each class.
        """
        if chances.ndim == 1:
            guesses = (chances > 0.5).astype(self._codes.dtype)
            given = np.where(self._codes == 1, chances, 1 - chances)
            columns = [chances]
        else:
            guesses = chances.argmax(axis=1)
            given = chances[np.arange(len(chances)), self._codes]
            columns = list(chances.T)
        values = {
            "logloss": float(-np.mean(np.log(np.maximum(given, np.finfo(np.float64).eps), dtype=np.float64))),
            "accuracy": float(np.mean(guesses == self._codes)),
        }
        # AUC is not defined where a class does not occur.
        if all(len(inside) and len(outside) for inside, outside in self._parts):
            areas = [_measure_area(c[i], c[o]) for c, (i, o) in zip(columns, self._parts, strict=True)]
            sizes = [len(inside) for inside, _ in self._parts]
            values = {"auc": float(np.average(areas, weights=sizes)), **values}
        flowlearner.report(step=step, **values)


class NumberJudge:
    """Reports RMSE and MAE of a regression that grows, as `evaluate_regression` has them.

    Args:
        truth: the label of the rows that judge.

    Attributes:
        truth: as given.
    """

    def __init__(self, truth: pd.Series[Any]) -> None:
        self.truth = truth
        self._numbers = truth.to_numpy(dtype=np.float64)

    def report(self, step: int, guesses: Floats) -> None:
        """Report how good the model is after a step.

        Args:
            step: what the model has grown by so far, from 1.
            guesses: the predicted numbers.
        """
        errors = guesses - self._numbers
        flowlearner.report(
            step=step, rmse=float(np.sqrt(np.mean(errors**2))), mae=float(np.mean(np.abs(errors)))
        )


Judge = ClassJudge | NumberJudge


def make_callback(judge: Judge, valid: pd.DataFrame, rounds: int) -> Any:
    """Return a callback of xgboost that judges the trees as they grow.

    Args:
        judge: who reports.
        valid: the features of the rows that judge.
        rounds: how many rounds the model grows for.
    """
    import xgboost

    judged = set(list_judged(rounds))
    # The booster keeps what it has predicted for this matrix, and adds the trees since then.
    matrix = xgboost.DMatrix(valid, nthread=1)

    class Growth(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            del evals_log
            if epoch + 1 in judged:
                judge.report(epoch + 1, model.predict(matrix))
            return False

    return Growth()


def fit_histograms(model: Any, x: pd.DataFrame, y: pd.Series[Any], judge: Judge, valid: pd.DataFrame) -> Any:
    """Fit histogram-based boosting of scikit-learn as `fit` does, and judge it meanwhile.

    Growing it on by `warm_start` would make the histograms anew each time. Its early stopping sums up the
    predictions of the rows that it is given tree by tree, and here it is asked whether to stop: never.
    """
    from scipy.special import expit, softmax
    from sklearn.base import is_classifier

    params = model.get_params()
    judged = set(list_judged(model.max_iter))

    def judge_now(*, raw_predictions_val: Any, **others: Any) -> bool:
        del others
        if model.n_iter_ in judged:
            guesses = raw_predictions_val[:, 0] if raw_predictions_val.shape[1] == 1 else raw_predictions_val
            if is_classifier(model):
                guesses = expit(guesses) if guesses.ndim == 1 else softmax(guesses, axis=1)
            judge.report(model.n_iter_, guesses)
        return False

    # Should another version ask elsewhere, no number of rounds without gain is enough to stop it.
    model.set_params(early_stopping=True, n_iter_no_change=model.max_iter + 1)
    model._check_early_stopping_loss = judge_now
    model.fit(x, y, X_val=valid, y_val=judge.truth)
    del model._check_early_stopping_loss
    model.do_early_stopping_ = False
    return model.set_params(**params)


def fit_forest(model: Any, x: pd.DataFrame, y: pd.Series[Any], judge: Judge, valid: pd.DataFrame) -> Any:
    """Fit a forest as `fit` does, some trees at a time, and judge it after each time."""
    trees = model.n_estimators
    seen = valid.to_numpy(dtype=np.float32, na_value=np.nan)
    total: Any = 0
    done = 0
    for step in list_judged(trees):
        # scikit-learn promises the trees that it would have grown at once.
        model.set_params(n_estimators=step, warm_start=done > 0).fit(x, y)
        for tree in model.estimators_[done:]:
            total = total + predict_for_judge(tree, seen)
        judge.report(step, total / step)
        done = step
    return model.set_params(warm_start=False)


def predict_for_judge(model: Any, rows: Any) -> Any:
    """Return what a judge takes: numbers, probabilities of the greater class, or those of each."""
    from sklearn.base import is_classifier

    if not is_classifier(model):
        return model.predict(rows)
    chances = model.predict_proba(rows)
    return chances[:, 1] if chances.shape[1] == 2 else chances


def _measure_area(inside: Floats, outside: Floats) -> float:
    """Return the share of pairs in which the row inside has the greater value; ties count half."""
    ordered, sought = np.sort(outside), np.sort(inside)
    below = np.searchsorted(ordered, sought, "left").sum() + np.searchsorted(ordered, sought, "right").sum()
    return float(below) / (2 * len(ordered) * len(sought))
