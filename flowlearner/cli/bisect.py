"""The command that says which change between two runs moved a metric: bisect."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flowlearner.bisecting.bisect import TAG, BisectOptions
from flowlearner.bisecting.differing import OPERATOR, WORKFLOW
from flowlearner.bisecting.result import Bisection, Effect
from flowlearner.cli.display import RunDisplay
from flowlearner.cli.options import AsJson, make_command, read_assignments
from flowlearner.cli.output import emit, get_out
from flowlearner.cli.replay import NoCache, Secrets
from flowlearner.cli.run import Executor
from flowlearner.cli.run import show_command as show_own_command
from flowlearner.cli.text import (
    SHORT_ID,
    clean_line,
    count_of,
    shorten_line,
    show_command,
    show_exact,
    show_number,
)
from flowlearner.cli.verdict import print_packages
from flowlearner.client import Client
from flowlearner.client.run import to_plain

_TEXT_SHOWN = 160


def bisect(
    run_a: Annotated[
        str, typer.Argument(metavar="RUN_A", help="The id of a run, or its beginning.", show_default=False)
    ],
    run_b: Annotated[
        str, typer.Argument(metavar="RUN_B", help="A later run of the same workflow.", show_default=False)
    ],
    metric: Annotated[str, typer.Option(metavar="NAME", help="Which metric moved.", show_default=False)],
    param: Secrets = None,
    executor: Executor = None,
    no_cache: NoCache = False,
    json: AsJson = False,
) -> None:
    """Say which of the changes between two runs moved a metric, and by how much.

    Runs are made that have some of the changes: each alone, each taken back, and one after the other in the
    order of the graph. The cache helps; they run in this process unless --executor says else.
    """
    options = BisectOptions(
        secrets=read_assignments(param or [], "-p"),
        are_texts=True,
        executor=executor or "local",
        cache=not no_cache,
        command=show_own_command(),
    )
    display = RunDisplay(live=not json and sys.stdout.isatty())
    with Client() as client:
        try:
            found = client.run_bisection(run_a, run_b, metric, options, display)
        finally:
            display.close()
    if json:
        emit(to_plain(found.to_json()))
        return
    print_bisection(get_out(), found)


command = make_command(
    "bisect", "Say which of the changes between two runs moved a metric, and by how much.", bisect
)


def print_bisection(console: Console, found: Bisection) -> None:
    """Print what a bisection has found, for people."""
    console.print()
    a, b = found.run_a[:SHORT_ID], found.run_b[:SHORT_ID]
    console.print(
        Text.assemble(
            (clean_line(found.metric), "bold"),
            f" of {clean_line(found.workflow)}: {show_number(found.value_a)} in A ({a}), "
            f"{show_number(found.value_b)} in B ({b}), ",
            (_sign(found.change), "bold"),
        ),
        soft_wrap=not console.is_terminal,
    )
    ends = zip("ab", found.recorded, (found.value_a, found.value_b), strict=True)
    for name, then, now in ends:
        if name in found.drifted:
            text = f"{name.upper()} gave {show_exact(then)} then and gives {show_exact(now)} today"
            _say(console, f"{text}, with which all else is compared.", "yellow")
    console.print()
    console.print(Padding(_make_table(found), (0, 0, 0, 2), expand=False))
    console.print()
    for effect in found.effects:
        difference = effect.difference
        where = f"{difference.label}: " if difference.kind in (OPERATOR, WORKFLOW) else ""
        _say(console, where + shorten_line(difference.text, _TEXT_SHOWN), "dim")
    console.print()
    for line in _list_findings(found):
        _say(console, line)
    if found.packages:
        print_packages(console, found.packages)
        _say(console, "They cannot be mixed in one process: all runs had today's.")
    count = count_of(sum(m.run_id is not None for m in found.mixtures), "run")
    more = show_command(f"search \"tag.{TAG} = '{found.id}'\"")
    _say(console, f"{count} made for this: {more}", "dim")


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(clean_line(text), style=style), soft_wrap=not console.is_terminal)


def _make_table(found: Bisection) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("difference", overflow="fold")
    for name in (f"{found.metric} with it alone", "effect from A", "effect from B", "in this order", "share"):
        table.add_column(clean_line(name), justify="right", no_wrap=True)
    grouped = {i: g for g in found.groups for i in g.members}
    for index, effect in enumerate(found.effects):
        share, cumulative = effect.share, effect.cumulative
        if index in grouped:
            group = grouped[index]
            is_last = index == group.members[-1]
            share, cumulative = (group.share, group.effect) if is_last else (None, None)
        table.add_row(
            Text(clean_line(effect.difference.label)),
            _show(effect.alone),
            _show(effect.from_a, signed=True),
            _show(effect.from_b, signed=True),
            Text("with next", style="dim") if cumulative is None else Text(_sign(cumulative)),
            Text("" if share is None else f"{100 * share:.0f} %"),
        )
    return table


def _show(value: float | None, *, signed: bool = False) -> Text:
    if value is None:
        return Text("failed", style="red")
    return Text(_sign(value) if signed else show_number(value))


def _sign(value: float) -> str:
    return f"+{show_number(value)}" if value > 0 else show_number(value)


def _list_findings(found: Bisection) -> list[str]:
    effects = found.effects
    lines = []
    if len(effects) == 1:
        lines.append(f"It is the only difference: {effects[0].difference.label} makes the whole change.")
    elif found.sufficient:
        names = " or ".join(e.difference.label for e in found.sufficient)
        lines.append(f"One is enough: {names} alone makes the whole change.")
    elif found.is_equal:
        text = "The metric is the same in both"
        if found.moving:
            text += f": {_join(found.moving)} move it, and cancel out"
        elif not found.groups:
            text += ", and no difference moves it"
        lines.append(f"{text}.")
    else:
        lines.append("No single difference makes the whole change.")
    if found.interaction:
        apart = [e for e in effects if e.interacts]
        lines.append(
            f"They interact: the single effects add up to {_sign(found.change - found.interaction)}, all "
            f"together make {_sign(found.change)}."
            + (f" What each does depends on the others: {_join(apart)}." if apart else "")
        )
    for group in found.groups:
        names = ", ".join(effects[i].difference.label for i in group.members)
        effect = "" if group.effect is None else f" Together: {_sign(group.effect)}."
        lines.append(f"Not separated: {names}.{effect} {group.reason}")
    told = {g.reason for g in found.groups}
    reasons = dict.fromkeys(r for e in effects for r in e.reasons if r not in told)
    lines += [f"{_join([e for e in effects if r in e.reasons])} by itself: {r}" for r in reasons]
    return lines


def _join(effects: list[Effect]) -> str:
    return ", ".join(e.difference.label for e in effects)
