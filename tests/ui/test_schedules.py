"""The page of schedules, on a real Prefect server: what it lists and what its buttons do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from flowlearner import Client
from flowlearner.cli.main import main
from flowlearner.config import get_settings
from tests.schedule.project import write_project
from tests.ui.conftest import Open, read_texts


@pytest.fixture
def schedules(tmp_path: Path, own_home: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with two schedules, one of them paused, on a server without a runner."""
    write_project(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", server)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"nightly-{own_home.name}"
    run = ["sched_flows.py:mean", "-p", "rows=rows.csv", "--experiment", "nights"]
    assert main(["schedules", "add", name, "--cron", "0 2 * * *", "--timezone", "Europe/Paris", *run]) == 0
    assert (
        main(["schedules", "add", f"weekly-{own_home.name}", "--every", "3600", "--spec", "sweep.yaml"]) == 0
    )
    assert main(["schedules", "pause", f"weekly-{own_home.name}"]) == 0
    sys.modules.pop("sched_flows", None)
    return own_home


def find(elements: Any, label: str) -> Any:
    return next(e for e in elements if e.label == label)


def test_it_lists_them_and_pauses_and_resumes(schedules: Path, open_page: Open) -> None:
    with Client(get_settings()) as client:
        client.upgrade_catalog()
    page = open_page("schedules")
    assert not page.exception
    table = page.dataframe[0].value
    assert table["Workflow"].tolist() == ["mean", "mean"]
    assert table["When"].tolist() == ["0 2 * * * Europe/Paris", "every 1 h 0 min"]
    assert table["State"].tolist() == ["on", "paused"]
    assert table["Next"].notna().tolist() == [True, False]
    said = read_texts(page)
    assert "flowlearner run" in said
    assert "Nothing yet." in said
    # There is no runner.
    assert "None of them fires" in said

    find(page.button, "Pause").click().run()
    assert page.dataframe[0].value["State"].tolist() == ["paused", "paused"]
    find(page.button, "Resume").click().run()
    assert page.dataframe[0].value["State"].tolist() == ["on", "paused"]
    find(page.button, "Run now").click().run()
    assert "flowlearner up" in page.error[0].value.replace("\\", "")

    weekly = open_page("schedules", name=f"weekly-{schedules.name}")
    assert find(weekly.selectbox, "Schedule").value == f"weekly-{schedules.name}"
    assert "sweep.yaml" in read_texts(weekly)
    assert "There is no schedule" in read_texts(open_page("schedules", name="nope"))


def test_without_a_server_it_says_how_one_is_started(own_home: Path, open_page: Open) -> None:
    page = open_page("schedules")
    assert not page.exception
    assert "flowlearner up" in read_texts(page)


def test_where_there_is_none_it_says_how_one_is_made(
    own_home: Path, server: str, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", server)
    page = open_page("schedules")
    assert not page.exception
    assert "flowlearner schedules add nightly" in read_texts(page)
