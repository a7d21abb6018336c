"""Operators that train models: gradient boosting, forests, trees and linear models.

All of them take a table whose features are numbers, use the columns named in `features` (all but
the label by default) and return a fitted estimator with the scikit-learn interface. They run on one
thread: a sum of floats depends on how many threads share it, so the model would differ from machine
to machine, and a sweep fills the processors with trials.

Those that learn step by step take `valid`: rows on which the model is judged as it grows, which do not
change it. What they report then (auc, logloss and accuracy, or rmse and mae) makes a curve, and lets a
sweep over one of these names stop trials early.
"""

from __future__ import annotations

import warnings
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd

from flowlearner import Choice, InputError, LogRange, Model, Range, Seed, operator
from operators.curves import (
    ClassJudge,
    Judge,
    NumberJudge,
    fit_forest,
    fit_histograms,
    list_judged,
    make_callback,
    predict_for_judge,
)
from operators.tables import (
    choose_features,
    join_names,
    list_text_columns,
    require_classes,
    require_label,
)

Task = Literal["classification", "regression"]

_SGD_CURE = "Scale the features before (operators.features.scale), or take a smaller 'eta'"


@operator
def train_xgboost(
    rows: pd.DataFrame,
    label: str,
    max_depth: Annotated[int, Range(1, 20)] = 6,
    eta: Annotated[float, LogRange(0.0001, 1)] = 0.1,
    rounds: Annotated[int, Range(1, 10_000)] = 100,
    min_child_weight: Annotated[float, Range(0, 10_000)] = 1.0,
    subsample: Annotated[float, Range(0.01, 1)] = 1.0,
    column_share: Annotated[float, Range(0.01, 1)] = 1.0,
    l2: Annotated[float, Range(0, 10_000)] = 1.0,
    booster: Annotated[str, Choice(["gbtree", "dart"])] = "gbtree",
    task: Task = "classification",
    features: list[str] | None = None,
    valid: pd.DataFrame | None = None,
    seed: Seed = None,
) -> Model:
    """Train gradient boosted trees with XGBoost, by histograms (Chen and Guestrin, 2016).

    Missing values are allowed. A label of classes is 0, 1, 2, ...: `index_label` makes one.

    Args:
        rows: rows to learn from.
        label: the column to predict.
        max_depth: greatest depth of a tree.
        eta: learning rate, the share of each tree that is added.
        rounds: number of trees (for more than two classes, of trees per class).
        min_child_weight: least sum of hessians in a leaf; larger is more careful.
        subsample: share of the rows that each tree sees.
        column_share: share of the features that each tree sees.
        l2: penalty on the squared weights of the leaves.
        booster: "gbtree", or "dart" which drops trees at random.
        task: "classification" or "regression".
        features: the columns to use; all but the label by default.
        valid: rows on which the model is judged as it grows; they do not change it.
        seed: of the sampling; the run's seed by default.

    Returns:
        A fitted `xgboost.XGBClassifier` or `xgboost.XGBRegressor`.

    Raises:
        InputError: a feature holds text, or the label is not what the task needs; in `valid`, too.

    Example:
        >>> rows = pd.DataFrame({"age": [1.0, 2.0, 3.0, 4.0] * 5, "late": [0, 0, 1, 1] * 5})
        >>> train_xgboost(rows, "late", max_depth=2, rounds=5).predict(rows[["age"]]).tolist()[:4]
        [0, 0, 1, 1]
    """
    import xgboost

    x, y = _take(rows, label, features, task, "train_xgboost", gaps=True)
    if task == "classification":
        classes = require_classes(y, "train_xgboost")
        if classes != list(range(len(classes))):
            raise InputError(
                f"train_xgboost: label '{label}' has the classes {join_names(classes)}, expected 0, 1, 2 "
                "and so on without a gap. operators.features.index_label numbers classes"
            )
    judging = None if valid is None else _take_valid(valid, x, y, task, "train_xgboost", gaps=True)
    kind = xgboost.XGBClassifier if task == "classification" else xgboost.XGBRegressor
    model = kind(
        max_depth=max_depth,
        learning_rate=eta,
        n_estimators=rounds,
        min_child_weight=min_child_weight,
        subsample=subsample,
        colsample_bytree=column_share,
        reg_lambda=l2,
        booster=booster,
        tree_method="hist",
        random_state=_state(seed),
        n_jobs=1,
        callbacks=None if judging is None else [make_callback(*judging, rounds)],
    )
    return model.fit(x, y).set_params(callbacks=None)


