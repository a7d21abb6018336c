"""What came of reproducing a run, and in what it differs from its parent, printed for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flowlearner.cli.text import SHORT_ID, clean_line, count_of, shorten_line, show_time, show_value
from flowlearner.client import Run, show_difference
from flowlearner.records import Change, Reproduction

STYLES = {
    "REPRODUCED": "green",
    "DRIFTED": "red",
    "ENVIRONMENT-CHANGED": "yellow",
    "SKIPPED": "dim",
}
PACKAGES_SHOWN = 10
DIFFERENCE_SHOWN = 200


def describe_reproduction(found: Reproduction) -> str:
    """Return a verdict in one line: when it was given, and where the run first diverged."""
    when = show_time(found.at)
    if found.diverged is None:
        return f"{found.verdict} on {when}"
    return (
        f"{found.verdict} on {when}, first at {clean_line(found.diverged['node'])}: {_show(found.diverged)}"
    )


def describe_changes(changes: Sequence[Change]) -> str:
    """Return in one line in what a run differs from its parent."""
    return ", ".join(
        f"code of {clean_line(c.name)}"
        if c.kind == "code"
        else f"{clean_line(c.name)} {_show_value(c.before)} → {_show_value(c.after)}"
        for c in changes
    )


def _show_value(value: Any) -> str:
    if isinstance(value, Mapping) and "source" in value:
        value = value["source"] or f"artifact:{str(value['hash'])[:12]}"
    return show_value(value, 40)


def _show(node: Mapping[str, Any]) -> str:
    difference = node["difference"]
    output = difference.get("output")
    named = f"{output}: " if output not in (None, "result") else ""
    return shorten_line(named + show_difference(difference), DIFFERENCE_SHOWN)


def print_reproduction(console: Console, run: Run, found: Reproduction) -> None:
    """Print a verdict with what became of each node."""
    compared = [n for n in found.nodes if n["verdict"] != "SKIPPED"]
    equal = sum(n["verdict"] == "REPRODUCED" for n in compared)
    times = "" if found.times == 1 else f", in {found.times} executions"
    console.print()
    console.print(
        Text.assemble(
            (found.verdict, f"bold {STYLES[found.verdict]}"),
            f"  run {run.id[:SHORT_ID]} of {clean_line(run.workflow)}: "
            f"{equal} of {count_of(len(compared), 'node')} gave what they gave then{times}",
        ),
        soft_wrap=not console.is_terminal,
    )
    if found.diverged is not None:
        node, operator = found.diverged["node"], found.diverged["operator"]
        called = "" if node == operator else f" (operator {clean_line(operator)})"
        console.print(Text(f"First to diverge: {clean_line(node)}{called}. {_show(found.diverged)}"))
        if found.diverged["difference"].get("code_differs"):
            console.print(
                Text(
                    "Its code is not what it was: it uses other versions of packages, or a module that the "
                    "snapshot lacks."
                )
            )
        given = found.diverged["difference"].get("inputs_differ")
        if given:
            console.print(
                Text(f"It was not given what it was given then: {', '.join(map(clean_line, given))}")
            )
    console.print()
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=40)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for node in found.nodes:
        told = node["difference"] is not None
        near = " (within the tolerance)" if told and node["verdict"] == "REPRODUCED" else ""
        table.add_row(
            Text(clean_line(node["node"])),
            Text(node["verdict"].lower(), style=STYLES[node["verdict"]]),
            Text(_show(node) + near if told else "", style="dim"),
        )
    console.print(Padding(table, (0, 0, 0, 2), expand=False))
    if found.packages and found.verdict != "REPRODUCED":
        print_packages(console, found.packages)


def print_packages(console: Console, packages: Sequence[Mapping[str, Any]]) -> None:
    """Print which packages are installed in other versions than then, and what of the machine is another."""
    console.print()
    console.print(Text("What differs of the environment", style="bold"))
    for package in packages[:PACKAGES_SHOWN]:
        before, now = package["before"] or "absent", package["now"] or "absent"
        console.print(Text(f"  {clean_line(package['name'])} {clean_line(before)} → {clean_line(now)}"))
    if len(packages) > PACKAGES_SHOWN:
        console.print(Text(f"  … {len(packages) - PACKAGES_SHOWN} more; --json shows all", style="dim"))
