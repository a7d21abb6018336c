"""bisect on the command line."""

from __future__ import annotations

from collections.abc import Callable

from flowlearner import Client, Workflow
from tests.bisecting.conftest import Edit
from tests.cli.conftest import Cli
from tests.cli.conftest import cli as cli

Load = Callable[[], Workflow[..., object]]


def test_table_and_json_tell_the_same(load: Load, edit: Edit, cli: Cli, client: Client) -> None:
    first = load().run(numbers="numbers.txt")
    edit("helper.py", "2 * n", "3 * n")
    second = load().run(numbers="numbers.txt", weight=2.0)
    answer = cli("bisect", first.id[:8], second.id[:8], "--metric", "score", "--json")
    assert answer.status == 0, answer.err
    document = answer.document
    assert (document["value_a"], document["value_b"], document["change"]) == (21.0, 62.0, 41.0)
    assert [d["label"] for d in document["differences"]] == ["code of double", "parameter weight"]
    assert document["interaction"] == 10.0
    assert document["differences"][0]["nodes"] == ["double"]
    assert "-    return 2 * n" in document["differences"][0]["details"][0]["diff"]
    answer = cli("bisect", first.id[:8], second.id[:8], "--metric", "score")
    assert answer.status == 0, answer.err
    assert "They interact: the single effects add up to +31.0, all together make +41.0." in answer.out
    rows = [line.split() for line in answer.out.splitlines()]
    assert ["code", "of", "double", "31.0", "+10.0", "+20.0", "+10.0", "24", "%"] in rows
    assert ["parameter", "weight", "42.0", "+21.0", "+31.0", "+31.0", "76", "%"] in rows
    assert answer.err.count("A with") == 2


def test_ctrl_c_ends_it_and_keeps_what_has_run(load: Load, edit: Edit, cli: Cli, client: Client) -> None:
    first = load().run(numbers="numbers.txt")
    code = (
        "import os\n    if label == 'b' and n == 21:\n        os.kill(os.getpid(), 2)\n    return n * weight"
    )
    edit("flow.py", "return n * weight", code)
    second = load().run(numbers="numbers.txt", by=1.5, label="b")
    answer = cli("bisect", first.id, second.id, "--metric", "score", "--json")
    assert (answer.status, answer.document["error"]["type"]) == (130, "KeyboardInterrupt")
    assert client.count_runs() > 4
