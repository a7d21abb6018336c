"""The command that says why the nodes of a run ran: runs explain."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flowlearner.cli.display import sign_of
from flowlearner.cli.options import AsJson, RunId
from flowlearner.cli.output import emit, get_out
from flowlearner.cli.show import print_heading
from flowlearner.cli.text import SHORT_ID, clean, clean_line, show_command, show_time
from flowlearner.client import Client
from flowlearner.client.run import to_plain
from flowlearner.explaining.difference import MOST_TOLD, Difference, list_texts
from flowlearner.explaining.nodes import NodeExplanation, NodePlace, RunExplanation

_DIFF_STYLES = {"+": "green", "-": "red"}


def explain_run(
    run: RunId,
    node: Annotated[
        str | None, typer.Argument(metavar="NODE", help="Only this node.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Say why each node of a run ran, and which run made what came from the cache.

    A node that ran is compared with the nearest earlier one: most inputs and code in common.
    """
    with Client() as client:
        found = client.explain_run(run, node)
    if json:
        emit(to_plain(found.to_json()))
        return
    _print(get_out(), found)


def _print(console: Console, found: RunExplanation) -> None:
    console.print(Text.assemble((clean_line(found.workflow), "bold"), "  run ", (found.run_id, "cyan")))
    bases = {n.compared_with.run_id: n.compared_with for n in found.nodes if n.compared_with}
    is_one = len(bases) == 1
    for base in bases.values() if is_one else ():
        console.print(Text(f"Compared with {_name(base)}", style="dim"), soft_wrap=True)
    console.print()
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(width=1)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=40)
    table.add_column(overflow="fold")
    for node in found.nodes:
        style = "" if node.action == "ran" else "dim"
        sign = sign_of(node.status, console.options.ascii_only)
        line = Text(clean_line(node.summary), style=style)
        if node.compared_with and not _is_said(node, is_one) and not _has_details(node, set()):
            line.append(f" (compared with run {node.compared_with.run_id[:SHORT_ID]})", style="dim")
        table.add_row(sign, Text(clean_line(node.name)), line)
    console.print(Padding(table, (0, 0, 0, 1), expand=False))
    told: set[tuple[str, str, str]] = set()
    for node in found.nodes:
        if _has_details(node, told):
            _print_details(console, node, _is_said(node, is_one), told)
    makers = dict.fromkeys(n.made_by.run_id[:SHORT_ID] for n in found.nodes if n.made_by)
    if makers and all(n.action == "cached" for n in found.nodes):
        console.print()
        more = show_command(f"runs explain {next(iter(makers))}")
        console.print(Text(f"Why they ran there: {more}", style="dim"), soft_wrap=True)


def _name(base: NodePlace) -> str:
    return f"run {base.run_id[:SHORT_ID]}" + (f" of {show_time(base.at)}" if base.at else "")


def _print_details(
    console: Console, node: NodeExplanation, is_named: bool, told: set[tuple[str, str, str]]
) -> None:
    """Print what the line of a node does not say: with what it was compared, each difference, and code.

    Args:
        is_named: with what it was compared has been said.
        told: of which code the differences were shown; they are not shown twice.
    """
    base = node.compared_with
    assert base is not None, "the caller looks"
    print_heading(console, clean_line(node.name))
    if not is_named:
        other = f", node '{clean_line(base.node)}'" if base.node != node.name else ""
        console.print(Text(f"  compared with {_name(base)}{other}", style="dim"), soft_wrap=True)
    for difference in node.differences:
        text = Text(f"- {clean_line(difference.text)}")
        console.print(Padding(text, (0, 0, 0, 2), expand=False), soft_wrap=not console.is_terminal)
        for cause in (difference, *difference.causes):
            if _key(cause) not in told:
                told.add(_key(cause))
                _print_diff(console, cause)


def _is_said(node: NodeExplanation, is_one: bool) -> bool:
    """Tell whether the head says with what a node was compared, since it is one run for all nodes."""
    return is_one and node.compared_with is not None and node.compared_with.node == node.name


def _has_details(node: NodeExplanation, told: set[tuple[str, str, str]]) -> bool:
    """Tell whether there is more to say of a node than its line does."""
    has_code = any(c.diff and _key(c) not in told for d in node.differences for c in (d, *d.causes))
    is_cut = len(list_texts(node.differences)) > MOST_TOLD
    return node.compared_with is not None and (has_code or is_cut)


def _key(difference: Difference) -> tuple[str, str, str]:
    return difference.node, difference.kind, difference.name


def _print_diff(console: Console, difference: Difference) -> None:
    for line in clean(difference.diff).splitlines():
        if not line.startswith(("---", "+++", "@@")):
            console.print(Text(f"    {line}", style=_DIFF_STYLES.get(line[:1], "dim")), soft_wrap=True)
