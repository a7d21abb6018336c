"""Owns what tests of the engine share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from flowlearner.config import Settings
from flowlearner.engine.server import ensure_server, stop_server
from tests.engine.api import Api
from tests.engine.calls import counted


@pytest.fixture
def calls() -> Iterator[list[str]]:
    """Names of the operators that were called in this process, in order (see `calls.called`)."""
    with counted([]) as names:
        yield names


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    # Most tests need no Prefect, which takes seconds to import.
    from prefect.logging.handlers import APILogHandler

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


@pytest.fixture
def api(server: str, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setenv("PREFECT_API_URL", server)
    return Api(server)
