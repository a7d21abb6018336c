"""What a catalog on a PostgreSQL server does that a file cannot: connections, turns, and their failures."""

from __future__ import annotations

import gc
import importlib.util
import json
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from flowlearner import beating
from flowlearner.catalog import Catalog
from flowlearner.catalog.urls import parse_url
from flowlearner.errors import CatalogError, NotFoundError, StorageError, UsageError
from flowlearner.records import CacheEntry, ErrorInfo, LogLine, MetricPoint, Status
from tests.catalog.make import (
    NOW,
    PROCESS,
    begin,
    begin_sweep,
    make_artifact,
    make_hash,
    make_node,
    make_operator,
    make_output,
    make_run,
    make_workflow,
)
from tests.catalog.postgresql import Server


@pytest.fixture
def url(postgresql_url: str) -> str:
    return postgresql_url


@pytest.fixture
def admin(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


# URLs and drivers


@pytest.mark.parametrize("words", ["postgresql://", "postgres://", "postgresql+psycopg://"])
def test_every_way_to_name_a_server_uses_psycopg(words: str) -> None:
    found = parse_url(f"{words}ada:secret@host:5433/runs?sslmode=require")
    assert found.render_as_string(hide_password=False) == (
        "postgresql+psycopg://ada:secret@host:5433/runs?sslmode=require"
    )


@pytest.mark.parametrize("driver", ["psycopg2", "asyncpg", "pg8000"])
def test_another_driver_is_refused(driver: str) -> None:
    with pytest.raises(UsageError, match=rf"psycopg 3, found 'postgresql\+{driver}'\. Write postgresql://"):
        Catalog(f"postgresql+{driver}://ada@host/runs")


def test_a_driver_that_is_missing_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "psycopg" else there(name))
    with pytest.raises(UsageError, match=r"pip install 'flowlearner\[postgres\]'"):
        Catalog("postgresql://ada@host/runs")


# A server that cannot be reached, or may not be written


def test_a_server_that_does_not_answer_is_named_at_once() -> None:
    with pytest.raises(CatalogError, match=r"cannot be reached: .*FLOWLEARNER_CATALOG") as caught:
        Catalog("postgresql://ada:secret@127.0.0.1:1/runs")
    assert "secret" not in str(caught.value)


def test_a_server_that_accepts_and_says_nothing_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://ada@127.0.0.1:{silent.getsockname()[1]}/runs?connect_timeout=1"
        with pytest.raises(CatalogError, match=r"cannot be reached: .*timeout"):
            Catalog(url)


def test_a_database_that_does_not_exist_is_named(postgresql: Server) -> None:
    with pytest.raises(CatalogError, match=r'cannot be reached: .*database "nowhere" does not exist'):
        Catalog(postgresql.get_url("nowhere"))


@pytest.fixture
def guest(url: str, admin: psycopg.Connection) -> Iterator[str]:
    """The catalog as somebody sees it who may only read."""
    admin.execute("CREATE ROLE guest LOGIN")
    yield url.replace("ada@", "guest@")
    admin.execute("DROP OWNED BY guest")
    admin.execute("DROP ROLE guest")


def test_a_user_who_may_only_read_is_told(catalog: Catalog, guest: str, admin: psycopg.Connection) -> None:
    begin(catalog, "a")
    admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest")
    with Catalog(guest) as theirs:
        assert [r.id for r in theirs.list_runs()] == ["a"]
        with pytest.raises(StorageError, match=r"cannot be written \(permission denied"):
            begin(theirs, "b")
    assert catalog.count_runs() == 1


def test_an_empty_database_that_may_not_be_filled_is_told(guest: str, empty_postgresql_url: str) -> None:
    with pytest.raises(StorageError, match=r"cannot be written \(permission denied for schema public"):
        Catalog(empty_postgresql_url.replace("ada@", "guest@"))


