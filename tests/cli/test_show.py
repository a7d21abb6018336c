"""Lists and results as a terminal shows them."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from rich.console import Console

from flowlearner import Client, operator, workflow
from flowlearner.artifacts.preview import describe_table
from flowlearner.cli.artifacts import print_preview
from flowlearner.cli.display import RunDisplay
from flowlearner.cli.show import print_result, print_run, print_runs
from flowlearner.engine.base import NodeEvent
from flowlearner.records import ErrorInfo, Status
from tests.cli.conftest import Cli

Run = Callable[..., dict[str, Any]]


def make_terminal(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=True, no_color=True, highlight=False)


def read(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[1;2m"):
        text = text.replace(code, "")
    return text.splitlines()


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_list_fits_a_terminal_and_cuts_no_id_and_no_status(run_tips: Run, width: int) -> None:
    run = run_tips("--experiment", "an experiment with a rather long name of forty letters")
    console = make_terminal(width)
    print_runs(console, Client().list_runs())
    lines = read(console)
    assert max(map(len, lines)) <= width
    assert lines[-1].startswith(run["id"][:8])
    assert "COMPLETED" in lines[-1]
    assert "just now" in lines[-1]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_preview_of_a_table_folds_no_name(width: int) -> None:
    names = [f"a_column_with_a_long_name_{i}" for i in range(8)]
    rows = pd.DataFrame({name: [1.5, 2.5] for name in names} | {"word": ["x", "y"]})
    console = make_terminal(width)
    print_preview(console, describe_table(pa.Table.from_pandas(rows)))
    lines = read(console)
    assert max(map(len, lines)) <= width
    for name in names:
        assert any(line.startswith(name[:20]) for line in lines)
    assert not any(line.strip() == "e" for line in lines)
    left_out = {40: 8, 80: 7, 200: 3}[width]
    assert f"First rows, without the last {left_out} columns" in lines


def test_a_list_in_a_pipe_cuts_nothing_and_has_no_rule(cli: Cli, run_tips: Run) -> None:
    name = "an experiment with a rather long name of forty letters"
    run_tips("--experiment", name)
    head, line = cli("runs", "list").out.splitlines()
    assert head.split() == ["Run", "Workflow", "Status", "Experiment", "Created", "Took", "Metrics"]
    assert name in line
    assert line.endswith("mean=2.500")


def test_the_failure_of_an_operator_shows_its_own_lines(cli: Cli, run_tips: Run, project: Any) -> None:
    (project / "raising.py").write_text(
        "from flowlearner import operator, workflow\n"
        "@operator\ndef work(a: int) -> int:\n    return [][a]\n"
        "@workflow\ndef flow(a: int = 1) -> int:\n    return work(a)\n"
    )
    cli("run", "raising.py:flow", "--executor", "local")
    run = Client().list_runs()[0].refresh()
    console = make_terminal(100)
    print_result(console, run, {})
    text = "\n".join(read(console))
    assert "✗ Failed" in text
    assert "1 node (1 run, 0 cached, 1 failed)" in text
    assert "node 'work' failed: IndexError: list index out of range" in text
    assert "raising.py" in text
    assert "    return [][a]" in text
    assert "Traceback" not in text
    assert text.count("IndexError") == 1


@pytest.mark.parametrize("show", [print_result, print_run])
def test_of_several_failures_the_first_is_shown_whole_and_the_others_named(
    show: Any, cli: Cli, project: Any
) -> None:
    (project / "raising.py").write_text(
        "from flowlearner import operator, workflow\n"
        "@operator\ndef work(a: int) -> int:\n    raise ValueError(f'no {a}\\nsecond line')\n"
        "@workflow\ndef flow(a: int = 1) -> list[int]:\n    return [work(n) for n in (1, 2, 3)]\n"
    )
    cli("run", "raising.py:flow", "--executor", "local")
    console = make_terminal(100)
    show(console, Client().list_runs()[0].refresh(), {})
    text = "\n".join(read(console))
    first = text.index("node 'work' failed: ValueError: no 1")
    assert text[first:].count("no 1") == 1
    for node, number in (("work_2", 2), ("work_3", 3)):
        assert f"node '{node}' failed: ValueError: no {number} second line" in text[first:]


def test_a_structure_is_shown_with_its_beginning(cli: Cli, project: Any) -> None:
    (project / "structured.py").write_text(
        "from flowlearner import operator, workflow\n"
        "@operator\ndef work(a: int) -> dict[str, int]:\n    return {'a': a, 'b': 2}\n"
        "@workflow\ndef flow(a: int = 1) -> dict[str, int]:\n    return work(a)\n"
    )
    assert "result  dict {'a': 1, 'b': 2}" in cli("run", "structured.py:flow", "--executor", "local").out


@pytest.mark.parametrize("width", [40, 80])
def test_a_long_message_of_a_node_leaves_room_for_its_name_and_time(width: int) -> None:
    @operator
    def a_step_with_a_rather_long_name(a: int) -> int:
        return a

    @workflow
    def flow(a: int) -> int:
        return a_step_with_a_rather_long_name(a)

    graph = flow.compile()
    display = RunDisplay(live=False)
    display.run_started("1f3a", graph)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    error = ErrorInfo("ValueError", "no good " * 30, "")
    name = graph.nodes[0].name
    display.node_changed(
        NodeEvent("1f3a", name, name, Status.FAILED, started_at=began, finished_at=began, error=error)
    )
    console = make_terminal(width)
    console.print(display)
    line = next(line for line in read(console) if "a_step_with" in line)
    assert "✗" in line
    assert "0 ms" in line
    assert len(line) <= width


def test_markup_in_what_users_name_is_text(cli: Cli, run_tips: Run) -> None:
    run = run_tips("--experiment", "[bold red]x[/]", "--tag", "[link=http://x]a=b", "--note", "[/]")
    console = make_terminal(100)
    print_run(console, Client().get_run(run["id"]), {})
    text = "\n".join(read(console))
    for part in ("[bold red]x[/]", "[link=http://x]a=b", "[/]"):
        assert part in text
