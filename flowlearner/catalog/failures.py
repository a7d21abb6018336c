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
    if not isinstance(cause, sqlite3.Error):
        return _explain_postgresql(cause, where, busy_timeout_s)
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


def _explain_postgresql(cause: BaseException, where: str, busy_timeout_s: float) -> FlowLearnerError:
    state, said = _get_state(cause), " ".join(str(cause).split())
    if _is_away(cause):
        return CatalogError(
            f"{where}cannot be reached: {said}. Check that the server runs, that the database exists, and "
            "host, user and password in FLOWLEARNER_CATALOG"
        )
    if state == "55P03":
        return CatalogError(
            f"{where}locked: another process has held it for more than {busy_timeout_s:g} s. "
            "See which one with: SELECT * FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        )
    if state == "25P03":
        return CatalogError(
            f"{where}this process stood still in the midst of a write, so the server has given its turn to "
            "others; nothing of that write is stored"
        )
    if state == "53100":
        return StorageError(f"{where}{said}. The server's {_NO_ROOM}")
    if state in ("42501", "25006"):
        return StorageError(
            f"{where}cannot be written ({said}). The user in FLOWLEARNER_CATALOG must be allowed to make "
            "tables and to write: the owner of the database is"
        )
    return CatalogError(f"{where}{type(cause).__name__}: {said}. `flowlearner catalog check` says more")


def _get_state(cause: BaseException | None) -> str:
    return getattr(cause, "sqlstate", None) or ""


def _is_away(cause: BaseException | None) -> bool:
    # The client library gives no code where it cannot connect or the connection has broken.
    state = _get_state(cause)
    lost = not state and any(kind.__name__ == "OperationalError" for kind in type(cause).__mro__)
    return lost or state.startswith(("08", "28", "3D", "57P"))


def is_away(error: DBAPIError) -> bool:
    """Whether the server does not answer, so that waiting for it makes sense."""
    return not isinstance(error.orig, sqlite3.Error) and _is_away(error.orig)


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
