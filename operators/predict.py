"""Operators that let a model predict."""

from __future__ import annotations

from typing import Any

import pandas as pd

from flowlearner import InputError, Model, operator
from operators.tables import require_columns, require_rows

PREDICTION = "prediction"
PROBABILITY = "probability"


@operator
def predict(model: Model, rows: pd.DataFrame, keep: list[str] | None = None) -> pd.DataFrame:
    """Predict a value for each row, and for a classifier the probabilities.

    Args:
        model: a fitted estimator.
        rows: a table that has the model's features; further columns do no harm.
        keep: the columns of `rows` that go along, such as the label; all by default.

    Returns:
        The kept columns and `prediction`. A classifier of two classes adds `probability`, that of the
        greater class; one of more adds `probability_CLASS` for each.

    Raises:
        InputError: a feature is missing, or a kept column has one of the names above.

    Example:
        >>> from operators.train import train_tree
        >>> rows = pd.DataFrame({"age": range(20), "late": [0] * 10 + [1] * 10})
        >>> list(predict(train_tree(rows, "late"), rows, keep=["late"]).columns)
        ['late', 'prediction', 'probability']
    """
    from sklearn.base import is_classifier

    require_rows(rows, "predict")
    names = getattr(model, "feature_names_in_", None)
    x = rows
    if names is not None:
        required = [str(n) for n in names]
        require_columns(rows, required, "predict")
        x = rows[required]
    kept = [str(c) for c in rows.columns] if keep is None else list(keep)
    require_columns(rows, kept, "predict, input 'keep'")
    made: dict[str, Any] = {PREDICTION: model.predict(x)}
    if is_classifier(model) and hasattr(model, "predict_proba"):
        chances = model.predict_proba(x)
        if len(model.classes_) == 2:
            made[PROBABILITY] = chances[:, 1]
        else:
            made |= {f"{PROBABILITY}_{c}": chances[:, i] for i, c in enumerate(model.classes_)}
    taken = [n for n in kept if n in made]
    if taken:
        raise InputError(f"predict: the table already has a column '{taken[0]}'; leave it out of 'keep'")
    return pd.concat([rows[kept].reset_index(drop=True), pd.DataFrame(made)], axis=1)
