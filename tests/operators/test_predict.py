from __future__ import annotations

import pandas as pd
import pytest

from flowlearner import InputError
from operators.predict import predict
from operators.train import train_tree, train_xgboost

ROWS = pd.DataFrame({"age": range(30), "late": [0] * 15 + [1] * 15})
MODEL = train_tree(ROWS, "late")


def test_two_classes_give_the_probability_of_the_greater() -> None:
    found = predict(MODEL, ROWS, keep=[])
    assert list(found.columns) == ["prediction", "probability"]
    assert found["probability"].tolist() == [0.0] * 15 + [1.0] * 15


def test_more_classes_give_a_probability_each_that_add_up_to_1() -> None:
    rows = pd.DataFrame({"age": range(30), "species": ["a"] * 10 + ["b"] * 10 + ["c"] * 10})
    found = predict(train_tree(rows, "species"), rows, keep=[])
    assert list(found.columns) == ["prediction", "probability_a", "probability_b", "probability_c"]
    assert found.filter(like="probability_").sum(axis=1).tolist() == pytest.approx([1.0] * 30)


def test_a_regression_gives_a_prediction_alone() -> None:
    model = train_tree(ROWS, "late", task="regression")
    assert list(predict(model, ROWS, keep=[]).columns) == ["prediction"]


def test_all_columns_go_along_by_default() -> None:
    assert list(predict(MODEL, ROWS).columns) == ["age", "late", "prediction", "probability"]


def test_the_columns_of_the_table_may_be_in_any_order_and_more() -> None:
    model = train_xgboost(ROWS.assign(b=1.0), "late", features=["b", "age"], rounds=2)
    rows = ROWS.assign(name="x", b=1.0)
    assert predict(model, rows)["prediction"].tolist() == ROWS["late"].tolist()


def test_the_rows_are_numbered_from_0_whatever_the_index() -> None:
    assert predict(MODEL, ROWS[10:20], keep=["age"])["age"].tolist() == list(range(10, 20))


def test_a_missing_feature_is_named() -> None:
    with pytest.raises(InputError, match=r"predict: the table has no column 'age'\. Did you mean 'agee'\?"):
        predict(MODEL, ROWS.rename(columns={"age": "agee"}))


def test_an_unknown_column_to_keep_is_named() -> None:
    with pytest.raises(
        InputError, match=r"input 'keep': the table has no column 'lat'\. Did you mean 'late'"
    ):
        predict(MODEL, ROWS, keep=["lat"])


def test_a_kept_column_may_not_have_the_name_of_a_result() -> None:
    with pytest.raises(InputError, match="already has a column 'prediction'"):
        predict(MODEL, ROWS.assign(prediction=0))


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(InputError, match="predict: expected at least 1 rows, found 0"):
        predict(MODEL, ROWS.head(0))
