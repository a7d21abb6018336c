"""Runs side by side."""

from __future__ import annotations

import pytest

from tests.ui.conftest import Open, read_texts
from tests.ui.filling import Filled


def titles(page: object) -> list[str]:
    return [s.value for s in page.subheader]  # type: ignore[attr-defined]


def test_only_what_differs_is_shown_by_default(runs: Filled, open_page: Open) -> None:
    page = open_page("compare", runs=f"{runs.good},{runs.again}")
    assert not page.exception
    assert "Parameters" in titles(page)
    assert "Environment" not in titles(page)
    assert "The same in all: tags, outputs, code, environment." in read_texts(page)
    page.toggle(key="equal").set_value(True).run()
    assert "Environment" in titles(page)


def test_differences_are_to_the_baseline_of_the_address(runs: Filled, open_page: Open) -> None:
    page = open_page("compare", runs=f"{runs.good},{runs.again}", view="Difference", baseline=runs.again[:8])
    table = page.dataframe[0].value
    assert table.loc["score", runs.good[:8]] == pytest.approx(0.2)
    assert table.loc["score", runs.again[:8]] == 0


def test_curves_lie_over_each_other(runs: Filled, open_page: Open) -> None:
    page = open_page("compare", runs=f"{runs.good},{runs.again}")
    assert "Curves" in titles(page)
    assert page.selectbox(key="curve").options == ["accuracy", "loss"]


def test_three_runs_have_groups_and_parallel_coordinates(runs: Filled, open_page: Open) -> None:
    page = open_page("compare", runs=f"{runs.good},{runs.again},{runs.lost}")
    assert not page.exception
    assert "Parallel coordinates" in titles(page)
    groups = page.dataframe[len(page.dataframe) - 1].value
    assert groups["n"].tolist() == [1, 1, 1]


def test_runs_of_any_kind_can_be_compared(runs: Filled, open_page: Open) -> None:
    ids = (runs.good, runs.odd, runs.failed, runs.bare, runs.wide, runs.gone)
    page = open_page("compare", runs=",".join(ids))
    assert not page.exception
    assert page.dataframe[0].value.shape[1] == len(ids)


@pytest.mark.parametrize(
    "ids", ["", "nobody", "nobody,nothing", "{good}", "{good},{good}", "{good},nobody", ",,"]
)
def test_fewer_than_two_runs_are_told(runs: Filled, open_page: Open, ids: str) -> None:
    page = open_page("compare", runs=ids.format(good=runs.good))
    assert not page.exception
    assert len(page.info) == 1
    assert page.get("page_link")


def test_a_run_that_is_not_there_is_left_out(runs: Filled, open_page: Open) -> None:
    page = open_page("compare", runs=f"{runs.good},nobody,{runs.again}")
    assert len(page.warning) == 1
    assert page.dataframe[0].value.shape[1] == 2
