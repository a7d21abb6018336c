"""The commands that run again what has run: runs rerun, clone, resume, reproduce."""

from __future__ import annotations

from typing import Annotated

import typer

from flowlearner.cli.options import AsJson, RunId, read_assignments
from flowlearner.cli.run import Executor, follow_and_print, show_command
from flowlearner.client import Client
from flowlearner.errors import UsageError
from flowlearner.replay.again import Request

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
    request = Request(changes, operators, True, current, not no_cache, executor, show_command())
    _make(run, request, json)


def resume(
    run: RunId,
    change: Changes = None,
    param: Secrets = None,
    current: Current = False,
    executor: Executor = None,
    json: AsJson = False,
) -> None:
    """Go on with a run that failed, was cancelled or crashed, as a new run: what is missing runs."""
    request = Request(read_changes(change, param), {}, True, current, True, executor, show_command())
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