def test_a_server_that_restarts_is_waited_for() -> None:
    server = Server()
    with Catalog(server.get_url("filled")) as catalog, ThreadPoolExecutor(2) as pool:
        begin(catalog, "a")
        server.stop()
        begun, read = pool.submit(begin, catalog, "b"), pool.submit(catalog.get_run, "a")
        with pytest.raises(TimeoutError):
            begun.result(timeout=0.3)
        server.start()
        begun.result()
        assert read.result().id == "a"
        assert catalog.count_runs() == 2
    server.close()


def test_a_server_that_stays_away_is_named() -> None:
    server = Server()
    with Catalog(server.get_url("filled"), busy_timeout_s=0.1) as catalog:
        server.close()
        with pytest.raises(CatalogError, match=r"cannot be reached: .*refused"):
            begin(catalog, "a")


def write_and_be_cut(catalog: Catalog, admin: psycopg.Connection) -> None:
    with catalog.batch():
        begin(catalog, "b")
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        catalog.set_notes("a", "lost")


def test_a_connection_that_is_cut_loses_its_write_and_no_more(
    catalog: Catalog, admin: psycopg.Connection
) -> None:
    begin(catalog, "a")
    with pytest.raises(CatalogError, match="cannot be reached"):
        write_and_be_cut(catalog, admin)
    catalog.set_notes("a", "kept")
    assert [(r.id, r.notes) for r in catalog.list_runs()] == [("a", "kept")]


def test_a_catalog_that_nobody_closes_keeps_no_connection(url: str, admin: psycopg.Connection) -> None:
    begin(Catalog(url), "a")
    gc.collect()
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    while admin.execute(others).fetchone() != (0,):
        pass


# Turns


def test_a_turn_that_is_held_too_long_is_named(url: str) -> None:
    with Catalog(url) as holder, Catalog(url, busy_timeout_s=0.2) as catalog:
        with holder.batch():
            begin(holder, "a")
            with pytest.raises(
                CatalogError, match=r"locked: another process has held it for more than 0\.2 s"
            ):
                begin(catalog, "b")
            assert catalog.list_runs() == []
        begin(catalog, "b")
        assert catalog.count_runs() == 2


def test_a_writer_waits_for_another_and_sees_what_that_has_written(url: str) -> None:
    with Catalog(url) as one, Catalog(url) as other, ThreadPoolExecutor(1) as pool:
        begin(one, "a")
        with one.batch():
            one.delete_runs(["a"])
            one.purge_runs()
            written = pool.submit(other.set_notes, "a", "late")
            with pytest.raises(TimeoutError):
                written.result(timeout=0.2)
        with pytest.raises(NotFoundError):
            written.result()


def stand_still(holder: Catalog, other: Catalog) -> None:
    with holder.batch():
        begin(holder, "b")
        begin(other, "c")
        holder.set_notes("a", "late")


def test_a_writer_that_stands_still_loses_its_turn(url: str) -> None:
    with Catalog(url, busy_timeout_s=0.4) as holder, Catalog(url) as catalog:
        begin(holder, "a")
        with pytest.raises(CatalogError, match="stood still in the midst of a write"):
            stand_still(holder, catalog)
        assert [r.id for r in catalog.list_runs()] == ["a", "c"]
        holder.set_notes("a", "again")


def test_what_a_writer_takes_in_the_other_order_does_not_deadlock(url: str) -> None:
    def write(run_id: str, numbers: list[int]) -> None:
        with Catalog(url) as catalog:
            begin(catalog, run_id)
            ready.wait()
            for _ in range(10):
                with catalog.batch():
                    for n in numbers:
                        catalog.update_artifact(make_artifact(n))
                        catalog.record_nodes(run_id, [make_node(f"n{n}")], [make_artifact(n + 100)])

    ready = threading.Barrier(2)
    Catalog(url).close()
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(write, "a", list(range(20))), pool.submit(write, "b", list(range(20))[::-1])]
        assert [d.result() for d in done] == [None, None]


