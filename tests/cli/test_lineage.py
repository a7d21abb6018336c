"""lineage: trees on a terminal, a document for programs, and clear words for mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.conftest import Cli

Run = Callable[..., dict[str, Any]]


def test_an_output_is_shown_with_what_made_it(cli: Cli, run_tips: Run, project: Path) -> None:
    run = run_tips()
    answer = cli("lineage", f"{run['id'][:8]}.mean")
    assert answer.status == 0, answer.err
    lines = answer.out.splitlines()
    assert any(line.startswith("judge.mean 2.500  run ") for line in lines)
    assert any("rows = clean" in line for line in lines)
    assert any(f"rows = tips.csv  {project / 'tips.csv'}" in line for line in lines)
    assert any("smallest = 1.0  parameter 'smallest'" in line for line in lines)


def test_a_file_is_shown_with_what_used_it(cli: Cli, run_tips: Run) -> None:
    run_tips()
    last = run_tips("-p", "smallest=0.75")
    answer = cli("lineage", "tips.csv")
    assert f"clean  tips, 2 runs, the latest {last['id'][:8]}" in answer.out
    assert "    └── judge\n" in answer.out
    document = cli("lineage", "tips.csv", "--json").document
    assert document["target"]["kind"] == "file"
    assert document["runs"][0] == last["id"]


def test_stale_lists_runs_and_says_that_it_is_an_upper_bound(cli: Cli, run_tips: Run) -> None:
    run = run_tips()
    answer = cli("lineage", "stale", "--if", "clean")
    assert "If operator 'clean' changed, 1 of 1 run would no longer be all cached." in answer.out
    assert f"{run['id'][:8]}  tips      clean      judge    calls operator 'clean'" in answer.out
    assert "An upper bound" in answer.out
    document = cli("lineage", "stale", "--if", "tips.csv", "--json").document
    assert document["is_upper_bound"] is True
    assert document["runs"] == [
        {
            "run_id": run["id"],
            "workflow": "tips",
            "sweep_id": None,
            "trial_number": None,
            "nodes": {"clean": "takes it as parameter 'rows'"},
            "behind": ["judge"],
        }
    ]


def test_options_that_do_not_go_together_are_refused(cli: Cli) -> None:
    answer = cli("lineage", "stale")
    assert (answer.status, answer.out) == (2, "")
    assert "say what would change, with --if FILE or --if OPERATOR" in answer.err
    assert cli("lineage", "tips.csv", "--if", "clean").status == 2


def test_what_is_not_there_ends_with_status_2(cli: Cli, project: Path) -> None:
    assert cli("lineage", "nix.csv").status == 2
    assert cli("lineage", "stale", "--if", "nix").status == 2
