"""A PostgreSQL server for the tests: on this machine alone, in a temporary folder, gone with them."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from flowlearner.catalog import Catalog
from flowlearner.catalog.tables import METADATA

# Nothing need outlive the machine. The tests start and end databases far more often than teams do.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
}

# Tells tables and indexes that have other columns, or are not all there.
LAYOUT = """
SELECT count(*), sum(hashtext(relname || ' ' || attname))
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
"""
CLEAR = "; ".join(f"DELETE FROM {table.name}" for table in reversed(METADATA.sorted_tables))


def find_program(name: str) -> str:
    """Return the path of a program of the server; Debian keeps them out of PATH."""
    found = shutil.which(name) or next(
        (str(p) for p in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None
    )
    assert found, f"no {name}: install PostgreSQL (Debian: apt-get install postgresql)"
    return found


class Server:
    """One server on a free port.

    Its databases sort and compare by the rules of a language, which is what most servers do, and which the
    catalog must not mind.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="flowlearner-pg-"))
        self._numbers = itertools.count()
        self._free: list[str] = []
        # It refuses to run as root.
        self._user: dict[str, Any] = {}
        if os.getuid() == 0:
            self._user = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(self.folder, "postgres", "postgres")
        self._run("initdb", "--username=ada", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()
        self._execute("CREATE DATABASE empty TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'")
        self._execute("CREATE DATABASE filled TEMPLATE empty")
        Catalog(self.get_url("filled")).close()
        self._layout = self._execute(LAYOUT, "filled")

    def start(self) -> None:
        options = " ".join(f"-c {name}='{value}'" for name, value in SETTINGS.items())
        log = str(self.folder / "log")
        self._run("pg_ctl", "--wait", f"--log={log}", f"--options=-p {self.port} {options}", "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "--wait", f"--mode={mode}", "stop")

    def close(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder)

    def get_url(self, database: str) -> str:
        return f"postgresql://ada@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def lend(self, *, empty: bool = False) -> Iterator[str]:
        """Give the URL of a database with the tables of a catalog, which hold nothing, or without tables."""
        if empty or not self._free:
            name = f"test{next(self._numbers)}"
            self._execute(f"CREATE DATABASE {name} TEMPLATE {'empty' if empty else 'filled'}")
        else:
            name = self._free.pop()
        yield self.get_url(name)
        # Making a database takes much longer than emptying its tables.
        if self._execute(LAYOUT, name) == self._layout:
            self._execute(CLEAR, name)
            self._free.append(name)
        else:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: str, database: str = "postgres") -> Any:
        with psycopg.connect(self.get_url(database), autocommit=True) as connection:
            # psycopg takes a literal for safe only where a checker sees one.
            found = connection.execute(statement.encode())
            return found.fetchone() if found.description else None

    def _run(self, program: str, *arguments: str) -> None:
        command = [find_program(program), f"--pgdata={self.folder / 'data'}", *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **self._user,
        )
        assert done.returncode == 0, done.stderr