@operator
def train_hist_gradient_boosting(
    rows: pd.DataFrame,
    label: str,
    max_depth: Annotated[int, Range(1, 50)] | None = None,
    eta: Annotated[float, LogRange(0.0001, 1)] = 0.1,
    rounds: Annotated[int, Range(1, 10_000)] = 100,
    max_leaves: Annotated[int, Range(2, 10_000)] = 31,
    min_leaf: Annotated[int, Range(1, 1_000_000)] = 20,
    l2: Annotated[float, Range(0, 10_000)] = 0.0,
    task: Task = "classification",
    features: list[str] | None = None,
    valid: pd.DataFrame | None = None,
    seed: Seed = None,
) -> Model:
    """Train gradient boosted trees with scikit-learn, by histograms (after LightGBM; Ke et al., 2017).

    Missing values are allowed. All rounds are run: nothing is held back for early stopping.

    Args:
        rows: rows to learn from.
        label: the column to predict.
        max_depth: greatest depth of a tree; None leaves it to `max_leaves`.
        eta: learning rate, the share of each tree that is added.
        rounds: number of trees (for more than two classes, of trees per class).
        max_leaves: most leaves of a tree.
        min_leaf: fewest rows in a leaf.
        l2: penalty on the squared weights of the leaves.
        task: "classification" or "regression".
        features: the columns to use; all but the label by default.
        valid: rows on which the model is judged as it grows; they do not change it.
        seed: of the subsample that sets the histogram bins; the run's seed by default.

    Returns:
        A fitted `HistGradientBoostingClassifier` or `HistGradientBoostingRegressor`.

    Raises:
        InputError: a feature holds text, or the label is not what the task needs; in `valid`, too.

    Example:
        >>> rows = pd.DataFrame({"age": range(100), "late": [0] * 50 + [1] * 50})
        >>> train_hist_gradient_boosting(rows, "late", rounds=5).predict(rows[["age"]]).tolist()[49:51]
        [0, 1]
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    x, y = _take(rows, label, features, task, "train_hist_gradient_boosting", gaps=True)
    judging = (
        None if valid is None else _take_valid(valid, x, y, task, "train_hist_gradient_boosting", gaps=True)
    )
    kind = HistGradientBoostingClassifier if task == "classification" else HistGradientBoostingRegressor
    model = kind(
        max_depth=max_depth,
        learning_rate=eta,
        max_iter=rounds,
        max_leaf_nodes=max_leaves,
        min_samples_leaf=min_leaf,
        l2_regularization=l2,
        early_stopping=False,
        random_state=_state(seed),
    )
    # It has no n_jobs: OpenMP alone says how many threads it takes.
    with threadpool_limits(limits=1, user_api="openmp"):
        return model.fit(x, y) if judging is None else fit_histograms(model, x, y, *judging)


@operator
def train_forest(
    rows: pd.DataFrame,
    label: str,
    trees: Annotated[int, Range(1, 10_000)] = 200,
    max_depth: Annotated[int, Range(1, 100)] | None = None,
    min_leaf: Annotated[int, Range(1, 1_000_000)] = 1,
    task: Task = "classification",
    features: list[str] | None = None,
    valid: pd.DataFrame | None = None,
    seed: Seed = None,
) -> Model:
    """Train a random forest (Breiman, 2001). Missing values are allowed.

    Args:
        rows: rows to learn from.
        label: the column to predict.
        trees: number of trees.
        max_depth: greatest depth of a tree; None grows them out.
        min_leaf: fewest rows in a leaf.
        task: "classification" or "regression".
        features: the columns to use; all but the label by default.
        valid: rows on which the model is judged as it grows; they do not change it.
        seed: of the samples; the run's seed by default.

    Returns:
        A fitted `RandomForestClassifier` or `RandomForestRegressor`.

    Raises:
        InputError: a feature holds text, or the label is not what the task needs; in `valid`, too.

    Example:
        >>> rows = pd.DataFrame({"age": range(20), "late": [0] * 10 + [1] * 10})
        >>> train_forest(rows, "late", trees=10).predict(rows[["age"]]).tolist()[::19]
        [0, 1]
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    x, y = _take(rows, label, features, task, "train_forest", gaps=True)
    judging = None if valid is None else _take_valid(valid, x, y, task, "train_forest", gaps=True)
    kind = RandomForestClassifier if task == "classification" else RandomForestRegressor
    model = kind(
        n_estimators=trees,
        max_depth=max_depth,
        min_samples_leaf=min_leaf,
        random_state=_state(seed),
        n_jobs=1,
    )
    return model.fit(x, y) if judging is None else fit_forest(model, x, y, *judging)


