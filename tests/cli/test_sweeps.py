"""The commands that look at sweeps and go on with them, and trials among runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowlearner import Client
from tests.cli.conftest import Cli

FRAGILE = """
from pathlib import Path
from typing import Annotated

from flowlearner import Metric, Range, Secret, operator, workflow


@operator
def load(n: int) -> int:
    return n


@operator
def judge(n: int, x: float) -> Metric:
    if x > 0.5 and Path("broken").exists():
        raise ValueError(f"{x} is too much")
    return n + x


@workflow
def fragile(x: Annotated[float, Range(0, 1)] = 0.5, n: int = 3) -> Metric:
    return judge(load(n), x)


@operator
def same(x: float) -> Metric:
    return 1.0


@workflow
def flat(x: Annotated[float, Range(0, 1)] = 0.5) -> Metric:
    return same(x)


@operator
def unlock(token: Secret, x: float) -> Metric:
    if Path("broken").exists():
        raise ValueError("closed")
    return x


@workflow
def locked(token: Secret, x: Annotated[float, Range(0, 1)] = 0.5) -> Metric:
    return unlock(token, x)
"""

Sweep = Callable[..., dict[str, Any]]


@pytest.fixture
def sweep(cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sweep]:
    """Run the sweep of fragile.py:fragile over five points and return its JSON."""
    (project / "fragile.py").write_text(FRAGILE)

    def run(*args: str) -> dict[str, Any]:
        words = ["sweep", "fragile.py:fragile", "--executor", "local", "--search", "grid"]
        words += ["--space", "x=0..1:0.25", "--json", *args]
        monkeypatch.setattr(sys, "argv", ["flowlearner", *words])
        document: dict[str, Any] = cli(*words).document
        return document

    yield run
    # What was resumed was loaded from its snapshot, and is in the way of the next test's file.
    sys.modules.pop("fragile", None)


def test_sweeps_are_listed_the_newest_first(cli: Cli, sweep: Sweep) -> None:
    first, second = sweep(), sweep("--experiment", "tries", "--mode", "min")
    listed = cli("sweeps", "list", "--json").document
    assert [s["id"] for s in listed] == [second["id"], first["id"]]
    assert listed[0]["best"] == second["best"]
    assert listed[0]["counts"] == {"COMPLETED": 5}
    assert "trials" not in listed[0]
    assert [s["id"] for s in cli("sweeps", "list", "--experiment", "tries", "--json").document] == [
        second["id"]
    ]
    assert cli("sweeps", "list", "--workflow", "other", "--json").document == []
    assert [s["id"] for s in cli("sweeps", "list", "--limit", "1", "--json").document] == [second["id"]]


def test_the_list_is_for_people_too(cli: Cli, sweep: Sweep) -> None:
    assert "No sweeps yet. Make the first one: flowlearner sweep" in cli("sweeps", "list").out
    answer = cli("sweeps", "list", "--workflow", "other")
    assert "No sweep fits." in answer.out
    assert "There is no workflow 'other'." in answer.err
    first, second = sweep(), sweep()
    out = cli("sweeps", "list").out
    for text in (first["id"][:8], second["id"][:8], "fragile", "COMPLETED", "5/5", "result=4.0"):
        assert text in out
    assert "--limit shows more" not in out
    assert "The latest 1 sweep; --limit shows more." in cli("sweeps", "list", "--limit", "1").out


def test_of_several_equal_trials_lists_and_shows_name_the_first(cli: Cli, sweep: Sweep) -> None:
    words = [
        "sweep",
        "fragile.py:flat",
        "--executor",
        "local",
        "--search",
        "grid",
        "--space",
        "x={0.3,0.1,0.2}",
    ]
    for mode in ("max", "min"):
        found = cli(*words, "--mode", mode, "--json").document
        assert found["best"]["params"] == {"x": 0.3}
        assert cli("sweeps", "list", "--json").document[0]["best"] == found["best"]


def test_what_earlier_runs_have_computed_is_counted_apart(cli: Cli, sweep: Sweep) -> None:
    assert sweep()["node_savings"] == {
        "load": {"shared": 4, "reused": 0},
        "judge": {"shared": 0, "reused": 0},
    }
    again = sweep()
    assert (again["node_executions"], again["node_savings"]["judge"]) == ({}, {"shared": 0, "reused": 5})
    assert "from earlier runs" in cli("sweeps", "show", again["id"]).out


def test_a_sweep_is_shown_with_its_best_trials(cli: Cli, sweep: Sweep) -> None:
    found = sweep("-p", "n=7", "--tag", "team=ops", "--note", "hello")
    answer = cli("sweeps", "show", found["id"][:6])
    assert answer.status == 0
    for text in (
        "fragile",
        "COMPLETED",
        "grid, seed 0",
        "team=ops",
        "hello",
        "0..1:0.25",
        "result (max)",
        "Best trials",
    ):
        assert text in answer.out
    assert f"Its best trial: flowlearner runs show {found['best']['run_id'][:8]}" in answer.out
    assert "flowlearner run fragile.py:fragile -p n=7 -p x=1.0 --executor local" in answer.out
    rows = [
        li.split() for li in answer.out.partition("Best trials")[2].splitlines() if li[:8].strip().isdigit()
    ]
    assert [row[0] for row in rows] == ["4", "3", "2", "1", "0"]
    few = cli("sweeps", "show", found["id"], "--trials", "2").out
    assert "… 3 more; --trials N shows more" in few
    assert "Best trials" not in cli("sweeps", "show", found["id"], "--trials", "0").out


def test_the_json_of_show_is_that_of_the_sweep(cli: Cli, sweep: Sweep) -> None:
    found = sweep()
    assert cli("sweeps", "show", found["id"], "--json").document == found


def test_a_sweep_that_is_not_there_is_not_found(cli: Cli, sweep: Sweep) -> None:
    sweep()
    for words in (["show"], ["stop"], ["resume"], ["retry"]):
        answer = cli("sweeps", *words, "nothing")
        assert answer.status == 2
        assert "no sweep 'nothing' in the catalog" in answer.err
    assert cli("runs", "list", "--sweep", "nothing").status == 2


def test_what_has_ended_cannot_be_stopped_resumed_or_retried(cli: Cli, sweep: Sweep) -> None:
    found = sweep()
    for word, message in (("stop", "has ended"), ("resume", "has ended"), ("retry", "no failed trial")):
        answer = cli("sweeps", word, found["id"])
        assert (answer.status, answer.out) == (2, "")
        assert message in answer.err


def test_failed_trials_run_again_in_the_same_sweep(cli: Cli, sweep: Sweep, project: Path) -> None:
    (project / "broken").touch()
    found = sweep()
    assert found["counts"] == {"COMPLETED": 3, "FAILED": 2}
    (project / "broken").unlink()
    answer = cli("sweeps", "retry", found["id"][:8], "--json")
    assert answer.status == 0, answer.err
    again = answer.document
    assert (again["id"], again["counts"]) == (found["id"], {"COMPLETED": 5})
    assert again["best"]["params"] == {"x": 1.0}
    assert len(Client().list_sweeps()) == 1


def test_a_sweep_that_too_many_failures_ended_is_resumed(cli: Cli, sweep: Sweep, project: Path) -> None:
    (project / "broken").touch()
    found = sweep("--max-failures", "0", "--parallel", "1")
    assert (found["status"], len(found["trials"])) == ("FAILED", 4)
    (project / "broken").unlink()
    answer = cli("sweeps", "retry", found["id"])
    assert answer.status == 0, answer.err + answer.out
    assert "5 trials (5 completed)" in answer.out


def test_a_secret_is_given_again_for_it_is_recorded_nowhere(
    cli: Cli, sweep: Sweep, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "broken").touch()
    words = [
        "sweep",
        "fragile.py:locked",
        "--executor",
        "local",
        "--space",
        "x={0.1,0.2}",
        "--search",
        "grid",
    ]
    monkeypatch.setattr(sys, "argv", ["flowlearner", *words, "-p", "token=hush"])
    answer = cli(*words, "-p", "token=hush")
    assert answer.status == 1
    sweep_id = Client().list_sweeps()[0].id
    (project / "broken").unlink()
    assert cli("sweeps", "retry", sweep_id).status == 2
    answer = cli("sweeps", "retry", sweep_id, "-p", "token=hush")
    assert answer.status == 0, answer.err
    assert "-p token=..." in answer.out
    shown = cli("sweeps", "show", sweep_id).out
    assert "hush" not in answer.out + shown
    assert "-p token=***" in shown


# Trials among runs


def test_runs_list_shows_the_trials_of_a_sweep(cli: Cli, sweep: Sweep) -> None:
    found, _ = sweep(), sweep("--no-cache")
    listed = cli("runs", "list", "--sweep", found["id"][:8], "--json").document
    assert {r["id"] for r in listed} == {t["run_id"] for t in found["trials"]}
    assert cli("runs", "list", "--json").document == []


def test_a_query_for_a_sweep_finds_its_trials(cli: Cli, sweep: Sweep) -> None:
    found = sweep()
    listed = cli("search", f"sweep = {found['id']} and param.x > 0.6", "--json").document
    assert {r["trial_number"] for r in listed} == {3, 4}


def test_a_trial_names_its_sweep_and_number(cli: Cli, sweep: Sweep) -> None:
    found = sweep()
    best = cli("runs", "show", found["best"]["run_id"])
    assert f"{found['id']}, trial 4" in best.out
    shown = cli("runs", "show", found["best"]["run_id"], "--json").document
    assert (shown["sweep_id"], shown["trial_number"]) == (found["id"], 4)
