"""The commands about services in the background: up, down, status."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from flowlearner.cli.output import emit, get_out, say
from flowlearner.cli.show import make_table
from flowlearner.cli.text import clean_line, show_age
from flowlearner.client.run import time_json
from flowlearner.config import get_settings
from flowlearner.engine.server import ServerInfo, ensure_server, get_server, stop_server

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
STYLES = {"running": "green", "external": "green", "stopped": "dim"}


def _make(name: str, summary: str, command: Any) -> typer.Typer:
    made = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    made.command(name, help=summary, context_settings={"help_option_names": ["-h", "--help"]})(command)
    return made


def _to_json(info: ServerInfo) -> dict[str, Any]:
    return {
        "name": "prefect",
        "state": info.state,
        "url": info.url or None,
        "pid": info.pid,
        "started_at": time_json(info.started_at),
        "version": info.version,
    }


def _print(info: ServerInfo) -> None:
    table = make_table("Service", "State", "Page", "Pid", "Since", right=("Pid",))
    table.add_row(
        Text("prefect"),
        Text(info.state, style=STYLES.get(info.state, "red")),
        Text(clean_line(info.page_url) if info.url else ""),
        Text("" if info.pid is None else str(info.pid)),
        Text(show_age(info.started_at)),
    )
    get_out().print(table)


def _up(json: AsJson = False) -> None:
    settings = get_settings()
    ensure_server(settings, say)
    info = get_server(settings)
    if json:
        emit([_to_json(info)])
        return
    _print(info)


def _down(json: AsJson = False) -> None:
    stopped = stop_server(get_settings())
    if json:
        emit({"stopped": ["prefect"] if stopped else []})
        return
    get_out().print(
        Text("Stopped the local Prefect server." if stopped else "No local Prefect server was running.")
    )


def _status(json: AsJson = False) -> None:
    info = get_server(get_settings())
    if json:
        emit([_to_json(info)])
        return
    _print(info)


up = _make("up", "Start the local Prefect server and wait until it answers.", _up)
down = _make("down", "Stop the local Prefect server.", _down)
status = _make("status", "Show which services run, and where.", _status)
