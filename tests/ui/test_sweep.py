"""The pages of sweeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flowlearner import Client
from flowlearner.catalog import Catalog
from flowlearner.lease import get_process_owner
from flowlearner.records import Status
from tests.catalog.make import ENVIRONMENT
from tests.ui.conftest import Open, read_texts
from tests.ui.filling import Filled


def test_a_sweep_tells_the_best_and_all_trials(runs: Filled, client: Client, open_page: Open) -> None:
    page = open_page("sweep", id=runs.sweep)
    assert not page.exception
    metrics = {m.label: m.value for m in page.metric}
    best = client.get_sweep(runs.sweep).find_best()
    assert best is not None
    assert metrics["Best score"] == f"{best.values[0]:.6g}"
    assert metrics["Completed"] == "6"
    trials = page.dataframe[len(page.dataframe) - 1].value
    assert trials["number"].tolist() == list(range(6))
    assert {"rate", "rounds", "score"} <= set(trials.columns)


def test_the_slice_is_chosen_in_the_address(runs: Filled, open_page: Open) -> None:
    assert open_page("sweep", id=runs.sweep, slice="rounds").selectbox(key="slice").value == "rounds"


def test_two_metrics_have_a_pareto_front(runs: Filled, open_page: Open) -> None:
    page = open_page("sweep", id=runs.pair)
    assert not page.exception
    assert "Pareto front" in [s.value for s in page.subheader]
    assert "Best gain" not in [m.label for m in page.metric]


def test_trials_that_reported_nothing_have_no_curves(runs: Filled, open_page: Open) -> None:
    page = open_page("sweep", id=runs.sweep, curves="true")
    assert not page.exception
    assert "No trial has reported it by steps." in read_texts(page)


def test_a_sweep_of_which_nothing_has_run_says_so(own_runs: Filled, client: Client, open_page: Open) -> None:
    with Catalog(client.settings.catalog_url) as catalog:
        ended = catalog.get_sweep(own_runs.sweep)
        begun = replace(
            ended, id="waiting", status=Status.RUNNING, finished_at=None, process=get_process_owner()
        )
        catalog.begin_sweep(begun, ENVIRONMENT)
    page = open_page("sweep", id="waiting")
    assert not page.exception
    assert "No trial has begun." in [i.value for i in page.info]
    assert "Running" in read_texts(page)
    next(b for b in page.button if b.label == "Stop").click()
    page.run()
    assert client.get_sweep("waiting").record.stop_requested


@pytest.mark.parametrize("sweep_id", ["nobody", "%", "x" * 5000])
def test_an_unknown_sweep_is_told_with_a_way_on(runs: Filled, open_page: Open, sweep_id: str) -> None:
    page = open_page("sweep", id=sweep_id)
    assert not page.exception
    assert len(page.error) == 1
    assert page.get("page_link")


def test_an_address_without_a_sweep_says_so(runs: Filled, open_page: Open) -> None:
    assert "names no sweep" in open_page("sweep").info[0].value


def test_all_sweeps_are_listed(runs: Filled, open_page: Open) -> None:
    table = open_page("sweeps").dataframe[0].value
    assert set(table["sweep"]) == {f"/sweep?id={runs.sweep}", f"/sweep?id={runs.pair}"}
    assert table["status"].tolist() == [["COMPLETED"], ["COMPLETED"]]


@pytest.mark.parametrize("page_number", ["2", "x", "-1", "0", "9999999"])
def test_a_page_of_sweeps_beyond_the_last_is_no_mistake(
    runs: Filled, open_page: Open, page_number: str
) -> None:
    assert not open_page("sweeps", page=page_number).exception


def test_without_sweeps_it_says_how_to_make_one(own_home: Path, open_page: Open) -> None:
    page = open_page("sweeps")
    assert "no sweep here yet" in page.info[0].value
    assert "flowlearner sweep" in page.code[0].value
