"""The pages of workflows and operators."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ui.conftest import Open, read_texts
from tests.ui.filling import Filled


def test_a_workflow_of_the_address_is_shown(runs: Filled, open_page: Open) -> None:
    page = open_page("workflows", name="line")
    assert not page.exception
    assert "Fit a line to rows." in read_texts(page)
    interface = page.dataframe[1].value
    assert interface["name"].tolist()[:3] == ["n", "rate", "rounds"]
    assert "learning rate." in interface["about"].tolist()


def test_workflows_tell_how_their_runs_ended(runs: Filled, open_page: Open) -> None:
    table = open_page("workflows").dataframe[0].value.set_index("workflow")
    assert table.loc["failing", "failed"] == 1
    assert table.loc["line", "trials"] == 6


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("judge", ["judge"]),
        ("Fit a line", ["fit"]),
        ("altair.Chart", []),
        ("chart", ["draw"]),
        ("LOAD", ["load"]),
    ],
)
def test_operators_are_found_by_name_text_and_type(
    runs: Filled, open_page: Open, text: str, found: list[str]
) -> None:
    page = open_page("operators", q=text)
    assert not page.exception
    names = page.dataframe[0].value["operator"].tolist() if page.dataframe else []
    assert names == found


def test_an_operator_of_the_address_is_shown(runs: Filled, open_page: Open) -> None:
    page = open_page("operators", name="fit")
    texts = read_texts(page)
    assert "from tests.ui.flows import fit" in texts
    assert "fit(rows, rate, rounds)" in texts
    assert "LinearRegression()" in texts


@pytest.mark.parametrize("name", ["workflows", "operators"])
def test_an_unknown_name_is_told(runs: Filled, open_page: Open, name: str) -> None:
    page = open_page(name, name="<b>nobody</b>")
    assert not page.exception
    assert len(page.warning) == 1


@pytest.mark.parametrize("name", ["workflows", "operators"])
def test_an_empty_catalog_says_so(own_home: Path, open_page: Open, name: str) -> None:
    page = open_page(name)
    assert not page.exception
    assert len(page.info) == 1
