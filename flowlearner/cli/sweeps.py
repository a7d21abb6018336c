"""The commands that look at sweeps and go on with them: sweeps."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Any

import typer
from rich.text import Text

from flowlearner.cli.detach import Detach, resume_and_print
from flowlearner.cli.options import AsJson, Limit, make_group, read_assignments
from flowlearner.cli.output import emit, get_out
from flowlearner.cli.runs import say_unknown_names
from flowlearner.cli.sweep import describe_search, finish, say_executor
from flowlearner.cli.sweep_display import Heading, SweepDisplay
from flowlearner.cli.sweep_show import TRIALS_SHOWN, print_sweep, print_sweeps
from flowlearner.cli.text import SHORT_ID, show_command
from flowlearner.client import Client
from flowlearner.config import get_settings

FIRST_SWEEP = "Make the first one: flowlearner sweep FILE:WORKFLOW --space NAME=DOMAIN."

SweepId = Annotated[
    str,
    typer.Argument(
        metavar="SWEEP", help="The id of a sweep, or any unique beginning of it.", show_default=False
    ),
]
Secrets = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        "-p",
        metavar="NAME=VALUE",
        help="A Secret parameter, which is stored nowhere.",
        show_default=False,
    ),
]

app = make_group("List, show, stop, resume and retry sweeps.")


@app.command("list")
def list_sweeps(
    workflow: Annotated[str | None, typer.Option(metavar="NAME", help="Only this workflow.")] = None,
    experiment: Annotated[str | None, typer.Option(metavar="NAME", help="Only this experiment.")] = None,
    limit: Limit = 50,
    json: AsJson = False,
) -> None:
    """List sweeps, the newest first."""
    with Client() as client:
        # One more than is shown tells whether there are more.
        found = client.list_sweeps(workflow=workflow, experiment=experiment, limit=limit + 1)
        if not found:
            say_unknown_names(client, {"workflow": workflow, "experiment": experiment})
        if json:
            emit([s.summary_json() for s in found[:limit]])
            return
        console = get_out()
        if not found:
            console.print(
                Text("No sweep fits." if workflow or experiment else f"No sweeps yet. {FIRST_SWEEP}")
            )
            return
        print_sweeps(console, found[:limit], is_cut=len(found) > limit)


@app.command("show")
def show_sweep(
    sweep: SweepId,
    trials: Annotated[
        int, typer.Option(min=0, metavar="N", help="How many of the best trials.")
    ] = TRIALS_SHOWN,
    json: AsJson = False,
) -> None:
    """Show all that is known of a sweep."""
    with Client() as client:
        found = client.get_sweep(sweep)
        if json:
            emit(found.to_json())
            return
        print_sweep(get_out(), found, trials)


@app.command("stop")
def stop_sweep(sweep: SweepId, json: AsJson = False) -> None:
    """Let a sweep that is going on start no more trials; those in flight end."""
    with Client() as client:
        found = client.stop_sweep(sweep).refresh()
        if json:
            emit(found.summary_json())
            return
    short = found.id[:SHORT_ID]
    get_out().print(
        Text(
            f"Sweep {short} was asked to stop: it starts no more trials, and ends with those in flight. "
            f"See how it ends: {show_command(f'sweeps show {short}')}"
        ),
        soft_wrap=True,
    )


@app.command("resume")
def resume_sweep(sweep: SweepId, param: Secrets = None, detach: Detach = False, json: AsJson = False) -> None:
    """Go on with a sweep that was stopped or crashed: exactly the trials that are missing."""
    _go_on("resume_sweep", sweep, param, detach, json)


@app.command("retry")
def retry_sweep(sweep: SweepId, param: Secrets = None, detach: Detach = False, json: AsJson = False) -> None:
    """Run the failed trials of a sweep again."""
    _go_on("retry_sweep", sweep, param, detach, json)


def _go_on(action: str, sweep_id: str, param: list[str] | None, detach: bool, as_json: bool) -> None:
    secrets = read_assignments(param or [], "-p")
    if detach:
        retry = action == "retry_sweep"
        resume_and_print("sweep", as_json, sweep_id, retry=retry, secrets=secrets)
        return
    display = SweepDisplay(live=not as_json and sys.stdout.isatty())
    with Client() as client:
        sweep = client.get_sweep(sweep_id)
        record, spec = sweep.record, sweep.record.spec
        display.announce(
            Heading(
                record.workflow,
                record.metrics,
                describe_search(spec.get("search", ""), spec.get("stop"), record.metrics, record.modes),
                executed_before=sum(record.node_executions.values()),
            )
        )
    say_executor(display, spec.get("executor", ""))
    execute: Any = getattr(importlib.import_module("flowlearner.sweep.resume"), action)
    options = {"secrets": secrets} if secrets else {}
    finish(display, lambda: execute(sweep.id, get_settings(), display, **options), as_json, None)
