from __future__ import annotations

import pandas as pd
import pytest

from flowlearner import InputError
from operators.split import Parts, split_by_time, split_random, split_stratified

ROWS = pd.DataFrame({"x": range(100), "late": [0] * 80 + [1] * 20})


def rejoin(parts: Parts) -> list[int]:
    return sorted(parts.train["x"].tolist() + parts.test["x"].tolist())


@pytest.mark.parametrize("split", [split_random, lambda rows, **k: split_stratified(rows, "late", **k)])
class TestRandomSplits:
    def test_each_row_lands_on_one_side(self, split) -> None:  # type: ignore[no-untyped-def]
        assert rejoin(split(ROWS, test_size=0.3, seed=1)) == list(range(100))

    def test_the_test_part_has_the_size_asked_for(self, split) -> None:  # type: ignore[no-untyped-def]
        assert len(split(ROWS, test_size=0.3, seed=1).test) == 30

    def test_one_seed_gives_one_split(self, split) -> None:  # type: ignore[no-untyped-def]
        assert split(ROWS, seed=3).test.equals(split(ROWS, seed=3).test)

    def test_another_seed_gives_another_split(self, split) -> None:  # type: ignore[no-untyped-def]
        assert not split(ROWS, seed=3).test.equals(split(ROWS, seed=4).test)

    def test_no_seed_is_seed_0(self, split) -> None:  # type: ignore[no-untyped-def]
        assert split(ROWS).test.equals(split(ROWS, seed=0).test)

    def test_both_parts_keep_the_order_and_are_numbered_from_0(self, split) -> None:  # type: ignore[no-untyped-def]
        for part in split(ROWS, seed=1):
            assert part["x"].is_monotonic_increasing
            assert part.index.tolist() == list(range(len(part)))


def test_a_single_row_cannot_be_split() -> None:
    with pytest.raises(InputError, match="split_random: expected at least 2 rows, found 1"):
        split_random(ROWS.head(1))


def test_even_a_tiny_share_leaves_a_row_on_each_side() -> None:
    parts = split_random(ROWS.head(3), test_size=0.001)
    assert (len(parts.train), len(parts.test)) == (2, 1)


def test_a_stratified_split_keeps_the_share_of_each_class() -> None:
    parts = split_stratified(ROWS, "late", test_size=0.25, seed=1)
    assert (parts.train["late"].mean(), parts.test["late"].mean()) == (0.2, 0.2)


def test_a_stratified_split_takes_classes_of_text() -> None:
    rows = pd.DataFrame({"species": ["b", "a"] * 10})
    assert sorted(split_stratified(rows, "species").test["species"]) == ["a", "a", "b", "b"]


def test_a_class_of_a_single_row_cannot_be_stratified() -> None:
    rows = pd.DataFrame({"late": [0, 0, 0, 1]})
    with pytest.raises(InputError, match="class 1 of label 'late' has a single row"):
        split_stratified(rows, "late")


def test_a_missing_label_cannot_be_stratified() -> None:
    with pytest.raises(InputError, match="label 'late' is missing in 1 of 3 rows, the first at row 1"):
        split_stratified(pd.DataFrame({"late": [0.0, None, 1.0]}), "late")


def test_a_split_by_time_learns_only_from_what_was_before() -> None:
    rows = pd.DataFrame({"at": pd.date_range("2013-01-01", periods=10, tz="UTC")[::-1]})
    parts = split_by_time(rows, "at", test_size=0.3)
    assert parts.train["at"].max() < parts.test["at"].min()
    assert len(parts.test) == 3


def test_rows_of_one_moment_are_never_parted() -> None:
    parts = split_by_time(pd.DataFrame({"hour": [1, 2, 2, 2, 3]}), "hour", test_size=0.4)
    assert parts.train["hour"].tolist() == [1]


def test_rows_of_a_single_moment_cannot_be_split_by_time() -> None:
    with pytest.raises(InputError, match="no row is left to learn from, as 3 rows are at 5 or later"):
        split_by_time(pd.DataFrame({"hour": [5, 5, 5]}), "hour")


def test_times_as_text_are_refused_with_the_cure() -> None:
    with pytest.raises(
        InputError, match=r"holds str, expected timestamps or numbers; .*load_csv\(path, dates="
    ):
        split_by_time(pd.DataFrame({"at": ["2013-01-01", "2013-01-02"]}), "at")


def test_a_missing_time_is_refused() -> None:
    rows = pd.DataFrame({"at": [pd.Timestamp("2013-01-01"), pd.NaT]})
    with pytest.raises(InputError, match="column 'at' is missing in 1 rows"):
        split_by_time(rows, "at")


def test_an_unknown_time_column_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"no column 'hours'\. Did you mean 'hour'\?"):
        split_by_time(pd.DataFrame({"hour": [1, 2]}), "hours")


def test_a_split_leaves_its_input_as_it_was() -> None:
    rows = pd.DataFrame({"hour": [3, 1, 2]})
    train = split_by_time(rows, "hour").train
    train["hour"] = 0
    assert rows["hour"].tolist() == [3, 1, 2]
