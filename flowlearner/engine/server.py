"""The Prefect server that runs use: the configured one, or else the local one of the home.

Prefect is not imported here: that would cost every command over a second.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from flowlearner.config import Settings
from flowlearner.engine.crashes import settle_all
from flowlearner.engine.endpoint import (
    ConfiguredUrl,
    ask,
    find_configured_url,
    find_port,
    is_cloud,
    is_loopback,
)
from flowlearner.engine.local_server import LocalServer, ServerState
from flowlearner.errors import ServerError

EXTERNAL_LIMIT_S = 10.0


@dataclass(frozen=True)
class ServerInfo:
    """A Prefect server as it is now.

    Attributes:
        url: of its API; for a stopped server the last one, or empty.
        pid: of a local server that runs, else None.
        state: "running", "starting" or "stopped" for the local server, "external" for a configured one,
            "unhealthy" for one that does not answer.
        started_at: when the local server was started.
        version: of Prefect on a server that answers.
    """

    url: str
    pid: int | None
    state: str
    started_at: datetime | None = None
    version: str | None = None

    @property
    def page_url(self) -> str:
        """Where its pages for people are."""
        return self.url.removesuffix("/api")


def ensure_server(settings: Settings, say: Callable[[str], None] = lambda _: None) -> str:
    """Return the URL of a Prefect API that answers; start the local server where none is configured.

    Safe to call from several processes at once: one starts the server, the others wait and find it.

    Args:
        say: is told in one line that a server is being started or waited for.

    Raises:
        ServerError: the configured server does not answer, or the local one does not start.
        StorageError: the home cannot be written.

    Example:
        url = ensure_server(get_settings(), print)
    """
    local = LocalServer(settings)
    wanted_port = None
    configured = find_configured_url()
    if configured is not None:
        reason = _find_fault(configured.url)
        if reason is None:
            return configured.url
        state = local.read_state()
        if state is None or not _names(configured.url, state):
            raise _unreachable(configured, reason)
        # It is the address of our own server, exported for Prefect's command line: start it there.
        wanted_port = state.port
    state = local.read_state()
    if state is not None and state.pid_started is not None and state.lives and state.answers(2.0):
        return state.url
    url = local.start(say, wanted_port).url
    settle_all(settings, url)
    return url


def get_server(settings: Settings) -> ServerInfo:
    """Look at the server that runs would use, without starting one."""
    state = LocalServer(settings).read_state()
    configured = find_configured_url()
    if configured is not None and not (state is not None and state.lives and _names(configured.url, state)):
        healthy = _find_fault(configured.url) is None
        version = _ask_version(configured.url) if healthy else None
        return ServerInfo(configured.url, None, "external" if healthy else "unhealthy", None, version)
    if state is None or not state.lives:
        return ServerInfo(state.url if state else "", None, "stopped")
    started = datetime.fromtimestamp(state.spawned_at, UTC)
    is_starting = state.is_starting
    if not state.answers(0.5 if is_starting else 5.0):
        return ServerInfo(state.url, state.pid, "starting" if is_starting else "unhealthy", started)
    return ServerInfo(state.url, state.pid, "running", started, _ask_version(state.url))


def stop_server(settings: Settings) -> bool:
    """Stop the local server with all its processes; return whether one was running.

    Raises:
        ServerError: it could not be ended.
    """
    return LocalServer(settings).stop()


def _names(url: str, state: ServerState) -> bool:
    return is_loopback(url) and find_port(url) == state.port


def _find_fault(url: str) -> str | None:
    """Return why a configured API cannot be used, or None where it answers."""
    first = ask(f"{url}/health", EXTERNAL_LIMIT_S / 2)
    # One lost connection is no verdict.
    answer = first if first.status else ask(f"{url}/health", EXTERNAL_LIMIT_S / 2)
    if answer.status in (401, 403) or (is_cloud(url) and 0 < answer.status < 500):
        return None
    if answer.status == 200 and answer.body.strip() == b"true":
        return None
    if answer.status in (200, 404):
        # Many programs answer 200 to every path.
        return (
            f"what is there is not a Prefect API ({answer.status} for /health and no 'true'); "
            "such an address usually ends in /api"
        )
    return answer.reason


def _unreachable(configured: ConfiguredUrl, reason: str) -> ServerError:
    return ServerError(
        f"The Prefect server at {configured.url} (from {configured.source}) does not answer: {reason}. "
        "Start it, correct the address, or remove that setting to use a local server."
    )


def _ask_version(url: str) -> str | None:
    answer = ask(f"{url}/admin/version", 5.0)
    try:
        return str(json.loads(answer.body)) if answer.status == 200 else None
    except ValueError:
        return None
