"""The commands about services in the background: up, down, status."""

from __future__ import annotations

import signal
import time
from typing import Annotated, Any

import typer
from rich.text import Text

from flowlearner.cli.options import AsJson, make_command
from flowlearner.cli.output import emit, get_out, say
from flowlearner.cli.show import make_table, show_when
from flowlearner.cli.text import clean_line
from flowlearner.client.run import time_json
from flowlearner.config import Settings, get_settings
from flowlearner.engine.server import ServerInfo, ensure_server, get_server, stop_server
from flowlearner.errors import ServerError

WATCH_PERIOD_S = 1.0
STYLES = {"running": "green", "external": "green", "starting": "yellow", "stopped": "dim"}


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
    console = get_out()
    table = make_table(console, "Service", "State", "Page", "Pid", "Since", right=("Pid",))
    table.add_row(
        Text("prefect"),
        Text(info.state, style=STYLES.get(info.state, "red")),
        Text(clean_line(info.page_url) if info.url else ""),
        Text("" if info.pid is None else str(info.pid)),
        Text(show_when(console, info.started_at)),
    )
    console.print(table)


def _up(
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay until Ctrl-C, then stop what was started.")
    ] = False,
    json: AsJson = False,
) -> None:
    settings = get_settings()
    was_running = get_server(settings).state == "running"
    ensure_server(settings, say)
    info = get_server(settings)
    if json:
        emit([_to_json(info)])
    else:
        _print(info)
    if foreground and info.state == "running":
        _stay(settings, stops_it=not was_running)


def _stay(settings: Settings, stops_it: bool) -> None:
    """Wait for Ctrl-C, or a request to end; then stop the server.

    Raises:
        ServerError: the server has ended meanwhile.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        say("Press Ctrl-C to stop." if stops_it else "It ran before, and goes on after Ctrl-C.")
        while get_server(settings).state != "stopped":
            time.sleep(WATCH_PERIOD_S)
    except KeyboardInterrupt:
        if stops_it:
            stop_server(settings)
            say("Stopped the local Prefect server.")
        return
    finally:
        signal.signal(signal.SIGTERM, before)
    raise ServerError("the local Prefect server has ended. Start it again: flowlearner up")


def _down(json: AsJson = False) -> None:
    stopped = stop_server(get_settings())
    if json:
        emit({"stopped": ["prefect"] if stopped else []})
        return
    message = "Stopped the local Prefect server." if stopped else "No local Prefect server was running."
    get_out().print(Text(message))


def _status(json: AsJson = False) -> None:
    info = get_server(get_settings())
    if json:
        emit([_to_json(info)])
        return
    _print(info)


up = make_command("up", "Start the local Prefect server and wait until it answers.", _up)
down = make_command("down", "Stop the local Prefect server.", _down)
status = make_command("status", "Show which services run, and where.", _status)
