"""The catalog: what happened, kept in a database."""

from __future__ import annotations

from flowlearner.catalog.catalog import Catalog
from flowlearner.catalog.schema import upgrade_catalog

__all__ = ["Catalog", "upgrade_catalog"]
