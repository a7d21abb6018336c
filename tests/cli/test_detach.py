"""--detach: what the command line hands to the runner, which makes just that of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowlearner import Client
from flowlearner.config import get_settings
from flowlearner.schedule import deployments
from flowlearner.schedule.launch import Launch, opened_run_launch, opened_sweep_launch
from tests.cli.conftest import Cli


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[Launch]:
    """What was handed to Prefect, which does not run here; tests of the client hand it to a real one."""
    found: list[Launch] = []
    monkeypatch.setattr(Client, "check_launching", lambda _: None)
    monkeypatch.setattr(deployments, "submit_launch", lambda _s, _id, launch, _secrets: found.append(launch))
    return found


def test_a_run_has_the_values_of_the_command_line(
    cli: Cli, project: Path, launches: list[Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("--smallest", "2", "-p", "note=a b", "--run-seed", "7", "--tag", "team=ops", "--no-cache")
    answer = cli("run", "tips.py:tips", "-p", "rows=tips.csv", *given, "--note", "why", "--detach", "--json")
    assert (answer.status, list(answer.document)) == (0, ["id"]), answer.err
    monkeypatch.chdir(project.parent)
    with opened_run_launch(launches[0], get_settings()) as submission:
        values = {"rows": str(project / "tips.csv"), "smallest": 2.0, "note": "a b"}
        assert dict(submission.bound.values) == values
        options = submission.options
        assert (options.seed, options.notes, options.cache) == (7, "why", False)
        assert dict(options.tags) == {"team": "ops"}


def test_a_sweep_has_the_space_and_the_words_of_the_command_line(
    cli: Cli, project: Path, launches: list[Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("--space", "smallest=0.5..2", "--search", "random", "--trials", "3", "--mode", "min")
    answer = cli("sweep", "tips.py:tips", "-p", "rows=tips.csv", *given, "--executor", "local", "--detach")
    assert answer.status == 0, answer.err
    assert "Launched sweep" in answer.out
    monkeypatch.chdir(project.parent)
    with opened_sweep_launch(launches[0], get_settings()) as submission:
        assert submission.space.describe() == {"smallest": "0.5..2"}
        assert dict(submission.fixed) == {"rows": str(project / "tips.csv")}
        assert (submission.objective.metrics, submission.objective.modes) == (("mean",), ("min",))
        assert (submission.total, submission.options.search, submission.options.executor) == (
            3, "random", "local",
        )  # fmt: skip


def test_a_clone_has_its_changes_and_what_completed_does_not_go_on(
    cli: Cli, run_tips: Callable[..., dict[str, Any]], launches: list[Launch]
) -> None:
    run = run_tips()
    assert cli("runs", "clone", run["id"][:8], "--set", "smallest=3", "--detach").status == 0
    assert (launches[0].run_id, dict(launches[0].params)) == (run["id"], {"smallest": "3"})
    answer = cli("runs", "resume", run["id"], "--detach")
    assert answer.status == 2
    assert "nothing is missing" in answer.err


@pytest.mark.parametrize("more", [["--plan"], ["--executor", "local"], ["--refresh", "clean"]])
def test_options_that_need_this_process_are_refused(cli: Cli, project: Path, more: list[str]) -> None:
    answer = cli("run", "tips.py:tips", "-p", "rows=tips.csv", "--detach", *more)
    assert answer.status == 2
    assert "--detach goes without" in answer.err


def test_without_services_it_says_how_they_are_started(cli: Cli, project: Path) -> None:
    answer = cli("run", "tips.py:tips", "-p", "rows=tips.csv", "--detach")
    assert answer.status == 3
    assert "`flowlearner up`" in answer.err
