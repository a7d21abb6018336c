"""Owns what tests of the client share: a client of the test's own home, and the calls of operators."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowlearner import Client
from tests.engine.calls import counted


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as opened:
        yield opened


@pytest.fixture
def calls() -> Iterator[list[str]]:
    """Names of the operators that were called in this process, in order."""
    with counted([]) as names:
        yield names
