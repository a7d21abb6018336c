"""The tables of a catalog: fresh, old, new and foreign ones."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from flowlearner.catalog import Catalog, upgrade_catalog
from flowlearner.catalog.schema import MIGRATIONS
from flowlearner.catalog.tables import KNOWN_SCHEMAS, METADATA, SCHEMA
from flowlearner.catalog.urls import parse_url
from flowlearner.errors import CatalogError
from flowlearner.records import Change, Status
from tests.catalog.make import begin

GOLDEN = Path(__file__).parents[1] / "golden"
EMPTY = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


# Of every table its columns in their order, its constraints and its indexes.
LAYOUT = """
SELECT c.relname || '.' || a.attname,
    concat_ws(' ', a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, o.collname, pg_get_expr(d.adbin, c.oid))
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_collation o ON o.oid = a.attcollation
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
UNION ALL SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
"""  # noqa: E501


@pytest.fixture
def postgresql_url(empty_postgresql_url: str) -> str:
    """Here a catalog does not exist before it is opened."""
    return empty_postgresql_url


@contextmanager
def connect(url: str) -> Iterator[sqlalchemy.Connection]:
    if url.startswith("sqlite"):
        path_of(url).parent.mkdir(parents=True, exist_ok=True)
    engine = sqlalchemy.create_engine(parse_url(url))
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def run_sql(url: str, *statements: str) -> None:
    with connect(url) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def read_layout(url: str) -> dict[str, str]:
    """Return what every table, constraint and index is, without differences in layout."""
    sql = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
    with connect(url) as connection:
        rows = connection.exec_driver_sql(sql if url.startswith("sqlite") else LAYOUT).tuples().all()
    return {name: " ".join(words.split()) for name, words in rows}


def test_a_fresh_catalog_has_the_tables_that_migrations_make(url: str) -> None:
    Catalog(url).close()
    fresh = read_layout(url)
    with connect(url) as connection:
        METADATA.drop_all(connection)
        connection.exec_driver_sql("DROP TABLE alembic_version")
        connection.exec_driver_sql(EMPTY)
    assert set(read_layout(url)) < set(fresh)
    assert upgrade_catalog(url) == ("", SCHEMA)
    assert read_layout(url) == fresh
    assert len(fresh) > 40


def test_the_tables_are_those_of_the_models(url: str) -> None:
    Catalog(url).close()
    with connect(url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_every_revision_is_known_and_the_newest_is_the_schema() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    revisions = [r.revision for r in script.walk_revisions()]
    assert tuple(reversed(revisions)) == KNOWN_SCHEMAS
    assert script.get_current_head() == SCHEMA


def test_opening_a_catalog_of_today_does_not_import_alembic(url: str) -> None:
    Catalog(url).close()
    code = (
        "import sys; from flowlearner.catalog import Catalog; "
        f"Catalog({url!r}).close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_catalog_of_a_newer_flowlearner_is_refused(url: str) -> None:
    Catalog(url).close()
    run_sql(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(CatalogError, match=r"made by a newer flowlearner.*'9999'.*Upgrade flowlearner"):
        Catalog(url)


def test_an_older_catalog_is_refused_where_it_may_not_be_upgraded(url: str) -> None:
    run_sql(url, EMPTY)
    with pytest.raises(CatalogError, match=r"made by an older flowlearner.*flowlearner catalog upgrade"):
        Catalog(url, upgrade=False)


def test_an_older_catalog_is_upgraded_and_the_old_one_kept_beside_it(url: str) -> None:
    run_sql(url, EMPTY)
    assert upgrade_catalog(url) == ("", SCHEMA)
    with Catalog(url, upgrade=False) as catalog:
        begin(catalog, "a")
        assert catalog.check() == []
    if url.startswith("sqlite"):
        assert path_of(url).with_name("catalog.db.before-" + SCHEMA).exists()


def test_upgrading_a_catalog_of_today_changes_nothing(url: str) -> None:
    with Catalog(url) as catalog:
        begin(catalog, "a")
    assert upgrade_catalog(url) == (SCHEMA, SCHEMA)
    with Catalog(url) as catalog:
        assert catalog.count_runs() == 1


def test_another_database_is_refused_and_left_alone(url: str) -> None:
    run_sql(url, "CREATE TABLE customers (name TEXT)")
    with pytest.raises(CatalogError, match="not a flowlearner catalog"):
        Catalog(url)
    with connect(url) as connection:
        assert sqlalchemy.inspect(connection).get_table_names() == ["customers"]


def put_saved(path: Path, url: str) -> None:
    """Put a saved catalog in place: its file, or on a server the tables of its revision with its rows."""
    if url.startswith("sqlite"):
        path_of(url).parent.mkdir(parents=True)
        shutil.copy(path, path_of(url))
        return
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with connect(f"sqlite:///{path}") as saved, connect(url) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, path.stem.removeprefix("catalog-"))
        tables = sqlalchemy.MetaData()
        tables.reflect(connection)
        for table in tables.sorted_tables:
            if table.name != "alembic_version" and (
                rows := saved.exec_driver_sql(f"SELECT * FROM {table.name}").mappings().all()
            ):
                connection.execute(table.insert(), [dict(row) for row in rows])


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("catalog-*.db")), ids=lambda p: p.name)
def test_a_catalog_of_every_release_opens_and_reads(path: Path, url: str) -> None:
    put_saved(path, url)
    with Catalog(url) as catalog:
        assert catalog.check() == []
        run = catalog.get_run("golden")
        assert (run.workflow, run.params["depth"], run.metrics["auc"], run.tags) == (
            "delays",
            4,
            0.7,
            {"team": "ops"},
        )
        assert [n.name for n in run.nodes] == ["load", "train"]
        assert str(catalog.get_run("second").metrics["auc"]) == "nan"
        assert [r.id for r in catalog.list_runs(query="auc > 0.5 AND depth = 4")] == ["golden"]
        assert list(catalog.find_cache_entries(["key1"])) == ["key1"]
        assert [line.message for line in catalog.list_logs("golden")] == ["hello"]
        assert catalog.get_workflow("delays").operators == ("train",)
        begin(catalog, "new")
        assert catalog.count_runs() == 3


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("catalog-*.db"))[1:], ids=lambda p: p.name)
def test_the_sweeps_of_every_release_read(path: Path, url: str) -> None:
    put_saved(path, url)
    with Catalog(url) as catalog:
        sweep = catalog.get_sweep("search")
        assert (sweep.workflow, sweep.status, sweep.metrics) == ("delays", Status.COMPLETED, ("auc",))
        assert sweep.counts == {"COMPLETED": 1, "PRUNED": 1}
        assert [(t.number, t.point, t.values) for t in catalog.list_trials("search")] == [
            (0, {"depth": 0}, (0.0,)),
            (1, {"depth": 1}, (0.01,)),
        ]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("catalog-*.db"))[2:], ids=lambda p: p.name)
def test_the_verdicts_and_changes_of_every_release_read(path: Path, url: str) -> None:
    put_saved(path, url)
    with Catalog(url) as catalog:
        (found,) = catalog.list_reproductions("golden")
        assert (found.verdict, found.times, found.owner) == ("DRIFTED", 2, "ada")
        assert found.diverged == {"node": "train", "operator": "train", "difference": {"kind": "hash"}}
        assert found.packages == ({"name": "pandas", "before": "3.0.1", "now": "3.0.2"},)
        assert catalog.get_run("golden").reproduction == found
        assert catalog.get_run("child").changes == (
            Change("param", "depth", 4, 5),
            Change("operator", "train", "train", "train_forest"),
        )


def test_there_is_a_saved_catalog_of_every_revision() -> None:
    assert {p.name for p in GOLDEN.glob("catalog-*.db")} == {f"catalog-{s}.db" for s in KNOWN_SCHEMAS}
