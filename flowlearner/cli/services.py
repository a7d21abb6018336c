"""The commands about services in the background: up, down, status."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from flowlearner.cli.options import AsJson, make_command
from flowlearner.cli.output import emit, get_out, say
from flowlearner.cli.show import make_table, show_when
from flowlearner.cli.text import clean_line
from flowlearner.client.run import time_json
from flowlearner.config import Settings, get_settings
from flowlearner.engine.crashes import settle_all
from flowlearner.engine.server import ensure_server, get_server, stop_server
from flowlearner.errors import ServerError
from flowlearner.pages import ensure_pages, get_pages, stop_pages
from flowlearner.schedule.runner import choose_pool, ensure_runner, get_runner, stop_runner
from flowlearner.sweep.warm import ensure_ray, get_ray, stop_warm

WATCH_PERIOD_S = 1.0
STYLES = {"running": "green", "external": "green", "starting": "yellow", "stopped": "dim"}
TITLES = {
    "prefect": "the local Prefect server",
    "ray": "the local Ray cluster",
    "schedules": "the process that runs schedules",
    "ui": "the catalog's pages",
}
# Where a service of one's own is named.
SETTINGS = {"prefect": "PREFECT_API_URL", "ray": "FLOWLEARNER_RAY_ADDRESS"}


@dataclass(frozen=True)
class _Service:
    """A service as it is now.

    Attributes:
        url: of the Prefect server its API, of Ray where drivers connect; of others, None where it is stopped.
        place: what people open in a browser, or else its address.
    """

    name: str
    state: str
    url: str | None
    place: str
    pid: int | None
    started_at: datetime | None
    version: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "state": self.state,
            "url": self.url,
            "pid": self.pid,
            "started_at": time_json(self.started_at),
            "version": self.version,
        }


def _look(settings: Settings) -> list[_Service]:
    server, ray, runner = get_server(settings), get_ray(settings), get_runner(settings)
    pages = get_pages(settings)
    page = f"{server.page_url}/work-pools/work-pool/{choose_pool(settings, server)}" if runner.pid else ""
    return [
        _Service(
            "prefect",
            server.state,
            server.url or None,
            server.page_url if server.url else "",
            server.pid,
            server.started_at,
            server.version,
        ),
        _Service("ray", ray.state, ray.address or None, ray.address, ray.pid, ray.started_at),
        _Service("schedules", runner.state, page or None, page, runner.pid, runner.started_at),
        _Service("ui", pages.state, pages.url or None, pages.url, pages.pid, pages.started_at),
    ]


def _print(services: list[_Service]) -> None:
    console = get_out()
    table = make_table(console, "Service", "State", "Where", "Pid", "Since", right=("Pid",))
    for service in services:
        table.add_row(
            Text(service.name),
            Text(service.state, style=STYLES.get(service.state, "red")),
            Text(clean_line(service.place)),
            Text("" if service.pid is None else str(service.pid)),
            Text(show_when(console, service.started_at)),
        )
    console.print(table)


def _show(services: list[_Service], as_json: bool) -> None:
    if as_json:
        emit([s.to_json() for s in services])
    else:
        _print(services)


def _up(
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay until Ctrl-C, then stop what was started.")
    ] = False,
    json: AsJson = False,
) -> None:
    settings = get_settings()
    states = {s.name: s.state for s in _look(settings)}
    before = {name for name, state in states.items() if state == "running"}
    # One that does not answer is told before anything else is started.
    url = ensure_server(settings, say) if states["prefect"] != "stopped" else ""
    with ThreadPoolExecutor(2) as helpers:
        # Each takes seconds to start.
        others = [helpers.submit(ensure, settings, say) for ensure in (ensure_ray, ensure_pages)]
        url = url or ensure_server(settings, say)
        settle_all(settings, url)
        ensure_runner(settings, url, say)
        for other in others:
            other.result()
    services = _look(settings)
    _show(services, json)
    if foreground:
        _stay(settings, [s.name for s in services if s.state == "running" and s.name not in before])


def _stay(settings: Settings, started: list[str]) -> None:
    """Wait for Ctrl-C, or a request to end; then stop what was started.

    Raises:
        ServerError: a service has ended meanwhile.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        say("Press Ctrl-C to stop." if started else "They ran before, and go on after Ctrl-C.")
        while True:
            gone = [s.name for s in _look(settings) if s.state == "stopped"]
            if gone:
                break
            time.sleep(WATCH_PERIOD_S)
    except KeyboardInterrupt:
        for name in _stop(settings, started):
            say(f"Stopped {TITLES[name]}.")
        return
    finally:
        signal.signal(signal.SIGTERM, before)
    raise ServerError(f"{TITLES[gone[0]]} has ended. Start it again: flowlearner up")


def _stop(settings: Settings, names: list[str]) -> list[str]:
    """Stop services; return those that were running, in the order in which they were stopped."""
    stopped = []
    # The server last: until then runs that end can say so.
    if "ui" in names and stop_pages(settings):
        stopped.append("ui")
    if "schedules" in names and stop_runner(settings):
        stopped.append("schedules")
    if "ray" in names and stop_warm(settings):
        stopped.append("ray")
    if "prefect" in names and stop_server(settings):
        stopped.append("prefect")
    return stopped


def _down(json: AsJson = False) -> None:
    stopped = _stop(get_settings(), list(TITLES))
    if json:
        emit({"stopped": stopped})
        return
    console = get_out()
    for name in stopped:
        console.print(Text(f"Stopped {TITLES[name]}."))
    if not stopped:
        console.print(Text("No service was running."))


def _status(json: AsJson = False) -> None:
    services = _look(get_settings())
    _show(services, json)
    for line in _advise(services):
        say(line)


def _advise(services: list[_Service]) -> list[str]:
    """Say what to do about services that do not run as they should."""
    lines = []
    stopped = [s.name for s in services if s.state == "stopped"]
    if stopped:
        lines.append(f"Not running: {', '.join(stopped)}. Start them: flowlearner up")
    for service in services:
        if service.state == "unhealthy" and service.pid is None:
            setting = SETTINGS[service.name]
            lines.append(
                f"{service.name}: nothing answers at {service.place}. "
                f"Start it, or correct or remove {setting}"
            )
        elif service.state == "unhealthy":
            # A server that hangs may still have work in hand: `up` does not end it.
            cure = "flowlearner down && flowlearner up" if service.name == "prefect" else "flowlearner up"
            lines.append(f"{service.name}: pid {service.pid} lives but does no work. Start it again: {cure}")
    return lines


up = make_command("up", "Start the services in the background and wait for them.", _up)
down = make_command("down", "Stop the services.", _down)
status = make_command("status", "Show which services run, and where.", _status)
