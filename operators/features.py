"""Operators that turn columns into what models take: fill gaps, encode text, scale numbers.

Each learns from the train rows alone, applies the same to the test rows, and returns what it learned
as a fitted scikit-learn transformer, so that the same can be applied to new rows later.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd

from flowlearner import Choice, InputError, Model, Range, operator
from operators.tables import (
    choose_features,
    list_number_columns,
    list_text_columns,
    require_columns,
    require_label,
    require_rows,
)


class Indexed(NamedTuple):
    """Rows whose label is 0, 1, 2, ..., and the class that each number stands for."""

    rows: pd.DataFrame
    classes: list[str]


class Features(NamedTuple):
    """Both parts with the features ready and the label last, and the transformer that did it."""

    train: pd.DataFrame
    test: pd.DataFrame
    transformer: Model


@operator
def impute(
    train: pd.DataFrame,
    test: pd.DataFrame,
    label: str,
    features: list[str] | None = None,
    numbers: Annotated[str, Choice(["median", "mean"])] = "median",
    text: str = "missing",
) -> Features:
    """Fill missing numbers by the median or mean of the train rows, and missing text by a word.

    Args:
        train: rows to learn from.
        test: rows that get the same treatment.
        label: the column to predict; it stays as it is.
        features: the columns to keep; all but the label by default.
        numbers: what fills a missing number.
        text: what fills a missing text.

    Returns:
        Both parts without gaps, and the transformer.

    Raises:
        InputError: a column is missing, or a column of numbers is empty in `train`.

    Example:
        >>> rows = pd.DataFrame({"age": [1.0, None, 3.0], "late": [0, 1, 1]})
        >>> impute(rows, rows, "late").train["age"].tolist()
        [1.0, 2.0, 3.0]
    """
    from sklearn.impute import SimpleImputer

    chosen = _choose(train, test, label, features, "impute")
    number_columns = list_number_columns(train, chosen)
    empty = [n for n in number_columns if train[n].isna().all()]
    if empty:
        raise InputError(
            f"impute: no value to learn from in column {', '.join(empty)} of the train rows; "
            "leave it out of 'features'"
        )
    steps = [
        ("numbers", SimpleImputer(strategy=numbers), number_columns),
        (
            "text",
            SimpleImputer(strategy="constant", fill_value=text, missing_values=np.nan),
            list_text_columns(train, chosen),
        ),
    ]
    return _fit(steps, train, test, label, chosen)


@operator
def encode(
    train: pd.DataFrame,
    test: pd.DataFrame,
    label: str,
    features: list[str] | None = None,
    columns: list[str] | None = None,
    method: Annotated[str, Choice(["one-hot", "ordinal"])] = "one-hot",
    max_categories: Annotated[int, Range(2, 10_000)] = 100,
) -> Features:
    """Turn columns of text into numbers.

    `one-hot` makes a column of 0 and 1 for each value, as linear models need; a value that the train
    rows did not have gets zeros, or the column of the rare values where there is one. `ordinal`
    numbers the values in sorted order, which trees can use; an unknown value is -1 and a missing one
    stays missing.

    Args:
        train: rows to learn from.
        test: rows that get the same treatment.
        label: the column to predict; it stays as it is.
        features: the columns to keep; all but the label by default.
        columns: the features to encode; those that hold text by default.
        method: "one-hot" or "ordinal".
        max_categories: one-hot columns per feature; the rarer values share one.

    Returns:
        Both parts with numbers in place of text, and the transformer.

    Example:
        >>> rows = pd.DataFrame({"carrier": ["UA", "AA", "UA"], "late": [0, 1, 1]})
        >>> list(encode(rows, rows, "late").train.columns)
        ['carrier_AA', 'carrier_UA', 'late']
        >>> encode(rows, rows, "late", method="ordinal").train["carrier"].tolist()
        [1.0, 0.0, 1.0]
    """
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

    chosen = _choose(train, test, label, features, "encode")
    if columns is None:
        columns = list_text_columns(train, chosen)
    elif not set(columns) <= set(chosen):
        require_columns(train[chosen], columns, "encode, among the features")
    encoder = (
        OneHotEncoder(
            handle_unknown="infrequent_if_exist",
            max_categories=max_categories,
            sparse_output=False,
            dtype=np.float32,
        )
        if method == "one-hot"
        else OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float32)
    )
    return _fit([("text", encoder, columns)], train, test, label, chosen)


@operator
def scale(
    train: pd.DataFrame,
    test: pd.DataFrame,
    label: str,
    features: list[str] | None = None,
    columns: list[str] | None = None,
    method: Annotated[str, Choice(["standard", "robust", "minmax"])] = "standard",
) -> Features:
    """Bring numbers to a common scale, as linear models need.

    `standard` subtracts the mean and divides by the standard deviation, `robust` uses median and
    interquartile range, `minmax` maps the train rows to 0..1.

    Args:
        train: rows to learn from.
        test: rows that get the same treatment.
        label: the column to predict; it stays as it is.
        features: the columns to keep; all but the label by default.
        columns: the features to scale; those that hold numbers by default.
        method: "standard", "robust" or "minmax".

    Returns:
        Both parts with scaled numbers, and the transformer.

    Example:
        >>> rows = pd.DataFrame({"age": [1.0, 2.0, 3.0], "late": [0, 1, 1]})
        >>> scale(rows, rows, "late", method="minmax").test["age"].tolist()
        [0.0, 0.5, 1.0]
    """
    from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

    chosen = _choose(train, test, label, features, "scale")
    if columns is None:
        columns = list_number_columns(train, chosen)
    elif not set(columns) <= set(chosen):
        require_columns(train[chosen], columns, "scale, among the features")
    text = list_text_columns(train, columns)
    if text:
        raise InputError(f"scale: column {', '.join(text)} holds text; only numbers have a scale")
    scaler = {"standard": StandardScaler, "robust": RobustScaler, "minmax": MinMaxScaler}[method]()
    return _fit([("numbers", scaler, columns)], train, test, label, chosen)


@operator
def apply_transformer(transformer: Model, rows: pd.DataFrame) -> pd.DataFrame:
    """Apply what `impute`, `encode` or `scale` learned to further rows.

    Args:
        transformer: a fitted transformer.
        rows: a table that has the features; further columns are left out.

    Returns:
        The features, one row for each row of the table.

    Example:
        >>> rows = pd.DataFrame({"age": [1.0, 3.0], "late": [0, 1]})
        >>> learned = scale(rows, rows, "late", method="minmax").transformer
        >>> apply_transformer(learned, pd.DataFrame({"age": [2.0]}))["age"].tolist()
        [0.5]
    """
    names = [str(n) for n in transformer.feature_names_in_]
    require_columns(rows, names, "apply_transformer")
    require_rows(rows, "apply_transformer")
    result: pd.DataFrame = transformer.transform(rows[names])
    return result.reset_index(drop=True)


@operator
def chain(transformers: list[Model], model: Model) -> Model:
    """Join fitted transformers and a fitted model to one model that takes rows as they were before.

    Args:
        transformers: in the order in which they were applied.
        model: the model that was trained on what they made.

    Returns:
        A fitted `sklearn.pipeline.Pipeline`.

    Example:
        >>> from operators.train import train_logistic
        >>> rows = pd.DataFrame({"age": [1.0, 2.0, 3.0, 4.0], "late": [0, 0, 1, 1]})
        >>> ready = scale(rows, rows, "late")
        >>> whole = chain([ready.transformer], train_logistic(ready.train, "late"))
        >>> whole.predict(rows[["age"]]).tolist()
        [0, 0, 1, 1]
    """
    from sklearn.pipeline import Pipeline

    steps: list[tuple[str, Any]] = [(f"transformer_{i}", t) for i, t in enumerate(transformers, 1)]
    return Pipeline([*steps, ("model", model)])


@operator
def index_label(rows: pd.DataFrame, label: str) -> Indexed:
    """Number the classes of a label in sorted order, as XGBoost needs.

    Args:
        rows: the table.
        label: the column of the classes.

    Returns:
        The table with numbers in the label column, and the classes by number.

    Raises:
        InputError: there is no such column, or it has gaps.

    Example:
        >>> indexed = index_label(pd.DataFrame({"species": ["b", "a", "b"]}), "species")
        >>> indexed.rows["species"].tolist(), indexed.classes
        ([1, 0, 1], ['a', 'b'])
    """
    codes, classes = pd.factorize(require_label(rows, label, "index_label"), sort=True)
    return Indexed(rows=rows.assign(**{label: codes}), classes=[str(c) for c in classes])


def _choose(
    train: pd.DataFrame, test: pd.DataFrame, label: str, features: list[str] | None, where: str
) -> list[str]:
    require_label(train, label, f"{where}, train rows")
    require_rows(test, f"{where}, test rows")
    chosen = choose_features(train, label, features, f"{where}, train rows")
    require_columns(test, [*chosen, label], f"{where}, test rows")
    return chosen


def _fit(
    steps: list[tuple[str, Any, list[str]]],
    train: pd.DataFrame,
    test: pd.DataFrame,
    label: str,
    features: list[str],
) -> Features:
    from sklearn.compose import ColumnTransformer

    transformer = ColumnTransformer(
        [step for step in steps if step[2]],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    ready = transformer.fit_transform(train[features])
    return Features(
        train=_put_label(ready, train[label]),
        test=_put_label(transformer.transform(test[features]), test[label]),
        transformer=transformer,
    )


def _put_label(rows: pd.DataFrame, label: pd.Series[Any]) -> pd.DataFrame:
    return pd.concat([rows, label], axis=1).reset_index(drop=True)
