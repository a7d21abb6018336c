"""Operators that draw: ROC curve, calibration and feature importance, as Altair charts.

Each chart carries its data inside, a few hundred points at most, so that it can be shown anywhere.
Colours come from the theme of the page.
"""

from __future__ import annotations

from typing import Annotated, Any

import altair as alt
import numpy as np
import pandas as pd

from flowlearner import InputError, Model, Range, operator
from operators.evaluate import Floats, compute_calibration, take_binary

POINTS = 200


@operator
def plot_roc(predictions: pd.DataFrame, label: str, baseline: pd.DataFrame | None = None) -> alt.Chart:
    """Draw the ROC curve: true against false positive rate over all thresholds (Fawcett, 2006).

    Args:
        predictions: what `predict` returned for two classes, with the label among the kept columns.
        label: the column of what happened.
        baseline: predictions to compare with, of the same rows.

    Returns:
        A line chart of at most 200 points a curve, and the diagonal of chance.

    Example:
        >>> rows = pd.DataFrame({"late": [0, 1], "prediction": [0, 1], "probability": [0.1, 0.8]})
        >>> plot_roc(rows, "late").to_dict()["mark"]["type"]
        'line'
    """
    curves = [_trace_roc(predictions, label, "model")]
    if baseline is not None:
        curves.append(_trace_roc(baseline, label, "baseline"))
    chance = pd.DataFrame({"false_positives": [0.0, 1.0], "true_positives": [0.0, 1.0], "curve": "chance"})
    points = pd.concat([*curves, chance], ignore_index=True)
    return _draw_lines(points, "false_positives", "true_positives", "ROC curve").encode(
        x=alt.X("false_positives:Q", title="false positive rate", scale=alt.Scale(domain=[0, 1])),
        y=alt.Y("true_positives:Q", title="true positive rate", scale=alt.Scale(domain=[0, 1])),
    )


@operator
def plot_calibration(
    predictions: pd.DataFrame,
    label: str,
    bins: Annotated[int, Range(2, 100)] = 10,
    baseline: pd.DataFrame | None = None,
) -> alt.Chart:
    """Draw how often it happened against how probable it was said to be (a reliability diagram).

    Args:
        predictions: what `predict` returned for two classes, with the label among the kept columns.
        label: the column of what happened.
        bins: points of the curve, each of as many rows.
        baseline: predictions to compare with, of the same rows.

    Returns:
        A line chart, with the diagonal of perfect calibration.

    Example:
        >>> rows = pd.DataFrame({"late": [0, 1], "prediction": [0, 1], "probability": [0.1, 0.8]})
        >>> plot_calibration(rows, "late", bins=2).to_dict()["mark"]["point"]
        True
    """
    curves = [_trace_calibration(predictions, label, bins, "model")]
    if baseline is not None:
        curves.append(_trace_calibration(baseline, label, bins, "baseline"))
    perfect = pd.DataFrame({"predicted": [0.0, 1.0], "true": [0.0, 1.0], "rows": [0, 0], "curve": "perfect"})
    points = pd.concat([*curves, perfect], ignore_index=True)
    return _draw_lines(points, "predicted", "true", "Calibration", "rows").encode(
        x=alt.X("predicted:Q", title="predicted probability", scale=alt.Scale(domain=[0, 1])),
        y=alt.Y("true:Q", title="true rate", scale=alt.Scale(domain=[0, 1])),
    )