@operator
def train_tree(
    rows: pd.DataFrame,
    label: str,
    max_depth: Annotated[int, Range(1, 100)] = 4,
    min_leaf: Annotated[int, Range(1, 1_000_000)] = 5,
    task: Task = "classification",
    features: list[str] | None = None,
    seed: Seed = None,
) -> Model:
    """Train one decision tree (CART; Breiman et al., 1984). Missing values are allowed.

    Args:
        rows: rows to learn from.
        label: the column to predict.
        max_depth: greatest depth of the tree.
        min_leaf: fewest rows in a leaf.
        task: "classification" or "regression".
        features: the columns to use; all but the label by default.
        seed: breaks ties between equally good cuts; the run's seed by default.

    Returns:
        A fitted `DecisionTreeClassifier` or `DecisionTreeRegressor`.

    Raises:
        InputError: a feature holds text, or the label is not what the task needs.

    Example:
        >>> rows = pd.DataFrame({"age": range(20), "late": ["no"] * 10 + ["yes"] * 10})
        >>> train_tree(rows, "late").predict(rows[["age"]]).tolist()[::19]
        ['no', 'yes']
    """
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    x, y = _take(rows, label, features, task, "train_tree", gaps=True)
    kind = DecisionTreeClassifier if task == "classification" else DecisionTreeRegressor
    return kind(max_depth=max_depth, min_samples_leaf=min_leaf, random_state=_state(seed)).fit(x, y)


@operator
def train_sgd(
    rows: pd.DataFrame,
    label: str,
    eta: Annotated[float, LogRange(1e-6, 10)] = 0.01,
    epochs: Annotated[int, Range(1, 10_000)] = 20,
    l2: Annotated[float, LogRange(1e-9, 1e3)] = 0.0001,
    task: Task = "classification",
    features: list[str] | None = None,
    valid: pd.DataFrame | None = None,
    seed: Seed = None,
) -> Model:
    """Train a linear model row by row, by stochastic gradient descent: for tables with very many rows.

    Classes by the logistic loss, numbers by the squared one. Scale the features before: one rate of learning
    serves all of them.

    Args:
        rows: rows to learn from, without gaps.
        label: the column to predict.
        eta: learning rate of the first row; it falls with the fourth root of the rows seen.
        epochs: how often each row is seen, in another order each time.
        l2: penalty on the squared weights.
        task: "classification" or "regression".
        features: the columns to use; all but the label by default.
        valid: rows on which the model is judged as it grows; they do not change it.
        seed: of the order of the rows; the run's seed by default.

    Returns:
        A fitted `sklearn.linear_model.SGDClassifier` or `SGDRegressor`.

    Raises:
        InputError: a feature holds text or has gaps, or the label is not what the task needs; in `valid`,
            too. Or the weights have grown without end.

    Example:
        >>> rows = pd.DataFrame({"age": [-2.0, -1.0, 1.0, 2.0], "late": [0, 0, 1, 1]})
        >>> train_sgd(rows, "late").predict(rows[["age"]]).tolist()
        [0, 0, 1, 1]
    """
    from sklearn.linear_model import SGDClassifier, SGDRegressor

    x, y = _take(rows, label, features, task, "train_sgd", gaps=False)
    judging = None if valid is None else _take_valid(valid, x, y, task, "train_sgd", gaps=False)
    settings = {"alpha": l2, "learning_rate": "invscaling", "eta0": eta, "power_t": 0.25}
    first: dict[str, Any] = {}
    if task == "classification":
        model = SGDClassifier(loss="log_loss", **settings)
        first = {"classes": require_classes(y, "train_sgd")}
    else:
        model = SGDRegressor(**settings)
    judged = set(list_judged(epochs))
    orders = np.random.default_rng(_state(seed))
    for epoch in range(1, epochs + 1):
        # With one state for all epochs the rows would come in the same order each time.
        model.set_params(random_state=int(orders.integers(2**31)))
        try:
            model.partial_fit(x, y, **first)
        except ValueError as error:
            if "overflow" not in str(error):
                raise
            raise InputError(
                f"train_sgd: the weights have grown without end in epoch {epoch}. {_SGD_CURE}"
            ) from None
        if judging is not None and epoch in judged:
            judge, rows_judged = judging
            judge.report(epoch, predict_for_judge(model, rows_judged))
    if task == "regression":
        with np.errstate(all="ignore"):
            lost = np.mean((model.predict(x) - y) ** 2)
        if not lost <= np.mean(y**2):
            warnings.warn(
                f"train_sgd: the model is further off than one that always says 0. {_SGD_CURE}", stacklevel=2
            )
    return model.set_params(random_state=_state(seed))


