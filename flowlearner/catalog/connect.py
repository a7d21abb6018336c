"""Connections to the catalog's database: transactions, prepared statements, making a fresh one."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, Table, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError

from flowlearner.catalog.failures import explain, explain_folder, explained, is_away, is_busy
from flowlearner.catalog.tables import METADATA
from flowlearner.catalog.urls import parse_url
from flowlearner.errors import CatalogError

BUSY_TIMEOUT_S = 30.0
_WRITES = "flowlearner_writes"
# A server or network that is gone is noticed within a minute, also where nothing says so.
_POSTGRESQL = {
    "client_encoding": "utf8",
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 4,
    "tcp_user_timeout": 60_000,
}
# What writers of one PostgreSQL database take turns by.
_TURN = int.from_bytes(b"flowlear")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.005, 0.2


@dataclass(frozen=True)
class Prepared:
    """SQL text for the driver.

    Attributes:
        order: names of its parameters in order; None where the driver takes them by name.
        constants: parameters that the statement itself gives.
    """

    sql: str
    order: tuple[str, ...] | None
    constants: Mapping[str, Any]

    def bind(self, values: Mapping[str, Any]) -> Any:
        """Return the parameters as the driver takes them."""
        if self.constants:
            values = {**self.constants, **values}
        return dict(values) if self.order is None else tuple([values[name] for name in self.order])


# Compiled once in a process: every run opens the catalog anew, and compiling costs more than executing.
_prepared: dict[Any, Prepared] = {}


@dataclass(frozen=True)
class Write:
    """An insert of rows into a table that says what becomes of a row that is there already.

    Attributes:
        keys: columns that tell rows apart; empty for a plain insert.
        replaced: columns that a new row replaces; empty: the old row stays as it is.
    """

    table: Table
    keys: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()

    def build(self, dialect: str, columns: Sequence[str]) -> Any:
        """Return the statement; `columns` are those that the rows give."""
        insert = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(self.table)
        statement = insert.values({c: sqlalchemy.bindparam(c) for c in columns})
        if not self.keys:
            return statement
        if not self.replaced:
            return statement.on_conflict_do_nothing(index_elements=list(self.keys))
        new = statement.excluded
        return statement.on_conflict_do_update(
            index_elements=list(self.keys), set_={c: getattr(new, c) for c in self.replaced}
        )


class Database:
    """One catalog's connections, shared by the threads of a process.

    Writers of a process take turns by a lock, writers of several by SQLite's, or by an advisory lock of
    PostgreSQL: what a writer has read stays true until it commits, and no two wait for each other. Readers
    never wait: they see the last committed state.
    """

    def __init__(self, url: str, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.url = parse_url(url)
        self.busy_timeout_s = busy_timeout_s
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.path = Path(self.url.database).absolute() if self.is_sqlite and self.url.database else None
        self.place = str(self.path) if self.path else self.url.render_as_string(hide_password=True)
        self._write_lock = threading.RLock()
        self._writing: Connection | None = None
        self._pid = os.getpid()
        self.engine = self._make_engine()
        self._read_engine, self._write_engine = self._split(self.engine)
        self._driver: Any = self.engine.dialect.loaded_dbapi
        # Runs that people keep for their outputs hold a catalog that nobody closes.
        weakref.finalize(self, _dispose, self.engine, self._pid)
        self._has_answered = False

    def _make_engine(self) -> Engine:
        if self.path is None:
            given = {name: value for name, value in _POSTGRESQL.items() if name not in self.url.query}
            engine = sqlalchemy.create_engine(self.url, connect_args=given, pool_pre_ping=True)
            event.listen(engine, "begin", _make_turn(max(round(self.busy_timeout_s * 1000), 1)))
            return engine
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain_folder(str(self.path.parent), error) from error
        url = self.url.set(database=str(self.path))
        # isolation_level None: transactions are ours, see _begin.
        arguments: dict[str, Any] = {"timeout": self.busy_timeout_s, "isolation_level": None}
        engine = sqlalchemy.create_engine(url, connect_args=arguments, max_overflow=-1)
        event.listen(engine, "connect", _set_up)
        event.listen(engine, "begin", _begin)
        return engine

    def _split(self, engine: Engine) -> tuple[Engine, Engine]:
        """Return one engine to read with and one to write with; they share the connections."""
        if self.is_sqlite:
            return engine, engine.execution_options(**{_WRITES: True})
        return (
            engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True),
            # Whoever had to wait for its turn sees what was committed meanwhile.
            engine.execution_options(isolation_level="READ COMMITTED", **{_WRITES: True}),
        )

    @contextmanager
    def _connect(self, engine: Engine) -> Iterator[Connection]:
        """Give a connection. A server that has answered before, and is away, is waited for like a writer."""
        deadline = time.monotonic() + self.busy_timeout_s
        wait = _FIRST_WAIT_S
        while True:
            try:
                connection = engine.connect()
                break
            except DBAPIError as error:
                if not (self._has_answered and is_away(error)) or time.monotonic() > deadline:
                    raise
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_S)
        self._has_answered = True
        with connection:
            yield connection

    def close(self) -> None:
        """Close every connection. The object may be used again and then opens new ones."""
        _dispose(self.engine, self._pid)

    def _check_process(self) -> None:
        # A forked child must not use its parent's connections: SQLite's locks belong to the process.
        if os.getpid() != self._pid:
            self.engine.dispose(close=False)
            self._pid = os.getpid()
            self._write_lock = threading.RLock()
            self._writing = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection on which all statements see one state of the catalog."""
        self._check_process()
        try:
            with self._connect(self._read_engine) as connection:
                yield connection
        except (DBAPIError, self._driver.Error) as error:
            raise explain(error, self.place, self.busy_timeout_s) from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection in a write transaction, committed at the end or rolled back by an exception.

        Inside another `write` of the same thread it is a part of that transaction, undone by itself where
        it fails.
        """
        self._check_process()
        with self._write_lock:
            if self._writing is not None:
                with self._writing.begin_nested():
                    yield self._writing
                return
            try:
                with self._connect(self._write_engine) as connection, connection.begin():
                    self._writing = connection
                    yield connection
            except (DBAPIError, self._driver.Error) as error:
                raise explain(error, self.place, self.busy_timeout_s) from error
            finally:
                self._writing = None

    @contextmanager
    def migrate(self) -> Iterator[Connection]:
        """Give a connection in a write transaction in which tables may be rebuilt.

        SQLite changes a table by copying it; meanwhile references to it lead nowhere.
        """
        self._check_process()
        try:
            with self._write_lock, self._connect(self._write_engine) as connection:
                self._enforce_references(connection, False)
                try:
                    with connection.begin():
                        yield connection
                finally:
                    self._enforce_references(connection, True)
        except DBAPIError as error:
            raise explain(error, self.place, self.busy_timeout_s) from error

    def _enforce_references(self, connection: Connection, wanted: bool) -> None:
        if self.is_sqlite:
            # On the driver's own connection: inside a transaction SQLite ignores this.
            connection.connection.cursor().execute(f"PRAGMA foreign_keys={'ON' if wanted else 'OFF'}")

    # Statements. Compiled once and handed to the driver itself: what SQLAlchemy does around a statement
    # takes several times as long as finding or writing a row by its key.

    def get_prepared(self, build: Callable[[str], Any], key: Any = None) -> Prepared:
        """Return a statement as text for the driver; it is built and compiled on first use.

        Args:
            build: makes the statement for a dialect by name.
            key: what tells it apart from others; `build` itself where there is none.
        """
        dialect = self.engine.dialect
        key = (dialect.name, dialect.driver, build if key is None else key)
        prepared = _prepared.get(key)
        if prepared is None:
            compiled = build(dialect.name).compile(dialect=dialect)
            order = tuple(compiled.positiontup) if compiled.positional else None
            constants = {name: value for name, value in compiled.params.items() if value is not None}
            prepared = _prepared[key] = Prepared(str(compiled), order, constants)
        return prepared

    def insert(self, connection: Connection, write: Write, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows; all must give the same columns."""
        if rows:
            columns = tuple(rows[0])
            prepared = self.get_prepared(lambda dialect: write.build(dialect, columns), (write, columns))
            self.run(connection, prepared, rows)

    def run(self, connection: Connection, prepared: Prepared, rows: Sequence[Mapping[str, Any]]) -> int:
        """Execute a prepared statement once for each row of parameters; return how many rows it changed.

        Raises:
            IntegrityError: a row is there already, or refers to one that is not.
        """
        cursor = connection.connection.cursor()
        try:
            cursor.executemany(prepared.sql, [prepared.bind(row) for row in rows])
            return int(cursor.rowcount)
        except self._driver.IntegrityError as error:
            raise IntegrityError(prepared.sql, None, error) from error
        finally:
            cursor.close()

    def fetch(
        self, connection: Connection, prepared: Prepared, values: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Return the rows of a prepared query.

        On SQLite each sees the latest state, until something else begins a transaction on the connection.
        """
        cursor = connection.connection.cursor()
        try:
            cursor.execute(prepared.sql, prepared.bind(values))
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        finally:
            cursor.close()

    def vacuum(self) -> None:
        """Rewrite the file without the space of removed rows."""
        self._run_alone("VACUUM")

    def copy_to(self, target: Path) -> None:
        """Write a SQLite catalog, as it is committed now, to a file that does not exist."""
        self._run_alone("VACUUM INTO ?", str(target))

    def _run_alone(self, statement: str, *values: str) -> None:
        """Execute a statement that SQLite takes outside of transactions only."""
        with (
            explained(self.place, self.busy_timeout_s),
            self._write_lock,
            self.engine.connect() as connection,
        ):
            connection.connection.cursor().execute(statement, values)

    # Schema

    def read_schema(self) -> str | None:
        """Return the revision of the tables, "" where they come before the first, None for an empty database.

        Raises:
            CatalogError: the database holds something else.
        """
        with self.read() as connection:
            return read_schema(connection, self.place)

    def prepare_file(self) -> None:
        """Put a SQLite file into WAL mode, in which readers and the writer do not wait for each other."""
        if self.path is None:
            return
        deadline = time.monotonic() + self.busy_timeout_s
        wait = _FIRST_WAIT_S
        while True:
            try:
                with self.engine.connect() as connection:
                    raw = connection.connection.cursor()
                    mode = raw.execute("PRAGMA journal_mode").fetchone()[0]
                    if mode != "wal":
                        raw.execute("PRAGMA journal_mode=WAL")
                    return
            except Exception as error:
                # SQLite's busy timeout does not cover a change of the journal's mode.
                if not is_busy(error) or time.monotonic() > deadline:
                    with explained(self.place, self.busy_timeout_s):
                        raise
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_S)

    def list_tables(self, connection: Connection) -> list[str]:
        return sqlalchemy.inspect(connection).get_table_names()

    def create_tables(self, schema: str) -> None:
        """Make all tables in an empty database; a process that did so at the same moment wins."""
        with self.write() as connection:
            if read_schema(connection, self.place) is not None:
                return
            METADATA.create_all(connection, checkfirst=False)
            connection.exec_driver_sql(_VERSION_TABLE)
            connection.execute(text("INSERT INTO alembic_version VALUES (:schema)"), {"schema": schema})


_VERSION_TABLE = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


def read_schema(connection: Connection, place: str) -> str | None:
    """See `Database.read_schema`."""
    names = set(sqlalchemy.inspect(connection).get_table_names())
    if not names:
        return None
    if "alembic_version" in names and (names == {"alembic_version"} or "node_run" in names):
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return str(found or "")
    raise CatalogError(
        f"catalog {place}: this database is not a flowlearner catalog. "
        "Set FLOWLEARNER_CATALOG to a database of its own"
    )


def _dispose(engine: Engine, pid: int) -> None:
    """Close the connections of an engine; a forked child only lets go of them, for they are its parent's."""
    engine.dispose(close=os.getpid() == pid)


def _make_turn(wait_ms: int) -> Callable[[Connection], None]:
    """Return what begins a transaction on PostgreSQL: one that writes waits for its turn."""
    # A writer that was stopped or cut off within its turn loses it, before those behind it give up.
    statement = (
        f"SET LOCAL lock_timeout = {wait_ms}; "
        f"SET LOCAL idle_in_transaction_session_timeout = {max(wait_ms * 4 // 5, 1)}; "
        f"SELECT pg_advisory_xact_lock({_TURN})"
    )

    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(_WRITES):
            connection.exec_driver_sql(statement)

    return begin


def _set_up(connection: Any, record: Any) -> None:  # noqa: ARG001 - SQLAlchemy's signature
    cursor = connection.cursor()
    # With WAL, NORMAL loses nothing when a process dies; a power cut may take the last transactions.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA temp_store=MEMORY")
    cursor.execute("PRAGMA cache_size=-16000")
    cursor.execute("PRAGMA journal_size_limit=67108864")
    # A checkpoint waits for the disk; every 16 MiB instead of 4 keeps it out of most commits.
    cursor.execute("PRAGMA wal_autocheckpoint=4000")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A writer locks at once: a transaction that first reads and then writes can fail without waiting.
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
