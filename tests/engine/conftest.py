"""Owns what tests of the engine share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.api import Api
from tests.engine.calls import counted


@pytest.fixture
def calls() -> Iterator[list[str]]:
    """Names of the operators that were called in this process, in order (see `calls.called`)."""
    with counted([]) as names:
        yield names


@pytest.fixture
def api(server: str, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setenv("PREFECT_API_URL", server)
    return Api(server)
