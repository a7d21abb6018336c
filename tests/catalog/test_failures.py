"""A catalog that is locked, corrupt, unreachable or not to be written."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flowlearner.catalog import Catalog
from flowlearner.errors import CatalogError, StorageError, UsageError
from tests.catalog.make import begin, complete

NOBODY = 65534


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


@pytest.fixture
def url(sqlite_url: str) -> str:
    """What befalls a file."""
    return sqlite_url


def test_a_lock_that_is_held_too_long_is_named(url: str) -> None:
    with Catalog(url, busy_timeout_s=0.2) as catalog:
        holder = sqlite3.connect(path_of(url), isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(CatalogError, match=r"catalog /.*catalog\.db: locked: .*more than 0\.2 s"):
            begin(catalog, "a")
        assert catalog.list_runs() == []
        holder.execute("ROLLBACK")
        holder.close()
        begin(catalog, "a")
        assert catalog.count_runs() == 1


def test_a_writer_waits_for_another(url: str) -> None:
    with Catalog(url) as catalog, ThreadPoolExecutor(1) as pool:
        holder = sqlite3.connect(path_of(url), isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        written = pool.submit(begin, catalog, "a")
        with pytest.raises(TimeoutError):
            written.result(timeout=0.3)
        holder.execute("COMMIT")
        holder.close()
        written.result()
        assert catalog.count_runs() == 1


def test_a_reader_does_not_wait_for_a_writer(url: str) -> None:
    with Catalog(url, busy_timeout_s=0.05) as catalog:
        begin(catalog, "a")
        holder = sqlite3.connect(path_of(url), isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        holder.execute("DELETE FROM run")
        assert catalog.get_run("a").id == "a"
        assert len(catalog.list_runs()) == 1
        holder.execute("ROLLBACK")
        holder.close()


@pytest.mark.parametrize(
    "content", [b"this is no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_file_that_is_no_database_is_called_corrupt(url: str, content: bytes) -> None:
    path_of(url).parent.mkdir(parents=True)
    path_of(url).write_bytes(content)
    with pytest.raises(CatalogError, match=r"corrupt\. Move it away"):
        Catalog(url)
    assert path_of(url).read_bytes() == content


def test_damage_within_the_file_is_an_error_and_named_by_check(url: str) -> None:
    with Catalog(url) as catalog:
        for i in range(200):
            complete(catalog, f"r{i}", i, {"auc": 0.5}, notes="x" * 500)
    with path_of(url).open("r+b") as file:
        # Every second page but the first ones, which hold the tables' names.
        size = path_of(url).stat().st_size
        for page in range(80, size // 4096, 2):
            file.seek(page * 4096)
            file.write(b"\xaa" * 4096)
    with Catalog(url) as catalog:
        try:
            problems = catalog.check()
        except CatalogError as error:
            problems = [str(error)]
        assert any("damaged" in p or "corrupt" in p for p in problems)
        with pytest.raises(CatalogError, match="corrupt"):
            catalog.list_runs(limit=None)


def test_an_empty_file_becomes_a_catalog(url: str) -> None:
    path_of(url).parent.mkdir(parents=True)
    path_of(url).touch()
    with Catalog(url) as catalog:
        begin(catalog, "a")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StorageError, match=r"cannot make the folder .*/file/home: .*FLOWLEARNER_HOME"
    ) as caught:
        Catalog(f"sqlite:///{tmp_path}/file/home/catalog.db")
    assert caught.value.errno is not None


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened for writing"):
        Catalog(f"sqlite:///{tmp_path}")


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that every user may look into; those of pytest are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="flowlearner-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def fail_without_rights(url: str) -> str:
    """Open and write a catalog in a child process without rights, also where the tests run as root."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            with Catalog(url) as catalog:
                begin(catalog, "b")
        except StorageError as error:
            os.write(write_end, str(error).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def test_a_folder_that_may_not_be_written_is_named(common: Path) -> None:
    home = common / "home"
    home.mkdir(mode=0o555)
    said = fail_without_rights(f"sqlite:///{home}/catalog.db")
    assert said.startswith(f"catalog {home}/catalog.db: cannot be opened for writing")


def test_a_file_that_may_not_be_written_is_named(common: Path) -> None:
    url = f"sqlite:///{common}/catalog.db"
    with Catalog(url) as catalog:
        begin(catalog, "a")
    path_of(url).chmod(0o444)
    common.chmod(0o555)
    said = fail_without_rights(url)
    common.chmod(0o755)
    assert "cannot be opened for writing" in said


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "expected a URL such as sqlite:///"),
        ("mysql://localhost/x", "one of 'mysql'"),
        ("sqlite://", "a catalog in memory would be lost"),
        ("sqlite:///:memory:", "a catalog in memory would be lost"),
    ],
)
def test_a_url_that_cannot_hold_a_catalog_is_wrong_usage(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Catalog(url)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        Catalog("mysql://ada:secret@localhost/x")
    assert "secret" not in str(caught.value)


def test_a_full_disk_is_said_and_loses_nothing(url: str) -> None:
    with Catalog(url) as catalog:
        complete(catalog, "a", 0, {"auc": 0.5})
        with catalog.database.read() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        with pytest.raises(StorageError, match="the disk is full"):
            begin(catalog, "b", notes="x" * 1_000_000)
        assert [r.id for r in catalog.list_runs()] == ["a"]
