"""URLs of catalogs: which databases can hold one, and by which driver."""

from __future__ import annotations

import importlib.util

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from flowlearner.errors import UsageError

POSTGRESQL = "postgresql+psycopg"


def parse_url(url: str) -> URL:
    """Read a SQLAlchemy URL; one of PostgreSQL gets the driver that the catalog is written for, psycopg 3.

    Raises:
        UsageError: it is none, its database cannot hold a catalog, or the driver is not installed.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise UsageError(
            f"FLOWLEARNER_CATALOG: expected a URL such as sqlite:////data/catalog.db, found {url!r}"
        ) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise UsageError(
                "FLOWLEARNER_CATALOG: a catalog in memory would be lost; name a file: sqlite:////path/file.db"
            )
        return parsed
    # The client library of PostgreSQL takes both words.
    if backend not in ("postgresql", "postgres"):
        raise UsageError(
            f"FLOWLEARNER_CATALOG: expected a URL of SQLite or PostgreSQL, found one of {backend!r}"
        )
    if parsed.drivername not in (backend, f"{backend}+psycopg"):
        raise UsageError(
            f"FLOWLEARNER_CATALOG: the driver for PostgreSQL is psycopg 3, found {parsed.drivername!r}. "
            "Write postgresql://USER@HOST/DATABASE"
        )
    if importlib.util.find_spec("psycopg") is None:
        raise UsageError(
            "FLOWLEARNER_CATALOG: a catalog on PostgreSQL needs a driver that is not installed. "
            "Run: pip install 'flowlearner[postgres]'"
        )
    return parsed.set(drivername=POSTGRESQL)
