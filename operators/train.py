"""Operators that train models: gradient boosting, forests, trees and linear models.

All of them take a table whose features are numbers, use the columns named in `features` (all but
the label by default) and return a fitted estimator with the scikit-learn interface. They run on one
thread: a sum of floats depends on how many threads share it, so the model would differ from machine
to machine, and a sweep fills the processors with trials.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd

from flowlearner import Choice, InputError, LogRange, Model, Range, Seed, operator
from operators.tables import (
    choose_features,
    join_names,
    list_text_columns,
    require_classes,
    require_label,
)

Task = Literal["classification", "regression"]


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
        seed: of the sampling; the run's seed by default.

    Returns:
        A fitted `xgboost.XGBClassifier` or `xgboost.XGBRegressor`.

    Raises:
        InputError: a feature holds text, or the label is not what the task needs.

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
    )
    return model.fit(x, y)


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
        seed: of the subsample that sets the histogram bins; the run's seed by default.

    Returns:
        A fitted `HistGradientBoostingClassifier` or `HistGradientBoostingRegressor`.

    Raises:
        InputError: a feature holds text, or the label is not what the task needs.

    Example:
        >>> rows = pd.DataFrame({"age": range(100), "late": [0] * 50 + [1] * 50})
        >>> train_hist_gradient_boosting(rows, "late", rounds=5).predict(rows[["age"]]).tolist()[49:51]
        [0, 1]
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    x, y = _take(rows, label, features, task, "train_hist_gradient_boosting", gaps=True)
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
        return model.fit(x, y)


@operator
def train_forest(
    rows: pd.DataFrame,
    label: str,
    trees: Annotated[int, Range(1, 10_000)] = 200,
    max_depth: Annotated[int, Range(1, 100)] | None = None,
    min_leaf: Annotated[int, Range(1, 1_000_000)] = 1,
    task: Task = "classification",
    features: list[str] | None = None,
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
        seed: of the samples; the run's seed by default.

    Returns:
        A fitted `RandomForestClassifier` or `RandomForestRegressor`.

    Raises:
        InputError: a feature holds text, or the label is not what the task needs.

    Example:
        >>> rows = pd.DataFrame({"age": range(20), "late": [0] * 10 + [1] * 10})
        >>> train_forest(rows, "late", trees=10).predict(rows[["age"]]).tolist()[::19]
        [0, 1]
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    x, y = _take(rows, label, features, task, "train_forest", gaps=True)
    kind = RandomForestClassifier if task == "classification" else RandomForestRegressor
    model = kind(
        n_estimators=trees,
        max_depth=max_depth,
        min_samples_leaf=min_leaf,
        random_state=_state(seed),
        n_jobs=1,
    )
    return model.fit(x, y)


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
    if task == "classification":
        require_classes(y, where)
    elif not pd.api.types.is_numeric_dtype(y):
        raise InputError(f"{where}: label '{label}' holds {y.dtype}; a regression predicts numbers")
    return x, y


def _state(seed: int | None) -> int:
    return 0 if seed is None else seed
