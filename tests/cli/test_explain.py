"""runs explain: one line a node, what differs below, and a document for programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.conftest import Cli

Run = Callable[..., dict[str, Any]]


def test_each_node_has_a_line_and_changed_code_a_diff(cli: Cli, run_tips: Run, project: Path) -> None:
    first = run_tips()
    path = project / "tips.py"
    path.write_text(path.read_text().replace('["tip"] >= smallest', '["tip"] > smallest'))
    second = run_tips("-p", "smallest=0.75")
    answer = cli("runs", "explain", second["id"][:8])
    assert answer.status == 0, answer.err
    assert f"Compared with run {first['id'][:8]}" in answer.out
    assert "clean  the code of 'clean' itself changed; parameter 'smallest': 1.0 → 0.75" in answer.out
    assert '    -    return rows[rows["tip"] >= smallest]\n' in answer.out
    assert '    +    return rows[rows["tip"] > smallest]\n' in answer.out


def test_a_run_that_was_all_cached_points_to_the_one_that_ran(cli: Cli, run_tips: Run) -> None:
    first, second = run_tips(), run_tips()
    answer = cli("runs", "explain", second["id"])
    assert answer.out.count(f"cached: run {first['id'][:8]} made it") == 2
    assert f"Why they ran there: flowlearner runs explain {first['id'][:8]}" in answer.out


def test_the_document_has_the_nodes_asked_for(cli: Cli, run_tips: Run) -> None:
    run_tips()
    run = run_tips("-p", "smallest=0.75")
    document = cli("runs", "explain", run["id"], "clean", "--json").document
    (node,) = document["nodes"]
    assert document["run_id"] == run["id"]
    assert (node["name"], node["action"], node["status"]) == ("clean", "ran", "COMPLETED")
    (difference,) = node["differences"]
    assert (difference["kind"], difference["name"]) == ("param", "smallest")
    assert (difference["before"], difference["after"]) == (1.0, 0.75)


def test_a_node_that_there_is_not_is_told_with_the_nearest(cli: Cli, run_tips: Run) -> None:
    answer = cli("runs", "explain", run_tips()["id"], "claen")
    assert answer.status == 2
    assert "has no node 'claen'; it has clean, judge. Did you mean 'clean'?" in answer.err
