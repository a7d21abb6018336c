"""The list of runs."""

from __future__ import annotations

from tests.ui.conftest import Open, read_texts
from tests.ui.filling import Filled


def test_x(runs: Filled, open_page: Open) -> None:
    page = open_page("runs")
    assert not page.exception
    print(read_texts(page))
    print(page.dataframe[0].value)
    page = open_page("run", id=runs.good)
    assert not page.exception
    print(read_texts(page))
