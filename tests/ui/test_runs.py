"""The list of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from flowlearner import Client
from tests.ui.conftest import Open, read_texts
from tests.ui.filling import Filled


def list_ids(page: AppTest) -> list[str]:
    assert not page.exception
    return [str(link).removeprefix("/run?id=") for link in page.dataframe[0].value["run"]]


def test_the_newest_runs_come_first_without_trials_and_deleted_ones(runs: Filled, open_page: Open) -> None:
    ids = list_ids(open_page())
    assert set(ids) == {runs.good, runs.again, runs.failed, runs.odd, runs.bare, runs.wide, runs.lost}
    assert ids.index(runs.odd) < ids.index(runs.again) < ids.index(runs.good)


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({"q": "metric.score > 0.8 and param.n = 20"}, ["good"]),
        ({"workflow": "failing"}, ["failed"]),
        ({"experiment": "lines", "q": "param.rate < 0.2"}, ["good"]),
        ({"status": "FAILED"}, ["failed"]),
        ({"owner": "ada"}, ["bare", "wide"]),
        ({"tag": "team=ops", "q": "param.rate = 0.1"}, ["good"]),
        ({"since": "Last hour", "workflow": "unbounded"}, ["odd"]),
        ({"which": "Deleted"}, ["gone"]),
    ],
)  # fmt: skip
def test_filters_in_the_address_decide_what_is_listed(
    runs: Filled, open_page: Open, params: dict[str, Any], wanted: list[str]
) -> None:
    assert set(list_ids(open_page(**params))) == {getattr(runs, name) for name in wanted}


def test_trials_are_listed_where_they_are_asked_for(runs: Filled, open_page: Open) -> None:
    page = open_page(which="Runs and trials", q="status = COMPLETED and workflow = 'weighing'")
    assert len(list_ids(page)) == 4


def test_a_filter_that_is_chosen_counts_at_once(runs: Filled, open_page: Open) -> None:
    page = open_page()
    page.selectbox(key="workflow").select("failing").run()
    assert list_ids(page) == [runs.failed]


def test_the_order_comes_from_the_database(runs: Filled, open_page: Open) -> None:
    page = open_page(order="metric.score", ascending="true", workflow="line")
    ids = list_ids(page)
    assert ids.index(runs.again) < ids.index(runs.good)


def test_columns_are_chosen_in_the_address(runs: Filled, open_page: Open) -> None:
    page = open_page(columns=["param.rate", "param.nobody"])
    assert list(page.dataframe[0].value.columns[-2:]) == ["param.rate", "param.nobody"]
    assert not page.exception


@pytest.mark.parametrize("since", ["Any time", "Last hour"])
def test_a_broken_query_is_marked_where_it_breaks(runs: Filled, open_page: Open, since: str) -> None:
    page = open_page(q="metric.score >> 1", since=since)
    assert not page.exception
    assert not page.dataframe
    assert len(page.error) == 1
    text, mark = page.code[0].value.split("\n")
    assert text == "metric.score >> 1"
    assert mark.index("^") == 14


def test_parentheses_of_a_query_cannot_reach_beyond_it(runs: Filled, open_page: Open) -> None:
    page = open_page(q="n = 20) or (n = 22", since="Last hour")
    assert len(page.error) == 1
    assert page.code[0].value.startswith("n = 20) or (n = 22\n")


def test_a_name_that_no_run_has_is_told(runs: Filled, open_page: Open) -> None:
    page = open_page(q="metric.scoer > 0.5")
    assert page.info[0].value == "No run fits."
    assert "metric\\.score" in read_texts(page)


def test_a_known_name_is_put_into_the_search(runs: Filled, open_page: Open) -> None:
    page = open_page(q="rate < 1")
    page.button_group(key="suggest-metric").select("metric.score").run()
    assert page.text_input(key="q").value == "rate < 1 and metric.score"


def test_an_empty_catalog_says_how_to_make_the_first_run(own_home: Path, open_page: Open) -> None:
    page = open_page()
    assert not page.exception
    assert "no run yet" in page.info[0].value
    assert page.code[0].value == "flowlearner demo"


def test_more_runs_than_fit_come_in_pages(own_runs: Filled, client: Client, open_page: Open) -> None:
    page = open_page(which="Runs and trials")
    assert not page.number_input
    sweep = client.get_sweep(own_runs.sweep)
    assert len(list_ids(page)) == 17
    assert set(list_ids(page)) >= {t.run_id for t in sweep.trial_records}


@pytest.mark.parametrize(
    "params",
    [
        {"page": "99"}, {"page": "x"}, {"order": "metric.nobody"}, {"workflow": "nobody"}, {"since": "never"},
        {"which": "all"}, {"status": "LOST"}, {"tag": "nonsense"}, {"columns": "x" * 5000},
    ],
)  # fmt: skip
def test_nonsense_in_the_address_shows_a_page(runs: Filled, open_page: Open, params: dict[str, str]) -> None:
    page = open_page(**params)
    assert not page.exception
    assert page.dataframe or page.info or page.error


def test_a_list_is_saved_under_a_name_opened_and_removed(
    own_runs: Filled, client: Client, open_page: Open
) -> None:
    page = open_page(workflow="line", q="param.rate < 1", columns=["param.rate", "metric.score"])
    next(t for t in page.text_input if t.label == "Name").set_value("<b>lines</b>")
    next(b for b in page.button if b.label == "Save this list").click()
    page.run()
    (view,) = client.list_views()
    assert view.name == "<b>lines</b>"
    assert view.query == "workflow=line&q=param.rate+%3C+1&columns=param.rate&columns=metric.score"
    (link,) = [p.proto for p in page.get("page_link") if "lines" in p.proto.label]
    assert "<" not in link.label.replace("\\<", "")
    assert "columns=param.rate&columns=metric.score" in link.query_string
    next(s for s in page.selectbox if s.label == "Remove").select("<b>lines</b>").run()
    next(b for b in page.button if b.label == "Remove").click()
    page.run()
    assert client.list_views() == []
    assert not page.exception


def test_a_view_without_a_name_is_refused(own_runs: Filled, client: Client, open_page: Open) -> None:
    page = open_page()
    next(b for b in page.button if b.label == "Save this list").click()
    page.run()
    assert "needs a name" in page.error[0].value
    assert client.list_views() == []


def test_a_workflow_that_nobody_knows_has_no_run(runs: Filled, open_page: Open) -> None:
    page = open_page(workflow="nobody")
    assert page.info[0].value == "No run fits."
    assert page.selectbox(key="workflow").value == "nobody"
