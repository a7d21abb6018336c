"""Turns what a database says into the catalog's errors: where, what is wrong, what to do."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from flowlearner.errors import CatalogError, FlowLearnerError, StorageError

_NO_ROOM = "the disk is full: make room (`flowlearner catalog gc` lists what nothing needs) and try again"
_DAMAGED = (
    "it is corrupt. Move it away, with the files -wal and -shm beside it, and put a backup in its place, "
    "or save what can be read with: sqlite3 {path} .recover"
)


@contextmanager
def explained(place: str, busy_timeout_s: float) -> Iterator[None]:
    """Raise the catalog's own error in place of the database's.

    Args:
        place: the catalog in words for messages: a path, or a URL without its password.

    Raises:
        CatalogError: locked, corrupt or unreachable.
        StorageError: the disk is full, or there is no permission.
    """
    try:
        yield
    except DBAPIError as error:
        raise explain(error, place, busy_timeout_s) from error
    except sqlite3.Error as error:
        raise explain(error, place, busy_timeout_s) from error


def explain(error: Exception, place: str, busy_timeout_s: float) -> FlowLearnerError:
    """Return the error to raise for one that the database raised."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    name = getattr(cause, "sqlite_errorname", "") or ""
    where = f"catalog {place}: "
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return CatalogError(
            f"{where}locked: another process has held it for more than {busy_timeout_s:g} s. "
            f"See which one with `fuser {place}`, end it, and try again"
        )
    if name.startswith("SQLITE_FULL"):
        return StorageError(where + _NO_ROOM)
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return CatalogError(where + _DAMAGED.format(path=place))
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return StorageError(
            f"{where}cannot be opened for writing ({cause}). The file and its folder must be writable for "
            "this user: mend the permissions, or set FLOWLEARNER_HOME or FLOWLEARNER_CATALOG to another place"
        )
    if name.startswith("SQLITE_IOERR"):
        return StorageError(
            f"{where}{cause}. Check the disk, its free space and that the folder still exists"
        )
    return CatalogError(f"{where}{type(cause).__name__}: {cause}. `flowlearner catalog check` says more")


def explain_folder(folder: str, error: OSError) -> StorageError:
    """Return the error for a folder that cannot be made."""
    reason = error.strerror or str(error)
    return StorageError(
        error.errno,
        f"catalog: cannot make the folder {os.fspath(folder)}: {reason}. "
        "Set FLOWLEARNER_HOME or FLOWLEARNER_CATALOG to a place that this user may write to",
    )


def is_busy(error: Exception) -> bool:
    """Whether another connection was in the way, so that trying again makes sense."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return (getattr(cause, "sqlite_errorname", "") or "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
