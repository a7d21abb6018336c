"""What `--detach` of run, sweep and clone does: the runner that `flowlearner up` keeps makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.text import Text

from flowlearner.cli.output import emit, get_out
from flowlearner.client import Client
from flowlearner.client.forms import show_text
from flowlearner.engine.given import as_json

Detach = Annotated[
    bool,
    typer.Option("--detach", help="Let `flowlearner up` make it, and return at once."),
]


def launch_and_print(kind: str, as_json: bool, workflow: str | None = None, **given: Any) -> None:
    """Launch a run or a sweep and print its id.

    Args:
        kind: "run" or "sweep".
        given: as `Client.launch` takes it.
    """
    with Client() as client:
        launched = client.launch(workflow, **given)
    _print(kind, as_json, launched)


def _print(kind: str, as_json: bool, launched: str) -> None:
    if as_json:
        emit({"id": launched})
        return
    console = get_out()
    console.print(Text.assemble(f"Launched {kind} ", (launched, "bold"), "; it begins in some seconds."))
    console.print(Text(f"See it: flowlearner {kind}s show {launched[:8]}"))


def resume_and_print(kind: str, as_json: bool, run_id: str, **given: Any) -> None:
    """Let a run or a sweep go on, and print the id of the run, or of the sweep.

    Args:
        given: as `Client.launch_resume` takes it.
    """
    with Client() as client:
        launched = client.launch_resume(run_id, **given)
        found = client.get_sweep(run_id).id if kind == "sweep" else launched
    _print(kind, as_json, found)


def show_texts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of parameters as texts that any process can read."""
    return {name: show_text(as_json(value)) for name, value in values.items()}