@operator
def plot_importance(model: Model, top: Annotated[int, Range(1, 100)] = 20) -> alt.Chart:
    """Draw the features that the model uses most, by its own account.

    For boosted trees and forests that is the mean gain of the splits as the library reports it, for
    linear models the size of the weights (which compares only scaled features). It says what the
    model uses, not what causes the label, and favours features of many values.

    Args:
        model: a fitted estimator, or a pipeline that ends in one.
        top: how many features to show.

    Returns:
        A bar chart; the shares of all features add up to 1.

    Raises:
        InputError: the model has neither importances nor weights.

    Example:
        >>> from operators.train import train_tree
        >>> rows = pd.DataFrame({"age": range(20), "late": [0] * 10 + [1] * 10})
        >>> plot_importance(train_tree(rows, "late")).to_dict()["mark"]["type"]
        'bar'
    """
    names, shares = _list_importances(model)
    bars = pd.DataFrame({"feature": names, "share": shares}).nlargest(top, "share")
    chart: alt.Chart = (
        alt.Chart(_inline(bars), title=f"Feature importance ({len(bars)} of {len(names)})")
        .mark_bar()
        .encode(
            x=alt.X("share:Q", title="share of the importance"),
            y=alt.Y("feature:N", sort="-x", title=None),
            tooltip=["feature:N", alt.Tooltip("share:Q", format=".4f")],
        )
        .properties(width=420)
    )
    return chart


def _trace_roc(predictions: pd.DataFrame, label: str, name: str) -> pd.DataFrame:
    from sklearn.metrics import auc, roc_curve

    chance, happened = take_binary(predictions, label, "plot_roc")
    false, true, _ = roc_curve(happened, chance)
    # Points at equal steps along the curve's length keep its shape better than every n-th one.
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(false)) + np.abs(np.diff(true)))])
    kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], POINTS)).clip(0, len(along) - 1))
    return pd.DataFrame(
        {
            "false_positives": false[kept],
            "true_positives": true[kept],
            "curve": f"{name} (AUC {auc(false, true):.3f})",
        }
    )


def _trace_calibration(predictions: pd.DataFrame, label: str, bins: int, name: str) -> pd.DataFrame:
    chance, happened = take_binary(predictions, label, "plot_calibration")
    found = compute_calibration(chance, happened, bins)
    return pd.DataFrame({"predicted": found.predicted, "true": found.true, "rows": found.rows, "curve": name})


def _draw_lines(points: pd.DataFrame, x: str, y: str, title: str, *further: str) -> alt.Chart:
    order = points["curve"].unique().tolist()
    steps = points.assign(step=range(len(points)))  # a ROC curve also goes straight up: x does not order it
    chart: alt.Chart = (
        alt.Chart(_inline(steps), title=title)
        .mark_line(point=bool(further), interpolate="linear")
        .encode(
            color=alt.Color("curve:N", sort=order, title=None, legend=alt.Legend(orient="bottom")),
            strokeDash=alt.StrokeDash(
                "curve:N",
                sort=order,
                scale=alt.Scale(domain=order, range=[[1, 0]] * (len(order) - 1) + [[4, 4]]),
                legend=None,
            ),
            order=alt.Order("step:Q"),
            tooltip=[
                "curve:N",
                *(alt.Tooltip(f"{n}:Q", format=".3f") for n in (x, y)),
                *(f"{n}:Q" for n in further),
            ],
        )
        .properties(width=420, height=320)
    )
    return chart


def _inline(points: pd.DataFrame) -> alt.InlineData:
    """Return the points as values of the chart itself, rounded to what can be seen."""
    records = points.round(5).to_dict(orient="records")
    return alt.InlineData(values=[{str(k): v for k, v in record.items()} for record in records])


def _list_importances(model: Any) -> tuple[list[str], Floats]:
    last = model
    names = getattr(model, "feature_names_in_", None)
    if hasattr(model, "steps"):
        last = model.steps[-1][1]
        names = getattr(last, "feature_names_in_", None)
        if names is None:
            names = model[:-1].get_feature_names_out()
    if hasattr(last, "feature_importances_"):
        weights = np.asarray(last.feature_importances_, dtype=np.float64)
    elif hasattr(last, "coef_"):
        weights = np.abs(np.atleast_2d(np.asarray(last.coef_, dtype=np.float64))).mean(axis=0)
    else:
        raise InputError(
            f"plot_importance: {type(last).__name__} keeps neither importances nor weights; "
            "train_xgboost, train_forest, train_tree, train_logistic and train_linear do"
        )
    total = weights.sum()
    found = [f"feature {i}" for i in range(len(weights))] if names is None else [str(n) for n in names]
    return found, weights / total if total > 0 else weights
