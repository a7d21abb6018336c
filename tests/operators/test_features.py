from __future__ import annotations

import pandas as pd
import pytest

from flowlearner import InputError
from operators.features import apply_transformer, chain, encode, impute, index_label, scale
from operators.predict import predict
from operators.train import train_logistic, train_xgboost

TRAIN = pd.DataFrame(
    {
        "carrier": ["UA", "AA", "UA", None],
        "age": [1.0, None, 3.0, 8.0],
        "weekday": [0, 1, 2, 3],
        "late": [0, 1, 0, 1],
    }
)
TEST = pd.DataFrame({"carrier": ["DL", None], "age": [None, 5.0], "weekday": [4, 5], "late": [1, 0]})


def test_gaps_are_filled_by_the_median_of_the_train_rows_alone() -> None:
    ready = impute(TRAIN, TEST, "late")
    assert ready.train["age"].tolist() == [1.0, 3.0, 3.0, 8.0]
    assert ready.test["age"].tolist() == [3.0, 5.0]


def test_gaps_may_be_filled_by_the_mean() -> None:
    assert impute(TRAIN, TEST, "late", numbers="mean").test["age"].tolist() == [4.0, 5.0]


def test_missing_text_is_filled_by_a_word() -> None:
    assert impute(TRAIN, TEST, "late", text="?").train["carrier"].tolist() == ["UA", "AA", "UA", "?"]


def test_a_column_without_any_value_cannot_be_filled() -> None:
    with pytest.raises(InputError, match="no value to learn from in column age"):
        impute(TRAIN.assign(age=float("nan")), TEST, "late")


def test_one_hot_gives_a_column_for_each_value_and_one_for_missing() -> None:
    ready = encode(TRAIN, TEST, "late", ["carrier"])
    assert list(ready.train.columns) == ["carrier_AA", "carrier_UA", "carrier_nan", "late"]
    assert ready.test.to_numpy().tolist() == [[0, 0, 0, 1], [0, 0, 1, 0]]


def test_rare_values_share_a_column() -> None:
    train = pd.DataFrame({"x": ["a"] * 3 + ["b"] * 2 + ["c", "d"], "late": [0, 1, 0, 1, 0, 1, 0]})
    ready = encode(train, train, "late", max_categories=2)
    assert list(ready.train.columns) == ["x_a", "x_infrequent_sklearn", "late"]


def test_ordinal_numbers_the_values_and_keeps_missing_and_unknown_apart() -> None:
    ready = encode(TRAIN, TEST, "late", method="ordinal")
    assert ready.train["carrier"].tolist()[:3] == [1.0, 0.0, 1.0]
    assert ready.train["carrier"].isna().tolist() == [False, False, False, True]
    assert ready.test["carrier"].tolist()[0] == -1


def test_other_columns_pass_as_they_are_and_the_label_comes_last() -> None:
    ready = encode(TRAIN, TEST, "late", method="ordinal")
    assert list(ready.train.columns) == ["carrier", "age", "weekday", "late"]
    assert ready.train["weekday"].tolist() == [0, 1, 2, 3]
    assert ready.test["late"].tolist() == [1, 0]


def test_only_the_chosen_features_are_kept() -> None:
    assert list(encode(TRAIN, TEST, "late", ["age", "carrier"], method="ordinal").test.columns) == [
        "carrier",
        "age",
        "late",
    ]


def test_the_scale_is_that_of_the_train_rows() -> None:
    ready = scale(TRAIN, TEST, "late", ["weekday"])
    assert ready.train["weekday"].mean() == pytest.approx(0)
    assert ready.train["weekday"].std(ddof=0) == pytest.approx(1)
    assert ready.test["weekday"].min() > ready.train["weekday"].max()


def test_text_has_no_scale() -> None:
    with pytest.raises(InputError, match="column carrier holds text"):
        scale(TRAIN, TEST, "late", columns=["carrier"])


@pytest.mark.parametrize("step", [impute, encode, scale])
class TestEveryStep:
    def test_the_label_may_not_be_a_feature(self, step) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(InputError, match="the label 'late' is among the features"):
            step(TRAIN, TEST, "late", ["age", "late"])

    def test_an_unknown_feature_is_refused(self, step) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(InputError, match=r"no column 'agee'\. Did you mean 'age'"):
            step(TRAIN, TEST, "late", ["agee"])

    def test_test_rows_without_a_feature_are_refused(self, step) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(InputError, match="test rows: the table has no column 'age'"):
            step(TRAIN, TEST.drop(columns="age"), "late")

    def test_test_rows_do_not_change_what_is_learned(self, step) -> None:  # type: ignore[no-untyped-def]
        one = step(TRAIN, TEST, "late").train
        other = step(TRAIN, TEST.assign(age=[1e9, -1e9], carrier="ZZ"), "late").train
        pd.testing.assert_frame_equal(one, other)

    def test_the_transformer_does_the_same_to_further_rows(self, step) -> None:  # type: ignore[no-untyped-def]
        ready = step(TRAIN, TEST, "late")
        again = apply_transformer(ready.transformer, TEST.drop(columns="late"))
        pd.testing.assert_frame_equal(again, ready.test.drop(columns="late"))

    def test_the_inputs_stay_as_they_were(self, step) -> None:  # type: ignore[no-untyped-def]
        train = TRAIN.copy(deep=True)
        step(train, TEST, "late")
        pd.testing.assert_frame_equal(train, TRAIN)


def test_a_chain_of_steps_and_a_model_takes_rows_as_they_were_at_first() -> None:
    filled = impute(TRAIN, TEST, "late")
    coded = encode(filled.train, filled.test, "late")
    scaled = scale(coded.train, coded.test, "late", columns=["age", "weekday"])
    model = train_logistic(scaled.train, "late")
    whole = chain([filled.transformer, coded.transformer, scaled.transformer], model)
    expected = predict(model, scaled.test)["probability"]
    pd.testing.assert_series_equal(predict(whole, TEST)["probability"], expected)


def test_a_chain_needs_neither_the_label_nor_other_columns_of_new_rows() -> None:
    train = TRAIN.assign(tailnum="N1")
    coded = encode(train, train, "late", ["carrier", "age"], method="ordinal")
    whole = chain([coded.transformer], train_xgboost(coded.train, "late", rounds=2))
    assert len(predict(whole, pd.DataFrame({"age": [1.0], "carrier": ["AA"]}))) == 1


def test_apply_transformer_names_a_missing_column() -> None:
    ready = encode(TRAIN, TEST, "late")
    with pytest.raises(InputError, match="apply_transformer: the table has no column 'carrier'"):
        apply_transformer(ready.transformer, TEST.drop(columns="carrier"))


def test_index_label_numbers_classes_in_sorted_order() -> None:
    indexed = index_label(pd.DataFrame({"species": ["b", "a", "b"], "x": [1, 2, 3]}), "species")
    assert indexed.rows["species"].tolist() == [1, 0, 1]
    assert indexed.classes == ["a", "b"]
