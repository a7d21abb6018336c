"""What people do with runs and sweeps, from beginning to end, where the catalog is on a PostgreSQL server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowlearner.cli.main import main

FLOW = """
import os
import signal
import time
from typing import Annotated, NamedTuple

from flowlearner import Metric, Range, operator, workflow


class Judged(NamedTuple):
    auc: Metric


def note(name):
    with open("calls", "a") as file:
        file.write(name + "\\n")


@operator
def load(size: int) -> list[int]:
    note("load")
    # What takes no time may share a transaction with what follows.
    time.sleep(0.05)
    return list(range(size))


@operator
def judge(rows: list[int], depth: int) -> Metric:
    if os.path.exists("deadly"):
        os.remove("deadly")
        os.kill(os.getpid(), signal.SIGKILL)
    note("judge")
    return sum(rows) / 100 + depth


@workflow
def delays(size: int = 10, depth: Annotated[int, Range(1, 9)] = 2) -> Judged:
    return Judged(judge(load(size), depth))
"""


@pytest.fixture
def project(tmp_path: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLOWLEARNER_CATALOG", postgresql_url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "team_flow.py").write_text(FLOW)
    return tmp_path


@pytest.fixture
def ask(project: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Give a command in this process and return its JSON document."""

    def call(*words: str) -> Any:
        capsys.readouterr()
        try:
            status = main([*words, "--json"])
        except SystemExit as ended:
            status = int(ended.code or 0)
        said = capsys.readouterr()
        assert status == 0, said.err
        return json.loads(said.out)

    return call


def test_runs_and_sweeps_are_recorded_found_and_reused(ask: Callable[..., Any], project: Path) -> None:
    run = ("run", "team_flow.py:delays", "--executor", "local")
    first, second = ask(*run), ask(*run)
    assert (first["status"], first["metrics"]) == ("COMPLETED", {"auc": 2.45})
    assert [n["cached"] for n in first["nodes"]] == [False, False]
    assert [n["cached"] for n in second["nodes"]] == [True, True]
    sweep = ask(
        "sweep", "team_flow.py:delays", "--space", "depth=1..4", "--metric", "auc", "--mode", "max",
        "--search", "grid", "--executor", "local",
    )  # fmt: skip
    assert (sweep["counts"], sweep["best"]["value"]) == ({"COMPLETED": 4}, 4.45)
    assert (project / "calls").read_text().split() == ["load"] + ["judge"] * 4

    assert [r["id"] for r in ask("runs", "list")] == [second["id"], first["id"]]
    assert [r["id"] for r in ask("search", "auc > 2 AND depth = 2")] == [second["id"], first["id"]]
    trials = ask("search", f"sweep = {sweep['id']} AND param.depth >= 3")
    assert sorted(t["params"]["depth"] for t in trials) == [3, 4]
    assert ask("runs", "show", first["id"][:12])["nodes"] == first["nodes"]
    best = sweep["best"]["run_id"]
    assert "2.45" in json.dumps(ask("runs", "compare", first["id"], best))
    assert ask("sweeps", "show", sweep["id"])["best"] == sweep["best"]


@pytest.mark.slow
def test_a_run_that_was_killed_reads_crashed_and_goes_on(ask: Callable[..., Any], project: Path) -> None:
    (project / "deadly").touch()
    code = (
        "from flowlearner.cli.main import main; main(['run', 'team_flow.py:delays', '--executor', 'local'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (crashed,) = ask("runs", "list")
    assert crashed["status"] == "CRASHED"
    resumed = ask("runs", "resume", crashed["id"])
    assert (resumed["status"], resumed["parent_id"]) == ("COMPLETED", crashed["id"])
    assert {n["name"]: n["cached"] for n in resumed["nodes"]} == {"load": True, "judge": False}
    assert (project / "calls").read_text().split() == ["load", "judge"]
