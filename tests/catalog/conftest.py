"""Owns the catalogs that the tests work on: real SQLite files, and databases of a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowlearner.catalog import Catalog
from tests.catalog.postgresql import Server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """One server for all tests; it starts in a second where the first of them needs it."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/home/catalog.db"


@pytest.fixture
def postgresql_url(postgresql: Server) -> Iterator[str]:
    """A database with the tables of a catalog, which hold nothing."""
    with postgresql.lend() as url:
        yield url


@pytest.fixture
def empty_postgresql_url(postgresql: Server) -> Iterator[str]:
    with postgresql.lend(empty=True) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty catalog on each kind of database."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    with Catalog(url) as opened:
        yield opened
