"""How Prefect's client talks to the server of a run: which one, and how patiently.

`prefect_executor` alone imports this, after it has set what Prefect reads as it is loaded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any

import httpx
from prefect.context import SettingsContext, SyncClientContext, get_settings_context
from prefect.events import Event
from prefect.events.clients import PrefectEventsClient
from prefect.logging.handlers import APILogWorker

from flowlearner.engine.endpoint import is_loopback
from flowlearner.engine.logs import node_handler
from flowlearner.errors import ServerError

BUSY_LIMIT_S = 10.0
BUSY_PAUSE_S = 0.05
LOCAL_RETRIES = 3
LOGS_LIMIT_S = 1.0


@contextlib.contextmanager
def connected(url: str) -> Iterator[None]:
    """Let Prefect use a server, and what its threads log reach the node that runs in them."""
    logger = logging.getLogger("prefect.task_runs")
    context = get_settings_context()
    # 14 s in place of 62: a server on this machine that has not come back by then will not.
    retries = {"max_retries": LOCAL_RETRIES} if is_loopback(url) else {}
    settings = context.settings.model_copy(
        update={
            "api": context.settings.api.model_copy(update={"url": url}),
            "flows": context.settings.flows.model_copy(update={"heartbeat_frequency": None}),
            "client": context.settings.client.model_copy(update=retries),
        }
    )
    # `temporary_settings` reads and checks every setting anew, which takes longer than a small run.
    with (
        SettingsContext(profile=context.profile, settings=settings),
        SyncClientContext() as connection,
    ):
        # A client that is made with settings of its own is passed by: Prefect then makes one for each task.
        transport: Any = connection.client._client._transport
        transport.handle_request = _insist(transport.handle_request, 2**settings.client.max_retries)
        logger.addHandler(node_handler)
        try:
            yield
        finally:
            logger.removeHandler(node_handler)


def _insist(send: Callable[[Any], Any], gone_limit_s: float) -> Callable[[Any], Any]:
    """Make a client's transport ask again at once where the server's database was just being written.

    SQLite refuses what has read before another wrote, and the server says 503 then: to most requests right
    after a run, while it still takes in the states of the tasks. Prefect's client waits for 2, 4, 8 ... s.

    Args:
        gone_limit_s: how long a server that is gone is waited for; then every request fails at once,
            until one succeeds.
    """
    gone_since: float | None = None

    def send_until_taken(request: Any) -> Any:
        nonlocal gone_since
        deadline = monotonic() + BUSY_LIMIT_S
        while True:
            try:
                response = send(request)
            except httpx.ConnectError as error:
                gone_since = gone_since or monotonic()
                if monotonic() - gone_since > gone_limit_s:
                    # Prefect's client asks again after every other error.
                    raise ServerError(str(error)) from error
                raise
            gone_since = None
            if response.status_code != 503 or "retry-after" in response.headers or monotonic() > deadline:
                return response
            response.read()
            response.close()
            sleep(BUSY_PAUSE_S)

    return send_until_taken


_emit_patiently = PrefectEventsClient._emit


async def _emit(client: PrefectEventsClient, event: Event) -> None:
    """Send an event; what a server that is gone does not take is kept, and sent when it is back.

    Prefect waits for 8 s for each event: with a hundred of them a process would not end for a quarter of an
    hour.
    """
    if client._websocket is None and client._unconfirmed_events:
        client._unconfirmed_events.append(event)
        await client._reconnect()
    else:
        await _emit_patiently(client, event)


async def _send_logs(worker: Any, items: list[dict[str, Any]]) -> None:
    """Send lines; what a server that is gone does not take is in our catalog, and no reason to complain."""
    limit_s = LOGS_LIMIT_S if getattr(worker, "is_server_gone", False) else None
    try:
        await asyncio.wait_for(worker._client.create_logs(items), limit_s)
        worker.is_server_gone = False
    except Exception:  # noqa: BLE001 - whatever a server says
        worker.is_server_gone = True


PrefectEventsClient._emit = _emit  # type: ignore[method-assign,assignment]
APILogWorker._handle_batch = _send_logs  # type: ignore[method-assign,assignment]
