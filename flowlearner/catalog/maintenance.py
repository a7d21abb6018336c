"""Artifacts and who needs them, what may go, and whether the catalog is whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, delete, exists, func, or_, select, update

from flowlearner.catalog import tables as t
from flowlearner.catalog.part import chunks
from flowlearner.catalog.reading import page, starts_with
from flowlearner.catalog.rows import from_json, json_text, to_artifact, to_outputs, to_us
from flowlearner.catalog.tables import METADATA
from flowlearner.catalog.versions import Versions
from flowlearner.errors import NotFoundError, shorten
from flowlearner.records import Artifact, ArtifactUse, Status, clean

_a, _u, _r, _s = t.ARTIFACT.c, t.ARTIFACT_USE.c, t.RUN.c, t.SWEEP.c
_USED = exists().where(_u.hash == _a.hash, _u.run_id == _r.id, _r.deleted_us.is_(None))
_LIGHT = [c for c in t.ARTIFACT.columns if c.name not in ("preview", "inline")]
CANDIDATES_SHOWN = 11
PROBLEMS_SHOWN = 10
# PostgreSQL's client would else take all rows into memory before it gives the first.
_A_PART_AT_A_TIME = {"yield_per": 1000}


class Maintenance(Versions):
    """Artifacts, garbage and integrity."""

    def get_artifact(self, hash_: str) -> Artifact:
        """Return an artifact by its hash, or by a prefix that only one artifact has.

        Raises:
            NotFoundError: none has it, or several do.
        """
        with self.database.read() as connection:
            found: list[Any] = []
            hash_ = clean(hash_)
            if hash_:
                statement = select(_a.hash).where(starts_with(_a.hash, hash_)).order_by(_a.hash)
                found = list(connection.scalars(statement.limit(CANDIDATES_SHOWN)))
            if hash_ in found:
                found = [hash_]
            if not found:
                raise NotFoundError(f"no artifact '{hash_}' in the catalog")
            if len(found) > 1:
                raise NotFoundError(
                    f"artifact '{hash_}' is ambiguous: {shorten(found)}. Give more of the hash"
                )
            return to_artifact(
                connection.execute(select(t.ARTIFACT).where(_a.hash == found[0])).mappings().one()
            )

    def list_artifacts(
        self, *, run_id: str | None = None, codec: str | None = None, limit: int | None = 50, offset: int = 0
    ) -> list[Artifact]:
        """Return artifacts without their bytes and previews, newest first.

        Args:
            run_id: only those that this run made, used or was given.
            codec: only those of this codec, such as "table/1".

        Raises:
            NotFoundError: no run has the id, or several start with it.
        """
        statement = select(*_LIGHT).order_by(_a.created_us.desc(), _a.hash)
        if codec is not None:
            statement = statement.where(_a.codec == clean(codec))
        with self.database.read() as connection:
            if run_id is not None:
                whole = self._resolve(connection, run_id)
                statement = statement.where(_a.hash.in_(select(_u.hash).where(_u.run_id == whole)))
            rows = connection.execute(page(statement, limit, offset)).mappings()
            return [to_artifact(row) for row in rows]

    def list_artifact_paths(self) -> set[str]:
        """Return the paths of all artifacts that are files."""
        with self.database.read() as connection:
            return set(connection.scalars(select(_a.path).where(_a.path.is_not(None))))

    def find_producers(self, hash_: str, limit: int | None = 50) -> list[ArtifactUse]:
        """Return which nodes gave this artifact, in runs that are not deleted; the first comes first."""
        return self._find_uses(hash_, ["output"], limit)

    def find_consumers(self, hash_: str, limit: int | None = 50) -> list[ArtifactUse]:
        """Return which nodes took this artifact, and which runs had it as a parameter, oldest first."""
        return self._find_uses(hash_, ["input", "param"], limit)

    def _find_uses(self, hash_: str, roles: list[str], limit: int | None) -> list[ArtifactUse]:
        n = t.NODE_RUN.c
        statement = (
            select(_u.run_id, _u.node, _u.role, _u.name, _r.workflow, _r.created_us, n.operator, n.cached)
            .select_from(
                t.ARTIFACT_USE.join(t.RUN, _r.id == _u.run_id).outerjoin(
                    t.NODE_RUN, (n.run_id == _u.run_id) & (n.name == _u.node)
                )
            )
            .where(_u.hash == clean(hash_), _u.role.in_(roles), _r.deleted_us.is_(None))
            .order_by(_r.created_us, _u.run_id, n.position.nulls_first(), _u.name)
        )
        with self.database.read() as connection:
            return [
                ArtifactUse(run_id, workflow, node or None, operator, role, name, bool(cached))
                for run_id, node, role, name, workflow, _, operator, cached in connection.execute(
                    page(statement, limit)
                )
            ]

    # What may go

    def list_unneeded_artifacts(self, created_before: datetime | None = None) -> list[Artifact]:
        """Return artifacts that no run and no sweep needs that is kept: as a value, or as captured code.

        Args:
            created_before: only older ones, so that what another process is just about to use stays.
        """
        statement = select(*_LIGHT).where(~_USED).order_by(_a.created_us, _a.hash)
        if created_before is not None:
            statement = statement.where(_a.created_us < to_us(created_before))
        with self.database.read() as connection:
            named = _list_named_by_sweeps(connection)
            rows = connection.execute(statement).mappings()
            return [to_artifact(row) for row in rows if row["hash"] not in named]

    def purge_runs(self, deleted_before: datetime | None = None) -> int:
        """End runs that are marked as deleted, with all that was recorded of them.

        What they leave in the cache names no run then; kept runs still name whence they took a result.

        Args:
            deleted_before: only those that were marked earlier.

        Returns:
            how many runs are gone.
        """
        statement = delete(t.RUN).where(_r.deleted_us.is_not(None))
        if deleted_before is not None:
            statement = statement.where(_r.deleted_us < to_us(deleted_before))
        with self.database.write() as connection:
            gone = connection.execute(statement).rowcount
            kept = exists().where(_r.id == t.CACHE_ENTRY.c.run_id)
            connection.execute(update(t.CACHE_ENTRY).where(~kept).values(run_id=""))
            graphs = select(_r.graph_id).where(_r.graph_id.is_not(None))
            versions = select(t.WORKFLOW_VERSION.c.graph_id)
            g = t.GRAPH.c
            connection.execute(delete(t.GRAPH).where(g.id.not_in(graphs), g.id.not_in(versions)))
            self._workflows.clear()
            return gone

    def remove_artifacts(self, hashes: Iterable[str]) -> list[str]:
        """Remove artifacts that no kept run or sweep needs, and the cache entries that stand for them.

        What a run began to use since it was listed stays.

        Returns:
            the hashes that are gone; their bytes may be deleted.
        """
        gone: list[str] = []
        with self.database.write() as connection:
            named = _list_named_by_sweeps(connection)
            for some in chunks(h for h in dict.fromkeys(hashes) if h not in named):
                statement = delete(t.ARTIFACT).where(_a.hash.in_(some), ~_USED).returning(_a.hash)
                gone += connection.scalars(statement).all()
            lost = set(gone)
            if lost:
                keys = [key for key, outputs in _list_entries(connection) if any(o in lost for o in outputs)]
                for batch in chunks(keys):
                    connection.execute(delete(t.CACHE_ENTRY).where(t.CACHE_ENTRY.c.key.in_(batch)))
        return gone

    def compact(self) -> None:
        """Give the space of removed rows back to the disk; other writers wait meanwhile."""
        if self.database.is_sqlite:
            self.database.vacuum()

    # Integrity

    def check(self) -> list[str]:
        """Return what is wrong with the catalog in words; empty where it is whole."""
        problems: list[str] = []
        with self.database.read() as connection:
            if self.database.is_sqlite:
                found = [str(r[0]) for r in connection.exec_driver_sql("PRAGMA integrity_check")]
                problems += [f"the file is damaged: {text}" for text in found if text != "ok"]
                for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
                    problems.append(f"table {table}, row {row}: refers to a {parent} that does not exist")
            problems += _check_tables(connection)
            if problems:
                return problems
            problems += _check_uses(connection)
            problems += _check_results(connection)
            problems += _check_metrics(connection)
            problems += _check_json(connection)
        return problems


def _list_named_by_sweeps(connection: Connection) -> set[str]:
    """Return the hashes of code, tables and files of sweeps.

    A sweep that has begun no trial yet may still need them; one whose trials are all deleted does not.
    """
    trials = exists().where(_r.sweep_id == _s.id)
    # One whose trials are purged has run something, as a rule.
    has_begun_none = ~trials & (_s.node_executions == json_text({}))
    kept = trials.where(_r.deleted_us.is_(None))
    found: set[str] = set()
    for *code, spec in connection.execute(
        select(_s.code_snapshot, _s.code_diff, _s.spec).where(or_(has_begun_none, kept))
    ):
        found |= {hash_ for hash_ in code if hash_}
        found |= set(_iter_hashes(from_json(spec)))
    return found


def _iter_hashes(value: Any) -> Iterator[str]:
    """Yield the hashes of tables and files, wherever they stand in what was recorded."""
    if isinstance(value, list):
        for item in value:
            yield from _iter_hashes(item)
    elif isinstance(value, dict):
        if isinstance(value.get("hash"), str):
            yield value["hash"]
        for item in value.values():
            yield from _iter_hashes(item)


def _list_entries(connection: Connection) -> Iterator[tuple[str, list[str]]]:
    e = t.CACHE_ENTRY.c
    for key, outputs in connection.execute(select(e.key, e.outputs), execution_options=_A_PART_AT_A_TIME):
        yield key, [o.hash for o in to_outputs(outputs)]


def _check_tables(connection: Connection) -> list[str]:
    inspector = sqlalchemy.inspect(connection)
    problems = []
    there = set(inspector.get_table_names())
    for name, table in METADATA.tables.items():
        if name not in there:
            problems.append(f"table {name} is missing")
            continue
        columns = {c["name"] for c in inspector.get_columns(name)}
        missing = [c.name for c in table.columns if c.name not in columns]
        if missing:
            problems.append(f"table {name} lacks columns: {shorten(missing)}")
        indexes = {i["name"] for i in inspector.get_indexes(name)}
        lacking = sorted(str(i.name) for i in table.indexes if i.name not in indexes)
        if lacking:
            problems.append(f"table {name} lacks indexes: {shorten(lacking)}")
    return problems


def _some(connection: Connection, statement: Any, words: str) -> list[str]:
    """Return one line for all rows of a statement: how many, and the first few."""
    rows = connection.execute(statement.limit(PROBLEMS_SHOWN + 1)).all()
    if not rows:
        return []
    count = connection.scalar(select(func.count()).select_from(statement.subquery()))
    return [f"{count} {words}: {shorten([' '.join(str(v) for v in row) for row in rows[:PROBLEMS_SHOWN]])}"]


def _check_uses(connection: Connection) -> list[str]:
    there = exists().where(_a.hash == _u.hash)
    kept = exists().where(_r.id == _u.run_id, _r.deleted_us.is_(None))
    lost = select(_u.run_id, _u.node, _u.name).where(
        _u.role.in_(["output", "result", "snapshot", "diff"]), ~there, kept
    )
    return _some(connection, lost, "outputs of runs whose artifact is not in the catalog (run, node, output)")


def _check_results(connection: Connection) -> list[str]:
    n = t.NODE_RUN.c
    final = [s.value for s in Status if s.is_final]
    open_nodes = (
        select(n.run_id, n.name)
        .select_from(t.NODE_RUN.join(t.RUN, _r.id == n.run_id))
        .where(_r.status.in_(final), _r.status != Status.CRASHED.value, n.status.not_in(final))
    )
    problems = _some(connection, open_nodes, "nodes are open in a run that ended (run, node)")
    unfinished = select(_r.id).where(_r.status.in_(final), _r.finished_us.is_(None))
    problems += _some(connection, unfinished, "runs ended without a time (run)")
    known = [s.value for s in Status]
    problems += _some(
        connection, select(_r.id, _r.status).where(_r.status.not_in(known)), "runs have no known status"
    )
    return problems


def _check_metrics(connection: Connection) -> list[str]:
    m, p = t.METRIC.c, t.METRIC_POINT.c
    counted = select(func.count()).where(p.run_id == m.run_id, p.name == m.name).scalar_subquery()
    wrong = select(m.run_id, m.name).where(m["count"] != counted)
    return _some(connection, wrong, "metrics do not have the points that they count (run, metric)")


def _check_json(connection: Connection) -> list[str]:
    problems = []
    for table, key, names in (
        (t.RUN, _r.id, ("params", "outputs", "error")),
        (t.NODE_RUN, t.NODE_RUN.c.run_id, ("inputs", "outputs", "metrics", "error")),
        (t.CACHE_ENTRY, t.CACHE_ENTRY.c.key, ("outputs", "metrics")),
        (t.GRAPH, t.GRAPH.c.id, ("body",)),
    ):
        bad = set()
        columns = select(key, *[table.c[n] for n in names])
        for row in connection.execute(columns, execution_options=_A_PART_AT_A_TIME):
            for name, text in zip(names, row[1:], strict=True):
                try:
                    if text is not None:
                        from_json(text)
                except ValueError:
                    bad.add(f"{row[0]} {name}")
        if bad:
            problems.append(f"table {table.name}: {len(bad)} values are no JSON: {shorten(sorted(bad))}")
    return problems