@operator
def train_logistic(
    rows: pd.DataFrame,
    label: str,
    c: Annotated[float, LogRange(1e-6, 1e6)] = 1.0,
    max_rounds: Annotated[int, Range(1, 100_000)] = 1000,
    features: list[str] | None = None,
) -> Model:
    """Train a logistic regression with a penalty on the squared weights, by L-BFGS.

    Scale the features before: the penalty and the solver take all of them as of one size.

    Args:
        rows: rows to learn from, without gaps.
        label: the column to predict.
        c: inverse of the penalty; smaller is more careful.
        max_rounds: most iterations of the solver; where they do not suffice, a warning says so.
        features: the columns to use; all but the label by default.

    Returns:
        A fitted `sklearn.linear_model.LogisticRegression`.

    Raises:
        InputError: a feature holds text or has gaps, or the label has one class.

    Example:
        >>> rows = pd.DataFrame({"age": [-2.0, -1.0, 1.0, 2.0], "late": [0, 0, 1, 1]})
        >>> train_logistic(rows, "late").predict(rows[["age"]]).tolist()
        [0, 0, 1, 1]
    """
    from sklearn.linear_model import LogisticRegression

    x, y = _take(rows, label, features, "classification", "train_logistic", gaps=False)
    return LogisticRegression(C=c, max_iter=max_rounds).fit(x, y)


@operator
def train_linear(
    rows: pd.DataFrame,
    label: str,
    l2: Annotated[float, Range(0, 1e9)] = 0.0,
    features: list[str] | None = None,
) -> Model:
    """Train a linear regression by least squares, with a penalty on the squared weights where asked.

    Args:
        rows: rows to learn from, without gaps.
        label: the column of numbers to predict.
        l2: the penalty (ridge regression); 0 is ordinary least squares.
        features: the columns to use; all but the label by default.

    Returns:
        A fitted `sklearn.linear_model.LinearRegression`, or `Ridge` where `l2` is above 0.

    Raises:
        InputError: a feature holds text or has gaps, or the label is not a number.

    Example:
        >>> rows = pd.DataFrame({"distance": [0.0, 1.0, 2.0], "hours": [1.0, 3.0, 5.0]})
        >>> train_linear(rows, "hours").coef_.round(6).tolist()
        [2.0]
    """
    from sklearn.linear_model import LinearRegression, Ridge

    x, y = _take(rows, label, features, "regression", "train_linear", gaps=False)
    return (Ridge(alpha=l2) if l2 > 0 else LinearRegression()).fit(x, y)


def _take(
    rows: pd.DataFrame, label: str, features: list[str] | None, task: Task, where: str, *, gaps: bool
) -> tuple[pd.DataFrame, pd.Series[Any]]:
    x, y = _take_columns(rows, label, features, task, where, gaps=gaps)
    if task == "classification":
        require_classes(y, where)
    return x, y


def _take_valid(
    valid: pd.DataFrame, x: pd.DataFrame, y: pd.Series[Any], task: Task, where: str, *, gaps: bool
) -> tuple[Judge, pd.DataFrame]:
    """Return the rows that judge a model which learns from `x` and `y`, and who does it."""
    place = f"{where}, input 'valid'"
    rows, truth = _take_columns(valid, str(y.name), list(x.columns), task, place, gaps=gaps)
    if task == "regression":
        return NumberJudge(truth), rows
    return ClassJudge(truth, require_classes(y, where), place), rows


def _take_columns(
    rows: pd.DataFrame, label: str, features: list[str] | None, task: Task, where: str, *, gaps: bool
) -> tuple[pd.DataFrame, pd.Series[Any]]:
    y = require_label(rows, label, where)
    chosen = choose_features(rows, label, features, where)
    x = rows[chosen]
    text = list_text_columns(x, chosen)
    if text:
        raise InputError(
            f"{where}: column {join_names(text)} holds text; encode it before (operators.features.encode), "
            "or leave it out of 'features'"
        )
    times = [n for n in chosen if not pd.api.types.is_numeric_dtype(x[n])]
    if times:
        raise InputError(
            f"{where}: column {join_names(times)} holds {x[times[0]].dtype}, expected numbers; derive "
            "numbers from it, or leave it out of 'features'"
        )
    if not gaps and (holes := [n for n in chosen if x[n].isna().any()]):
        raise InputError(
            f"{where}: column {join_names(holes)} has missing values, which this model cannot take; "
            "fill them before (operators.features.impute)"
        )
    infinite = [n for n in chosen if np.isinf(x[n].to_numpy(dtype=float, na_value=np.nan)).any()]
    if infinite:
        raise InputError(f"{where}: column {join_names(infinite)} has infinite values")
    if task == "regression" and not pd.api.types.is_numeric_dtype(y):
        raise InputError(f"{where}: label '{label}' holds {y.dtype}; a regression predicts numbers")
    return x, y


def _state(seed: int | None) -> int:
    return 0 if seed is None else seed
