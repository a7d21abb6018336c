"""Catalogs that are new, old, locked, gone or none: a message, no traceback, and all is well afterwards."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from flowlearner import Client
from flowlearner.catalog.tables import SCHEMA
from tests.ui.conftest import Open, read_texts
from tests.ui.filling import Filled

PAGES = ("runs", "sweeps", "workflows", "operators")
GOLDEN = Path(__file__).parents[1] / "golden"


def change(home: Path, statement: str) -> None:
    with sqlite3.connect(home / "catalog.db") as connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("page", PAGES)
def test_a_catalog_of_a_newer_flowlearner_is_told(
    own_home: Path, own_runs: Filled, open_page: Open, page: str
) -> None:
    change(own_home, "UPDATE alembic_version SET version_num = '9999'")
    shown = open_page(page)
    assert not shown.exception
    assert "newer flowlearner" in read_texts(shown)
    assert [b.label for b in shown.button] == ["Try again"]


def test_a_run_of_a_newer_catalog_is_shown_once_that_is_mended(
    own_home: Path, own_runs: Filled, open_page: Open
) -> None:
    change(own_home, "UPDATE alembic_version SET version_num = '9999'")
    page = open_page("run", id=own_runs.good)
    assert "newer flowlearner" in page.error[0].value
    change(own_home, f"UPDATE alembic_version SET version_num = '{SCHEMA}'")
    page.button[0].click().run()
    assert not page.error
    assert page.title[0].value == "line"


def test_a_catalog_of_an_older_flowlearner_says_how_to_upgrade(own_home: Path, open_page: Open) -> None:
    shutil.copy(GOLDEN / "catalog-0001.db", own_home / "catalog.db")
    page = open_page()
    assert "flowlearner catalog upgrade" in read_texts(page).replace("\\", "")


def test_a_file_that_is_no_catalog_is_told(own_home: Path, open_page: Open) -> None:
    (own_home / "catalog.db").write_bytes(b"no database at all" * 100)
    page = open_page()
    assert not page.exception
    assert len(page.error) == 1


def test_a_catalog_that_somebody_writes_to_is_read(own_home: Path, own_runs: Filled, open_page: Open) -> None:
    writer = sqlite3.connect(own_home / "catalog.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE run SET notes = 'x'")
    try:
        page = open_page("run", id=own_runs.good)
        assert not page.exception
        assert not page.error
    finally:
        writer.execute("ROLLBACK")
        writer.close()


def test_a_catalog_that_is_locked_for_a_while_is_read_after_that(
    own_home: Path, own_runs: Filled, open_page: Open
) -> None:
    holder = sqlite3.connect(own_home / "catalog.db", isolation_level=None, check_same_thread=False)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(1.0, holder.close)
    timer.start()
    page = open_page("run", id=own_runs.good)
    timer.join()
    assert not page.exception
    if page.error:
        assert "locked" in page.error[0].value
        page.button[0].click().run()
    assert page.title[0].value == "line"


def test_a_catalog_that_is_gone_for_a_while_is_read_once_it_is_back(
    own_home: Path, own_runs: Filled, open_page: Open
) -> None:
    page = open_page("run", id=own_runs.good)
    away = own_home / "away"
    away.mkdir()
    for path in own_home.glob("catalog.db*"):
        path.rename(away / path.name)
    page.run()
    assert not page.exception
    assert "the file is gone" in page.error[0].value
    assert not list(own_home.glob("catalog.db*"))
    for path in away.iterdir():
        path.rename(own_home / path.name)
    page.run()
    assert not page.error
    assert page.title[0].value == "line"


def test_a_catalog_from_a_backup_takes_the_place_of_the_old_one(
    own_home: Path, own_runs: Filled, client: Client
) -> None:
    assert client.get_run(own_runs.good).tags == {"team": "ops"}
    with sqlite3.connect(own_home / "catalog.db") as connection:
        connection.execute(f"VACUUM INTO '{own_home}/backup.db'")
    connection.close()
    client.set_tags(own_runs.good, {"team": "new"})
    for path in own_home.glob("catalog.db-*"):
        path.unlink()
    (own_home / "backup.db").rename(own_home / "catalog.db")
    assert client.get_run(own_runs.good).tags == {"team": "ops"}
