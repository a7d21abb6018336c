"""The part of the catalog that decides about reuse: cache entries, artifacts, and remembered hashes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, select

from flowlearner.catalog import tables as t
from flowlearner.catalog.connect import Write
from flowlearner.catalog.part import chunks
from flowlearner.catalog.rows import now_us, to_artifact, to_entry, to_node
from flowlearner.catalog.writing import Writing
from flowlearner.records import Artifact, CacheEntry, NodeRun, Status, clean

FILE_HASHES = Write(t.FILE_HASH, ("path",), ("size_bytes", "mtime_ns", "ctime_ns", "inode", "hash"))
TABLE_HASHES = Write(t.TABLE_HASH, ("file_hash", "reader"), ("table_hash",))

_LIGHT = [c for c in t.ARTIFACT.columns if c.name != "preview"]


class Entries(Writing):
    """Looking up what need not be computed again."""

    def find_cache_entries(self, keys: Iterable[str]) -> dict[str, CacheEntry]:
        """Return the entries that there are, by key; one statement for up to 500 keys."""
        entries: dict[str, CacheEntry] = {}
        with self.database.read() as connection:
            for row in self._select_in(
                connection, "entries", t.CACHE_ENTRY.columns, t.CACHE_ENTRY.c.key, keys
            ):
                entries[row["key"]] = to_entry(row)
        return entries

    def remove_cache_entry(self, key: str) -> None:
        """Forget what a key stands for; a key that is unknown is no mistake."""
        with self.database.write() as connection:
            connection.execute(delete(t.CACHE_ENTRY).where(t.CACHE_ENTRY.c.key == key))

    def find_artifacts(self, hashes: Iterable[str], *, with_previews: bool = True) -> dict[str, Artifact]:
        """Return the artifacts that there are, by hash.

        Args:
            with_previews: False leaves `preview` out, which is faster where nobody looks at it.
        """
        columns, name = (t.ARTIFACT.columns, "artifacts") if with_previews else (_LIGHT, "light artifacts")
        with self.database.read() as connection:
            rows = self._select_in(connection, name, columns, t.ARTIFACT.c.hash, hashes)
            return {row["hash"]: to_artifact(row) for row in rows}

    def update_artifact(self, artifact: Artifact) -> None:
        """Record where an artifact's bytes are now; an artifact that is new is added."""
        with self.database.write() as connection:
            self._write_artifacts(connection, [artifact], now_us())

    def find_previous_node(self, workflow: str, node: str) -> NodeRun | None:
        """Return the latest node run of this name that completed, by running or by a hit."""
        return self.find_previous_nodes(workflow, [node]).get(node)

    def find_previous_nodes(self, workflow: str, nodes: Iterable[str]) -> dict[str, NodeRun]:
        """Return for each node its latest run that completed."""
        prepared = self.database.get_prepared(_build_previous)
        found: dict[str, NodeRun] = {}
        with self.database.read() as connection:
            for node in nodes:
                values = {"workflow": workflow, "name": node}
                for row in self.database.fetch(connection, prepared, values):
                    found[node] = to_node(row)
        return found

    def is_cancel_requested(self, run_id: str) -> bool:
        """Whether somebody asked for the run to stop; False where there is no such run."""
        prepared = self.database.get_prepared(_build_cancel)
        with self.database.read() as connection:
            rows = self.database.fetch(connection, prepared, {"id": clean(run_id)})
            return any(row["cancel_requested"] for row in rows)

    def find_file_hash(self, path: str, size: int, mtime_ns: int, ctime_ns: int, inode: int) -> str | None:
        """Return the hash of a file whose stat is the same as when it was hashed."""
        c = t.FILE_HASH.c
        same = and_(
            c.path == clean(path),
            c.size_bytes == size,
            c.mtime_ns == mtime_ns,
            c.ctime_ns == ctime_ns,
            c.inode == _signed(inode),
        )
        with self.database.read() as connection:
            return connection.scalar(select(c.hash).where(same))

    def remember_file_hash(
        self, path: str, size: int, mtime_ns: int, ctime_ns: int, inode: int, hash_: str
    ) -> None:
        """Remember the hash of a file's bytes as long as its stat stays the same."""
        row = {
            "path": clean(path),
            "size_bytes": size,
            "mtime_ns": mtime_ns,
            "ctime_ns": ctime_ns,
            "inode": _signed(inode),
            "hash": hash_,
        }
        with self.database.write() as connection:
            self.database.insert(connection, FILE_HASHES, [row])

    def find_table_hash(self, file_hash: str, reader: str) -> str | None:
        """Return the canonical hash of the table that a reader made of a file with these bytes."""
        c = t.TABLE_HASH.c
        with self.database.read() as connection:
            return connection.scalar(
                select(c.table_hash).where(c.file_hash == file_hash, c.reader == clean(reader))
            )

    def remember_table_hash(self, file_hash: str, reader: str, table_hash: str) -> None:
        """Remember what a reader made of a file with these bytes."""
        row = {"file_hash": file_hash, "reader": clean(reader), "table_hash": table_hash}
        with self.database.write() as connection:
            self.database.insert(connection, TABLE_HASHES, [row])

    def _select_in(
        self, connection: Connection, name: str, columns: Any, column: Any, values: Iterable[str]
    ) -> Iterator[dict[str, Any]]:
        """Yield rows whose column is one of the values."""
        for some in chunks(dict.fromkeys(clean(v) for v in values)):
            # A few sizes, so that few statements are compiled and kept; the last value fills the rest.
            size = 1 << (len(some) - 1).bit_length()
            prepared = self.database.get_prepared(partial(_build_in, columns, column, size), (name, size))
            some += [some[-1]] * (size - len(some))
            parameters = {f"v{i}": value for i, value in enumerate(some)}
            yield from self.database.fetch(connection, prepared, parameters)


def _build_in(columns: Any, column: Any, size: int, dialect: str) -> Any:  # noqa: ARG001 - the same on every database
    marks: list[Any] = [bindparam(f"v{i}") for i in range(size)]
    return select(*columns).where(column.in_(marks))


def _build_cancel(dialect: str) -> Any:  # noqa: ARG001 - the same on every database
    return select(t.RUN.c.cancel_requested).where(t.RUN.c.id == bindparam("id"))


def _build_previous(dialect: str) -> Any:  # noqa: ARG001 - the same on every database
    c = t.NODE_RUN.c
    return (
        select(t.NODE_RUN)
        .where(c.workflow == bindparam("workflow"), c.name == bindparam("name"))
        .where(c.status == Status.COMPLETED.value, c.finished_us.is_not(None))
        .order_by(c.finished_us.desc())
        .limit(1)
    )


def _signed(inode: int) -> int:
    # Some file systems number above what a signed 64-bit column holds.
    return inode - (1 << 64) if inode >= 1 << 63 else inode
