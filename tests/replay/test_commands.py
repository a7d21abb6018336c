"""runs rerun, clone and resume on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowlearner import Client, UsageError, Workflow
from tests.cli.conftest import Cli
from tests.cli.conftest import cli as cli


def test_the_new_run_is_printed_as_json(flow: Workflow[..., object], cli: Cli, client: Client) -> None:
    first = flow.submit(is_broken=True)
    for words in (["rerun", first.id], ["clone", first.id, "--set", "n=5"], ["resume", first.id]):
        answer = cli("runs", *words, "--json")
        assert (answer.status, answer.document["parent_id"]) == (1, first.id), answer.err
        assert answer.document["id"] != first.id


def test_a_run_that_completes_exits_0_and_keeps_the_command(
    flow: Workflow[..., object], project: Path, cli: Cli, client: Client
) -> None:
    first = flow.submit(is_broken=True)
    (project / "flow.py").unlink()
    answer = cli("runs", "resume", first.id[:8], "--set", "is_broken=false", "--json")
    assert (answer.status, answer.document["status"]) == (0, "COMPLETED"), answer.err
    assert answer.document["params"] == {"n": 3, "is_broken": False}


def test_mistakes_are_told_before_anything_runs(
    flow: Workflow[..., object], cli: Cli, client: Client
) -> None:
    first = flow.run()
    for words, said in (
        (["clone", first.id, "--set", "m=4"], "no parameter 'm'"),
        (["clone", first.id, "--set", "n=x"], "expected int, found 'x'"),
        (["clone", first.id, "--set", "n"], "--set n: expected NAME=VALUE"),
        (["clone", first.id, "--set", "n=4", "-p", "n=5"], "'n' is given twice"),
        (["clone", first.id], "nothing changes: give --set"),
        (["clone", first.id, "--replace", "duble=triple"], "no node or operator 'duble'"),
        (["clone", first.id, "--replace", "double=tripel"], "Did you mean 'triple'?"),
        (["resume", first.id], "is COMPLETED: nothing is missing"),
        (["rerun", "nosuch"], "no run 'nosuch' in the catalog"),
    ):
        answer = cli("runs", *words)
        assert (answer.status, answer.out) == (2, ""), words
        assert said in answer.err
    assert client.count_runs() == 1


def test_what_is_run_as_it_was_takes_secrets_only(
    flow: Workflow[..., object], cli: Cli, client: Client
) -> None:
    first = flow.run()
    for words in (["rerun", first.id, "-p", "n=5"], ["reproduce", first.id, "-p", "n=5"]):
        answer = cli("runs", *words)
        assert answer.status == 2
        assert (
            f"'n' is no Secret parameter. `flowlearner runs clone {first.id[:8]} --set n=...`" in answer.err
        )
    with pytest.raises(UsageError, match="'n' is no Secret parameter"):
        client.rerun(first.id, secrets={"n": 5})
    assert client.count_runs() == 1