def test_points_of_several_writers_are_all_counted(url: str) -> None:
    def write(start: int) -> None:
        with Catalog(url) as catalog:
            for i in range(start, start + 20):
                catalog.append_metrics("a", [MetricPoint("loss", float(i), i)])

    with Catalog(url) as catalog:
        begin(catalog, "a")
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(write, range(0, 80, 20))) == [None] * 4
        assert len(catalog.list_metric_points("a", "loss")) == 80
        assert catalog.check() == []


def test_what_came_into_use_meanwhile_is_not_removed(url: str) -> None:
    with Catalog(url) as cleaner, Catalog(url) as engine, ThreadPoolExecutor(1) as pool:
        begin(engine, "a")
        cleaner.update_artifact(make_artifact(1))
        unneeded = [a.hash for a in cleaner.list_unneeded_artifacts()]
        assert unneeded == [make_hash(1)]
        with engine.batch():
            engine.record_nodes("a", [make_node("n", outputs=(make_output(1),))])
            removed = pool.submit(cleaner.remove_artifacts, unneeded)
            with pytest.raises(TimeoutError):
                removed.result(timeout=0.2)
        assert removed.result() == []


def test_a_read_sees_one_state_and_cannot_write(url: str, admin: psycopg.Connection) -> None:
    with Catalog(url) as catalog:
        begin(catalog, "a")
        with catalog.database.read() as connection:
            count = "SELECT count(*) FROM run"
            assert connection.exec_driver_sql(count).scalar() == 1
            begin(catalog, "b")
            assert connection.exec_driver_sql(count).scalar() == 1
        with pytest.raises(StorageError, match="read-only"), catalog.database.read() as connection:
            connection.exec_driver_sql("DELETE FROM run")
        assert catalog.count_runs() == 2


# Text that PostgreSQL refuses


def test_no_text_that_a_run_may_carry_is_refused(catalog: Catalog) -> None:
    odd = "a\0b\udc80é'%s%(x)s:x\\"
    run = make_run(
        "a", experiment=odd, owner=odd, params={odd: odd}, tags={odd: odd}, notes=odd, command=odd
    )  # fmt: skip
    catalog.begin_run(run, make_workflow(), [make_operator()])
    node = make_node("n", miss_reason=odd, outputs=(make_output(1, "o", odd),))
    artifact = make_artifact(1, inline=b"\0\xff", preview={odd: odd})
    entry = CacheEntry("key", "a", "n", (make_output(1, "o", odd),), ())
    catalog.record_nodes("a", [node], [artifact], [entry], [LogLine(NOW, "INFO", odd, "n")])
    error = ErrorInfo("ValueError", odd, odd)
    catalog.finish_run("a", Status.FAILED, NOW, [make_output(1)], [MetricPoint(odd, 1.0)], error)
    catalog.remember_file_hash(odd, 1, 2, 3, 2**64 - 1, "h")
    assert catalog.find_file_hash(odd, 1, 2, 3, 2**64 - 1) == "h"
    found = catalog.get_run("a")
    assert (found.params, found.error) == ({odd: odd}, error)
    assert found.nodes[0].outputs[0].value == odd
    assert catalog.find_artifacts([make_hash(1)])[make_hash(1)] == artifact
    assert [r.id for r in catalog.list_runs(query="metric.'a' IS NULL", owner=odd)] == ["a"]
    assert catalog.check() == []


# Leases


def test_a_beat_gives_up_on_a_server_that_no_longer_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beating, "BUSY_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+psycopg://ada@127.0.0.1:{silent.getsockname()[1]}/runs"
        order = {"path": None, "url": url, "statement": "SELECT 1", "lease": "x", "imports": list(sys.path)}
        assert not beating.renew(json.dumps(order).encode())


def test_the_beat_of_a_process_does_not_wait_for_a_writer(url: str) -> None:
    with Catalog(url) as catalog, psycopg.connect(url, autocommit=True) as connection:
        renewal = catalog.begin_lease(PROCESS, 10.0)
        with catalog.batch():
            begin_sweep(catalog, "s")
            connection.execute("SET lock_timeout = '1s'")
            statement = renewal.statement.replace(":lease", "%s").encode()
            assert connection.execute(statement, [renewal.lease]).rowcount == 1
