"""The commands about services in the background: up, down, status."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from flowlearner.cli.options import AsJson, make_command
from flowlearner.cli.output import emit, get_out, say
from flowlearner.cli.show import make_table
from flowlearner.cli.text import clean_line, show_age
from flowlearner.client.run import time_json
from flowlearner.config import get_settings
from flowlearner.engine.server import ServerInfo, ensure_server, get_server, stop_server

STYLES = {"running": "green", "external": "green", "stopped": "dim"}


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


up = make_command("up", "Start the local Prefect server and wait until it answers.", _up)
down = make_command("down", "Stop the local Prefect server.", _down)
status = make_command("status", "Show which services run, and where.", _status)
