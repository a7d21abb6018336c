"""The commands that run again what has run: runs rerun, clone, resume, reproduce."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from flowlearner.cli.detach import Detach, launch_and_print, resume_and_print
from flowlearner.cli.display import RunDisplay
from flowlearner.cli.options import AsJson, RunId, read_assignments
from flowlearner.cli.output import emit, get_out
from flowlearner.cli.run import Executor, follow_and_print, show_command
from flowlearner.cli.verdict import print_reproduction
from flowlearner.client import Client, reproduction_json
from flowlearner.errors import UsageError
from flowlearner.replay.again import Request
from flowlearner.replay.reproduce import Tolerance

Secrets = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        "-p",
        metavar="NAME=VALUE",
        help="A Secret parameter, which is stored nowhere; may be repeated.",
        show_default=False,
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Another value of a parameter; may be repeated.",
        show_default=False,
    ),
]
Current = Annotated[bool, typer.Option("--current", help="Today's code instead of that of then.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Take nothing from the cache.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands to those of runs."""
    app.command("rerun")(rerun)
    app.command("clone")(clone)
    app.command("resume")(resume)
    app.command("reproduce")(reproduce)


def rerun(
    run: RunId,
    param: Secrets = None,
    current: Current = False,
    no_cache: NoCache = False,
    executor: Executor = None,
    json: AsJson = False,
) -> None:
    """Run a run again: its code, parameters, seed and options, also when its files are gone."""
    request = Request(
        params=read_assignments(param or [], "-p"),
        are_texts=True,
        current=current,
        cache=not no_cache,
        executor=executor,
        command=show_command(),
        is_same=True,
    )
    _make(run, request, json)


def clone(
    run: RunId,
    change: Changes = None,
    replace: Annotated[
        list[str] | None,
        typer.Option(
            "--replace",
            metavar="NODE=OPERATOR",
            help="Another operator for a node, or for an operator wherever it is called; may be repeated.",
            show_default=False,
        ),
    ] = None,
    param: Secrets = None,
    current: Current = False,
    no_cache: NoCache = False,
    executor: Executor = None,
    detach: Detach = False,
    json: AsJson = False,
) -> None:
    """Run a run again with changes: other values of parameters, other operators."""
    changes = read_changes(change, param)
    operators = read_assignments(replace or [], "--replace")
    if not changes and not operators:
        raise UsageError(
            "nothing changes: give --set NAME=VALUE or --replace NODE=OPERATOR; "
            f"`flowlearner runs rerun {run}` runs it as it was"
        )
    if detach:
        if operators or current or executor:
            raise UsageError("--detach goes without --replace, --current and --executor")
        cache = False if no_cache else None
        launch_and_print("run", json, clone=run, params=changes, cache=cache, command=show_command())
        return
    request = Request(changes, operators, True, current, not no_cache, executor, show_command())
    _make(run, request, json)


def resume(
    run: RunId,
    change: Changes = None,
    param: Secrets = None,
    current: Current = False,
    executor: Executor = None,
    detach: Detach = False,
    json: AsJson = False,
) -> None:
    """Go on with a run that failed, was cancelled or crashed, as a new run: what is missing runs."""
    changes = read_changes(change, param)
    if detach:
        if change or current or executor:
            raise UsageError("--detach goes without --set, --current and --executor")
        resume_and_print("run", json, run, secrets=changes, command=show_command())
        return
    request = Request(changes, {}, True, current, True, executor, show_command())
    _make(run, request, json, goes_on=True)


def read_changes(change: list[str] | None, param: list[str] | None) -> dict[str, str]:
    """Return the texts of --set and -p by parameter."""
    changes = read_assignments(change or [], "--set")
    for name, value in read_assignments(param or [], "-p").items():
        if name in changes:
            raise UsageError(f"parameter '{name}' is given twice; the second time as -p {name}")
        changes[name] = value
    return changes


def _make(run_id: str, request: Request, as_json: bool, *, goes_on: bool = False) -> None:
    with Client() as client:
        follow_and_print(
            lambda display: client.run_request(run_id, request, display, goes_on=goes_on), as_json
        )


def reproduce(
    run: RunId,
    times: Annotated[int, typer.Option(min=1, metavar="N", help="How often it runs.")] = 1,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NODE=]NUMBER",
            help="Numbers count as equal that differ by less than this part of the larger one, or of 1; "
            "for all nodes, or for one node or operator. May be repeated.",
            show_default=False,
        ),
    ] = None,
    param: Secrets = None,
    json: AsJson = False,
) -> None:
    """Run a run again without the cache, and say whether each node gives what it gave."""
    declared = read_tolerance(tolerance or [])
    request = Request(params=read_assignments(param or [], "-p"), are_texts=True, is_same=True)
    display = RunDisplay(live=not json and sys.stdout.isatty())
    with Client() as client:
        try:
            found = client.run_reproduction(run, request, declared, times, display)
        finally:
            display.close()
        if json:
            emit(reproduction_json(found))
            return
        print_reproduction(get_out(), client.get_run(found.run_id), found)


def read_tolerance(texts: Sequence[str]) -> Tolerance:
    """Read NUMBER and NODE=NUMBER.

    Raises:
        UsageError: a text is neither.
    """
    of_all, of_nodes = 0.0, {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not value >= 0 or (equals and not name):
            raise UsageError(
                f"--tolerance {text}: expected a number that is not negative, such as 1e-9, or one for a "
                "node, such as train=1e-6"
            )
        if equals:
            of_nodes[name] = value
        else:
            of_all = value
    return Tolerance(of_all, of_nodes)
