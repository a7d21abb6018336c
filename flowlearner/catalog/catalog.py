"""The catalog: everything that happened, in one database."""

from __future__ import annotations

from types import TracebackType

from flowlearner.catalog.connect import BUSY_TIMEOUT_S, Database
from flowlearner.catalog.provenance import Provenance
from flowlearner.catalog.schema import open_database
from flowlearner.catalog.views import Views
from flowlearner.errors import CatalogError


class Catalog(Provenance, Views):
    """Runs, sweeps, nodes, metrics, artifacts and cache entries in one database.

    Safe to use from several threads and by several processes at once. Every method is one transaction;
    readers neither wait for writers nor hold them up.

    Args:
        url: SQLAlchemy URL. A SQLite file that is missing is created, with its folder.
        upgrade: bring a catalog with older tables up to date instead of refusing it.
        busy_timeout_s: how long a writer waits for another process.

    Raises:
        CatalogError: the catalog is locked, corrupt, or made by another version of flowlearner.
        StorageError: it cannot be written.
        UsageError: the URL is none.

    Example:
        >>> catalog = Catalog("sqlite:////tmp/flowlearner-example/catalog.db")
        >>> catalog.find_cache_entries(["no such key"])
        {}
        >>> catalog.close()
    """

    def __init__(self, url: str, *, upgrade: bool = True, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.url = url
        self.database = Database(url, busy_timeout_s)
        self._workflows = {}
        self._environments = {}
        try:
            open_database(self.database, upgrade=upgrade)
            self._file = self._find_file()
        except BaseException:
            self.database.close()
            raise

    def is_replaced(self) -> bool:
        """Tell whether the file is another one than when it was opened, such as one from a backup.

        Raises:
            CatalogError: there is none any more. Nothing takes its place, since it may come back.
        """
        if self._file is None:
            return False
        found = self._find_file()
        if found is None:
            raise CatalogError(
                f"catalog {self.database.place}: the file is gone. Bring it back, or start flowlearner anew "
                "to begin with an empty catalog"
            )
        return found != self._file

    def _find_file(self) -> tuple[int, int] | None:
        """Return what the file is to the operating system; None where there is none."""
        try:
            stat = self.database.path.stat() if self.database.path is not None else None
        except FileNotFoundError:
            return None
        return None if stat is None else (stat.st_dev, stat.st_ino)

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
