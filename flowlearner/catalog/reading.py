"""Reading runs: one whole run, its curves, its logs, and the artifacts that runs made and used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, case, func, select

from flowlearner.catalog import tables as t
from flowlearner.catalog.part import chunks
from flowlearner.catalog.reproductions import Reproductions
from flowlearner.catalog.rows import (
    EPOCH,
    MICROSECOND,
    from_json,
    from_us,
    to_node,
    to_number,
    to_process,
    to_run,
)
from flowlearner.catalog.statements import OPEN, build_open
from flowlearner.errors import NotFoundError, shorten
from flowlearner.records import (
    Environment,
    LogLine,
    MetricPoint,
    Owner,
    RunRecord,
    Status,
    SweepRecord,
    TrialRecord,
    clean,
    describe_crash,
)

CANDIDATES_SHOWN = 11
# Of the integers that SQLite and PostgreSQL know.
LARGEST = 2**63 - 1


class Reading(Reproductions):
    """Reading single runs. An id may be any prefix that only one run has."""

    def resolve_run_id(self, prefix: str) -> str:
        """Return the whole id of the only run whose id starts with `prefix`.

        Raises:
            NotFoundError: none does, or several do.
        """
        with self.database.read() as connection:
            return self._resolve(connection, prefix)

    def _resolve(self, connection: Connection, prefix: str) -> str:
        c, prefix = t.RUN.c, clean(prefix)
        if connection.scalar(select(c.id).where(c.id == prefix)) is not None:
            return prefix
        found: Sequence[str] = []
        if prefix:
            statement = select(c.id).where(starts_with(c.id, prefix)).order_by(c.id).limit(CANDIDATES_SHOWN)
            found = connection.scalars(statement).all()
        if len(found) == 1:
            return found[0]
        if not found:
            raise NotFoundError(f"no run '{prefix}' in the catalog; `flowlearner runs list` shows the latest")
        raise NotFoundError(f"run '{prefix}' is ambiguous: {shorten(found)}. Give more of the id")

    def get_run(self, run_id: str) -> RunRecord:
        """Return a run with its nodes; eight statements, however large it is.

        Raises:
            NotFoundError: no run has the id, or several start with it.
        """
        with self.database.read() as connection:
            whole = self._resolve(connection, run_id)
            row = connection.execute(select(t.RUN).where(t.RUN.c.id == whole)).mappings().one()
            c = t.NODE_RUN.c
            nodes = connection.execute(
                select(t.NODE_RUN).where(c.run_id == whole).order_by(c.position, c.name)
            )
            found = tuple(to_node(n) for n in nodes.mappings())
            return self._to_runs(connection, [row], {whole: found})[0]

    def find_best_trial(self, sweep: SweepRecord) -> TrialRecord | None:
        """Return the best completed trial of a sweep for one metric, of several equal ones the first.

        One statement that reads no other trial's record, for lists of large sweeps.
        """
        r, m = t.RUN.c, t.METRIC.c
        better = m.value.desc() if sweep.modes[0] == "max" else m.value
        statement = (
            select(r.trial_number, r.id, r.params, r.started_us, r.finished_us, m.value)
            .join(t.METRIC, m.run_id == r.id)
            .where(
                r.sweep_id == sweep.id,
                r.status == Status.COMPLETED.value,
                m.name == sweep.metrics[0],
                m.value.is_not(None),
            )
            .order_by(better, r.trial_number)
            .limit(1)
        )
        with self.database.read() as connection:
            found = connection.execute(statement).one_or_none()
        if found is None:
            return None
        number, run_id, params, started, finished, value = found
        given = from_json(params)
        point = {name: given[name] for name in sweep.spec.get("space", ()) if name in given}
        times = from_us(started), from_us(finished)
        return TrialRecord(number, run_id, Status.COMPLETED, point, (value,), *times)

    def count_saved(self, sweep_id: str) -> dict[str, tuple[int, int]]:
        """Return by operator, in the order of the graph, how many calls of a sweep's trials did not run.

        Returns:
            those that took the result of another trial, and those that took one of an earlier run.
        """
        n, source = t.NODE_RUN.c, t.RUN.alias()
        shared = func.count(case((source.c.sweep_id == sweep_id, 1)))
        saved = func.count(case((n.cached.is_(True), 1)))
        statement = (
            select(n.operator, shared, saved)
            .join(t.RUN, t.RUN.c.id == n.run_id)
            .outerjoin(source, source.c.id == n.cached_from)
            .where(t.RUN.c.sweep_id == sweep_id)
            .group_by(n.operator)
            .order_by(func.min(n.position), n.operator)
        )
        with self.database.read() as connection:
            return {
                operator: (among, all_ - among) for operator, among, all_ in connection.execute(statement)
            }

    def _to_runs(
        self, connection: Connection, rows: Sequence[Any], nodes: dict[str, Any] | None = None
    ) -> list[RunRecord]:
        """Give rows of runs what belongs to them: five statements for up to 512 runs."""
        ids = [row["id"] for row in rows]
        metrics: dict[str, dict[str, float]] = {i: {} for i in ids}
        tags: dict[str, dict[str, str]] = {i: {} for i in ids}
        m, g = t.METRIC.c, t.TAG.c
        for some in chunks(ids):
            for run_id, name, value in connection.execute(
                select(m.run_id, m.name, m.value).where(m.run_id.in_(some)).order_by(m.run_id, m.name)
            ):
                metrics[run_id][name] = to_number(value)
            for run_id, name, text in connection.execute(
                select(g.run_id, g.name, g.value).where(g.run_id.in_(some)).order_by(g.run_id, g.name)
            ):
                tags[run_id][name] = text
        verdicts, changes = self.find_again(connection, ids)
        environments = self._find_environments(connection, {r["environment_id"] for r in rows})
        return [
            to_run(
                row,
                metrics[row["id"]],
                tags[row["id"]],
                environments.get(row["environment_id"]),
                (nodes or {}).get(row["id"], ()),
                changes.get(row["id"], ()),
                verdicts.get(row["id"]),
            )
            for row in rows
        ]

    def _find_environments(
        self, connection: Connection, ids: Iterable[str | None]
    ) -> dict[str | None, Environment]:
        wanted = {i for i in ids if i is not None}
        # An environment never changes, so what was read once stays.
        for some in chunks(i for i in wanted if i not in self._environments):
            for row in connection.execute(
                select(t.ENVIRONMENT).where(t.ENVIRONMENT.c.id.in_(some))
            ).mappings():
                self._environments[row["id"]] = Environment(
                    row["id"], row["python"], from_json(row["packages"]), from_json(row["machine"])
                )
        return {i: self._environments[i] for i in wanted if i in self._environments}

    def list_abandoned(self, is_dead: Callable[[Owner], bool]) -> dict[str, Owner]:
        """Return the runs that can never end, because their process is gone, with that process; newest first.

        Args:
            is_dead: whether a process is known to have ended.
        """
        found = {i: p for i, p in self._list_open() if p is not None and is_dead(p)}
        if not found:
            return {}
        # One may have ended in good order just before its process was looked for.
        still = {i for i, _ in self._list_open()}
        return {i: p for i, p in found.items() if i in still}

    def store_crashes(self, is_dead: Callable[[Owner], bool]) -> list[str]:
        """Record runs whose process is gone as CRASHED, and return their ids; see `list_abandoned`."""
        return [i for i, process in self.list_abandoned(is_dead).items() if self.store_crash(i, process)]

    def store_crash(self, run_id: str, process: Owner) -> bool:
        """Record a run as CRASHED, at its last sign of life; see `find_last_sign`.

        Its process writes nothing more to it, should it go on after all.

        Returns:
            False where the run had ended already, another process goes on with it, or it is a trial of a
            sweep that has not ended: what its driver records next may be its end.

        Raises:
            NotFoundError: no such run.
        """
        ended_at = self.find_last_sign(run_id)
        with self.database.write() as connection:
            statement = select(t.RUN, t.SWEEP.c.status.label("sweep_status"))
            joined = statement.outerjoin(t.SWEEP, t.SWEEP.c.id == t.RUN.c.sweep_id)
            row = connection.execute(joined.where(t.RUN.c.id == run_id)).mappings().one_or_none()
            if row is not None and (to_process(row) != process or row["sweep_status"] in OPEN):
                return False
            return self.finish_run(run_id, Status.CRASHED, ended_at, (), (), describe_crash(process))

    def find_last_sign(self, run_id: str) -> datetime:
        """Return the latest time that is recorded of a run: its begin, or of its nodes and log lines.

        Raises:
            NotFoundError: no such run.
        """
        r, n, line = t.RUN.c, t.NODE_RUN.c, t.LOG_LINE.c
        begun = select(r.created_us, r.started_us).where(r.id == run_id)
        nodes = select(func.max(n.started_us), func.max(n.finished_us)).where(n.run_id == run_id)
        lines = select(func.max(line.at_us)).where(line.run_id == run_id)
        with self.database.read() as connection:
            run = connection.execute(begun).one_or_none()
            if run is None:
                raise NotFoundError(f"no run '{run_id}' in the catalog")
            found = [*run, *connection.execute(nodes).one(), connection.scalar(lines)]
            last_us: int = max(at for at in found if at is not None)
            return EPOCH + last_us * MICROSECOND

    def _list_open(self) -> list[tuple[str, Owner | None]]:
        with self.database.read() as connection:
            rows = self.database.fetch(connection, self.database.get_prepared(build_open), {})
            return [(row["id"], to_process(row)) for row in rows]

    def get_graph(self, run_id: str) -> dict[str, Any]:
        """Return the compiled graph of a run as JSON values.

        Raises:
            NotFoundError: no run has the id, or several start with it.
        """
        with self.database.read() as connection:
            whole = self._resolve(connection, run_id)
            join = t.RUN.join(t.GRAPH, t.GRAPH.c.id == t.RUN.c.graph_id)
            body = connection.scalar(select(t.GRAPH.c.body).select_from(join).where(t.RUN.c.id == whole))
            graph: dict[str, Any] = from_json(body) if body else {}
            return graph

    def list_metric_points(self, run_id: str, name: str | None = None) -> list[MetricPoint]:
        """Return the points of a run's metrics (or of one) in the order in which they were recorded.

        Raises:
            NotFoundError: no run has the id, or several start with it.
        """
        c = t.METRIC_POINT.c
        with self.database.read() as connection:
            whole = self._resolve(connection, run_id)
            statement = select(c.name, c.value, c.step, c.at_us).where(c.run_id == whole).order_by(c.id)
            if name is not None:
                statement = statement.where(c.name == clean(name))
            return [
                MetricPoint(n, to_number(v), step, from_us(at))
                for n, v, step, at in connection.execute(statement)
            ]

    def list_logs(self, run_id: str, node: str | None = None, limit: int | None = None) -> list[LogLine]:
        """Return log lines of a run in order.

        Args:
            node: only the lines of this node.
            limit: only the last so many.

        Raises:
            NotFoundError: no run has the id, or several start with it.
        """
        c = t.LOG_LINE.c
        with self.database.read() as connection:
            whole = self._resolve(connection, run_id)
            statement = select(c.at_us, c.level, c.message, c.node).where(c.run_id == whole)
            if node is not None:
                statement = statement.where(c.node == clean(node))
            order = c.id if limit is None else c.id.desc()
            rows = connection.execute(page(statement.order_by(order), limit)).all()
            if limit is not None:
                rows = list(reversed(rows))
            return [
                LogLine(EPOCH + at * MICROSECOND, level, message, name) for at, level, message, name in rows
            ]


def starts_with(column: Any, prefix: str) -> Any:
    """Return the condition as a range, which every database answers from an index; LIKE is not on SQLite."""
    prefix = clean(prefix)
    after = min(ord(prefix[-1]) + 1, 0x10FFFF)
    # Halves of surrogate pairs are no characters: behind the last before them comes the first after them.
    return (column >= prefix) & (column < prefix[:-1] + chr(0xE000 if 0xD800 <= after <= 0xDFFF else after))


def page(statement: Select[Any], limit: int | None, offset: int = 0) -> Select[Any]:
    """Return a statement that gives at most `limit` rows after the first `offset`; None for all."""
    if limit is not None:
        statement = statement.limit(min(max(limit, 0), LARGEST))
    if offset:
        statement = statement.offset(min(offset, LARGEST))
    return statement
