"""Owns what every test may rely on: a home of its own, and nothing taken from the caller's settings."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowlearner.config import Settings
from flowlearner.engine.server import ensure_server, stop_server

# A shell that starts the tests in the background lets them ignore Ctrl-C, and with them all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Prefect reads this once, whoever imports it first: else it prints what tests log.
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test, and every process that it starts, an empty FLOWLEARNER_HOME."""
    for name in list(os.environ):
        if name.startswith(("FLOWLEARNER_", "PREFECT_")):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("FLOWLEARNER_HOME", str(home))
    # Without these Prefect logs that its telemetry cannot be sent.
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    return home


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one Prefect server for all tests that need one."""
    # Most tests need no Prefect, which takes seconds to import. Ours sets what Prefect reads then.
    from flowlearner.engine import prefect_executor  # noqa: F401

    from prefect.logging.handlers import APILogHandler  # isort: skip

    settings = Settings(home=tmp_path_factory.mktemp("server"))
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("PREFECT_")]:
            patch.delenv(name)
        url = ensure_server(settings)
    try:
        yield url
    finally:
        # What this process has still to send would be complained of once the server is gone.
        APILogHandler().flush()
        stop_server(settings)
