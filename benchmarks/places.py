"""Owns where benchmarks happen: environments without settings of the user, and a Prefect server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flowlearner.config import Settings
from flowlearner.engine.server import ensure_server, stop_server

HERE = Path(__file__).resolve().parent


def make_env(home: str, prefect_url: str | None = None) -> dict[str, str]:
    """Return the environment of a side, equal for both: its own home, quiet, and no setting of the user."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("FLOWLEARNER_", "PREFECT_", "FLYTE_"))}
    env |= {
        "HOME": home,
        "FLOWLEARNER_HOME": home,
        "PREFECT_HOME": f"{home}/prefect-client",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Lines still go to the server; only the terminal is spared, on both sides.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "DO_NOT_TRACK": "1",
        "KEDRO_DISABLE_TELEMETRY": "1",
    }
    if prefect_url is not None:
        env["PREFECT_API_URL"] = prefect_url
    return env


@contextmanager
def running_server(home: str) -> Iterator[str]:
    """Keep a local Prefect server of its own while a benchmark runs; gives the URL of its API."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(make_env(home))
    try:
        settings = Settings()
        try:
            yield ensure_server(settings)
        finally:
            stop_server(settings)
    finally:
        os.environ.clear()
        os.environ.update(before)
