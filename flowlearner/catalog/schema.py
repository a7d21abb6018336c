"""Which tables a catalog has: making them, refusing newer ones, upgrading older ones."""

from __future__ import annotations

from pathlib import Path

from flowlearner.catalog.connect import BUSY_TIMEOUT_S, Database
from flowlearner.catalog.tables import KNOWN_SCHEMAS, SCHEMA
from flowlearner.errors import CatalogError, StorageError

MIGRATIONS = Path(__file__).parent / "migrations"


def open_database(database: Database, *, upgrade: bool) -> None:
    """Make a fresh catalog's tables, or check those that are there.

    Raises:
        CatalogError: the tables are newer, or older and `upgrade` is false.
    """
    found = database.read_schema()
    database.prepare_file()
    if found == SCHEMA:
        return
    if found is None:
        database.create_tables(SCHEMA)
        found = database.read_schema()
    if found == SCHEMA:
        return
    if found and found not in KNOWN_SCHEMAS:
        raise CatalogError(
            f"catalog {database.place}: made by a newer flowlearner (its tables are '{found}', this one "
            f"knows up to '{SCHEMA}'). Upgrade flowlearner, or set FLOWLEARNER_CATALOG to another catalog"
        )
    if not upgrade:
        raise CatalogError(
            f"catalog {database.place}: made by an older flowlearner (its tables are '{found or 'none'}', "
            f"this one needs '{SCHEMA}'). Run `flowlearner catalog upgrade`"
        )
    upgrade_tables(database)


def upgrade_tables(database: Database) -> None:
    """Bring older tables up to date in one transaction; a SQLite file is copied first."""
    from alembic import command
    from alembic.config import Config

    if database.path is not None:
        _keep_copy(database, database.path.with_name(f"{database.path.name}.before-{SCHEMA}"))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with database.migrate() as connection:
        config.attributes["connection"] = connection
        # Where another process upgraded meanwhile, there is nothing left to do.
        command.upgrade(config, "head")


def _keep_copy(database: Database, target: Path) -> None:
    try:
        target.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            error.errno, f"catalog: cannot replace the old copy {target}: {error.strerror}"
        ) from error
    database.copy_to(target)


def upgrade_catalog(url: str, busy_timeout_s: float = BUSY_TIMEOUT_S) -> tuple[str, str]:
    """Bring a catalog's tables up to date.

    Returns:
        the revision that they had ("" for none) and the one that they have now; equal if nothing was to do.

    Raises:
        CatalogError: the catalog is locked, corrupt, or made by a newer flowlearner.
        StorageError: it cannot be written, or there is no room for the copy.
    """
    database = Database(url, busy_timeout_s)
    try:
        before = database.read_schema()
        open_database(database, upgrade=True)
        return (SCHEMA if before is None else before), SCHEMA
    finally:
        database.close()
