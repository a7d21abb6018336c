from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flowlearner import InputError
from operators.features import chain, scale
from operators.plots import POINTS, plot_calibration, plot_importance, plot_roc
from operators.train import train_hist_gradient_boosting, train_logistic, train_tree, train_xgboost

GENERATOR = np.random.default_rng(0)
CHANCE = GENERATOR.uniform(size=5000)
HAPPENED = (GENERATOR.uniform(size=5000) < CHANCE).astype(int)
ROWS = pd.DataFrame({"late": HAPPENED, "prediction": (CHANCE > 0.5).astype(int), "probability": CHANCE})
TABLE = pd.DataFrame({"a": CHANCE, "b": CHANCE[::-1], "late": HAPPENED})


def list_points(chart: Any) -> pd.DataFrame:
    found = chart.to_dict()
    return pd.DataFrame(found["datasets"][found["data"]["name"]])


def test_a_roc_curve_of_many_rows_has_few_points_and_keeps_its_area() -> None:
    points = list_points(plot_roc(ROWS, "late"))
    curve = points[points["curve"] != "chance"]
    assert len(curve) <= POINTS
    area = np.trapezoid(curve["true_positives"], curve["false_positives"])
    assert curve["curve"].iloc[0] == f"model (AUC {area:.3f})"


def test_a_roc_curve_goes_from_corner_to_corner() -> None:
    points = list_points(plot_roc(ROWS, "late"))[["false_positives", "true_positives"]]
    assert points.iloc[0].tolist() == [0, 0]
    assert points.iloc[-3].tolist() == [1, 1]


def test_a_baseline_is_drawn_beside_the_model() -> None:
    points = list_points(plot_roc(ROWS, "late", ROWS.assign(probability=0.5)))
    assert points["curve"].unique().tolist()[1:] == ["baseline (AUC 0.500)", "chance"]


def test_the_calibration_curve_has_a_point_for_each_bin() -> None:
    points = list_points(plot_calibration(ROWS, "late", bins=7))
    assert (points["curve"] == "model").sum() == 7
    assert points["rows"].sum() == 5000


def test_a_calibration_chart_may_have_a_baseline() -> None:
    points = list_points(plot_calibration(ROWS, "late", baseline=ROWS.assign(probability=0.5)))
    assert points["curve"].unique().tolist() == ["model", "baseline", "perfect"]


@pytest.mark.parametrize("train", [train_xgboost, train_tree, train_logistic])
def test_the_most_important_feature_comes_first(train: Any) -> None:
    bars = list_points(plot_importance(train(TABLE, "late")))
    assert bars["feature"].tolist() == ["a", "b"]
    assert bars["share"].sum() == pytest.approx(1, abs=1e-4)


def test_only_the_top_features_are_drawn() -> None:
    assert len(list_points(plot_importance(train_tree(TABLE, "late"), top=1))) == 1


def test_a_chain_shows_the_features_of_its_last_step() -> None:
    ready = scale(TABLE, TABLE, "late")
    whole = chain([ready.transformer], train_logistic(ready.train, "late"))
    assert list_points(plot_importance(whole))["feature"].tolist() == ["a", "b"]


def test_a_model_without_importances_is_refused_by_name() -> None:
    model = train_hist_gradient_boosting(TABLE, "late", rounds=2)
    with pytest.raises(
        InputError, match="HistGradientBoostingClassifier keeps neither importances nor weights"
    ):
        plot_importance(model)


@pytest.mark.parametrize("plot", [plot_roc, plot_calibration])
def test_predictions_without_a_probability_cannot_be_drawn(plot: Any) -> None:
    with pytest.raises(InputError, match="the table has no column 'probability'"):
        plot(ROWS.drop(columns="probability"), "late")


@pytest.mark.parametrize("plot", [plot_roc, plot_calibration])
def test_a_chart_carries_its_data_inside_and_fixes_no_colour(plot: Any) -> None:
    text = plot(ROWS, "late").to_json()
    assert "url" not in json.loads(text)["data"]
    assert "#" not in text.replace("$schema", "")
    assert len(text) < 64 * 1024


@pytest.mark.parametrize("plot", [plot_roc, plot_calibration])
def test_drawing_twice_gives_the_same_chart(plot: Any) -> None:
    assert plot(ROWS, "late").to_dict() == plot(ROWS, "late").to_dict()
