"""Listing and counting runs: filters, queries, order and pages, all decided in the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, not_, or_, select

from flowlearner.catalog import tables as t
from flowlearner.catalog.conditions import (
    ALIASES,
    ATTRIBUTES,
    Compiler,
    is_about,
    list_bare_names,
    read_status,
)
from flowlearner.catalog.part import chunks
from flowlearner.catalog.query import KINDS, list_comparisons, parse_query
from flowlearner.catalog.reading import Reading
from flowlearner.catalog.rows import clean
from flowlearner.errors import ParameterError, QueryError, shorten, suggest
from flowlearner.records import RunRecord, Status

_c = t.RUN.c
NEWEST_FIRST = (_c.created_us.desc(), _c.id)
MOST_NAMES_SUGGESTED = 1000


@dataclass(frozen=True)
class Filter:
    """Which runs; the keyword arguments of `list_runs`."""

    query: str | None = None
    workflow: str | None = None
    experiment: str | None = None
    owner: str | None = None
    status: Status | str | Sequence[Status | str] | None = None
    tags: Mapping[str, str] | None = None
    parent_id: str | None = None
    sweep_id: str | None = None
    include_trials: bool = False
    include_deleted: bool = False
    deleted_only: bool = False
    crashed: Collection[str] = ()


class Listing(Reading):
    """Lists of runs. A page costs the same number of statements, however many runs there are."""

    def list_runs(
        self,
        *,
        query: str | None = None,
        workflow: str | None = None,
        experiment: str | None = None,
        owner: str | None = None,
        status: Status | str | Sequence[Status | str] | None = None,
        tags: Mapping[str, str] | None = None,
        parent_id: str | None = None,
        sweep_id: str | None = None,
        include_trials: bool = False,
        include_deleted: bool = False,
        deleted_only: bool = False,
        crashed: Collection[str] = (),
        limit: int | None = 50,
        offset: int = 0,
        order_by: str = "created",
        descending: bool = True,
    ) -> list[RunRecord]:
        """Return runs with their params, metrics and tags; their nodes are left out.

        Args:
            query: a search, see `query`. One that names `deleted`, `sweep` or `trial` sees those runs too.
            status: one status, or several of which one must fit.
            tags: name to value; all must fit.
            include_trials: trials of sweeps too; a `sweep_id` asks for them by itself.
            include_deleted: runs that are marked as deleted too.
            deleted_only: only those.
            crashed: ids of runs whose process is known dead; filters take their status as CRASHED.
            limit: at most so many; None for all.
            order_by: an attribute, `metric.x`, `param.x` or `tag.x`. Runs without a value come last in
                either direction, behind NaN and infinity; equal ones are newest first.

        Raises:
            QueryError: the query does not parse, or names what does not exist.
            ParameterError: no such status or order.
        """
        wanted = Filter(
            query, workflow, experiment, owner, status, tags, parent_id, sweep_id,
            include_trials, include_deleted, deleted_only, crashed,
        )  # fmt: skip
        with self.database.read() as connection:
            where = self._conditions(connection, wanted)
            ids = _list_ids(connection, where, order_by, descending, limit, max(offset, 0))
            found: dict[str, Any] = {}
            for some in chunks(ids):
                rows = connection.execute(select(t.RUN).where(_c.id.in_(some))).mappings()
                found.update({row["id"]: row for row in rows})
            return self._to_runs(connection, [found[i] for i in ids])

    def count_runs(
        self,
        *,
        query: str | None = None,
        workflow: str | None = None,
        experiment: str | None = None,
        owner: str | None = None,
        status: Status | str | Sequence[Status | str] | None = None,
        tags: Mapping[str, str] | None = None,
        parent_id: str | None = None,
        sweep_id: str | None = None,
        include_trials: bool = False,
        include_deleted: bool = False,
        deleted_only: bool = False,
        crashed: Collection[str] = (),
    ) -> int:
        """Return how many runs `list_runs` would give without a limit."""
        wanted = Filter(
            query, workflow, experiment, owner, status, tags, parent_id, sweep_id,
            include_trials, include_deleted, deleted_only, crashed,
        )  # fmt: skip
        with self.database.read() as connection:
            where = self._conditions(connection, wanted)
            return connection.scalar(select(func.count()).select_from(t.RUN).where(*where)) or 0

    def list_run_ids(self, *, query: str | None = None, **filters: Any) -> list[str]:
        """Return the ids of all runs that fit, newest first; `filters` are those of `list_runs`."""
        with self.database.read() as connection:
            where = self._conditions(connection, Filter(query, **filters))
            return list(connection.scalars(select(_c.id).where(*where).order_by(*NEWEST_FIRST)))

    def _conditions(self, connection: Connection, wanted: Filter) -> list[ColumnElement[bool]]:
        where: list[ColumnElement[bool]] = []
        about_trials = about_deleted = False
        if wanted.query and wanted.query.strip():
            condition, about_trials, about_deleted = self._compile(connection, wanted.query, wanted.crashed)
            where.append(condition)
        for column, value in (
            (_c.workflow, wanted.workflow),
            (_c.experiment, wanted.experiment),
            (_c.owner, wanted.owner),
            (_c.parent_id, wanted.parent_id),
            (_c.sweep_id, wanted.sweep_id),
        ):
            if value is not None:
                where.append(column == clean(value))
        if wanted.status is not None:
            where.append(read_status(wanted.crashed).in_(_list_statuses(wanted.status)))
        for name, value in (wanted.tags or {}).items():
            g = t.TAG.c
            where.append(
                _c.id.in_(select(g.run_id).where(g.name == clean(name), g.value == clean(str(value))))
            )
        if not (wanted.include_trials or about_trials or wanted.sweep_id is not None):
            where.append(_c.trial_number.is_(None))
        if wanted.deleted_only:
            where.append(_c.deleted_us.is_not(None))
        elif not (wanted.include_deleted or about_deleted):
            where.append(_c.deleted_us.is_(None))
        return where

    def _compile(
        self, connection: Connection, query: str, crashed: Collection[str]
    ) -> tuple[ColumnElement[bool], bool, bool]:
        tree = parse_query(query)
        assert tree is not None
        comparisons = list(list_comparisons(tree))
        bare = list_bare_names(comparisons)
        metrics: set[str] = set()
        params: set[str] = set()
        if bare:
            names = list(dict.fromkeys(n.text for n in bare))
            metrics = _find_names(connection, t.METRIC, names)
            params = _find_names(connection, t.PARAM, [n for n in names if n not in metrics])
            for name in bare:
                if name.text not in metrics and name.text not in params:
                    raise self._explain_name(connection, query, name.text, name.position)
        condition = Compiler(query, metrics, params, crashed=crashed).compile(tree)
        return condition, is_about(comparisons, "sweep", "trial"), is_about(comparisons, "deleted")

    def _explain_name(self, connection: Connection, query: str, name: str, position: int) -> QueryError:
        known = [*ATTRIBUTES, *ALIASES]
        for table, kind in ((t.METRIC, "metric"), (t.PARAM, "param")):
            statement = select(table.c.name).distinct().limit(MOST_NAMES_SUGGESTED)
            names = list(connection.scalars(statement))
            known += names if "." not in name else [f"{kind}.{n}" for n in names]
        known += [f"{kind}.{name.partition('.')[2]}" for kind in KINDS] if "." in name else []
        return QueryError(
            f"'{name}' is no attribute, and no run has a metric or parameter of that name."
            f"{suggest(name, known)} Attributes: {shorten(ATTRIBUTES, 30)}; and metric.x, param.x, tag.x",
            query,
            position,
        )


def _list_statuses(status: Status | str | Sequence[Status | str]) -> list[str]:
    found = []
    for word in [status] if isinstance(status, str) else status:
        upper = str(word).upper()
        if upper not in Status.__members__:
            raise ParameterError(f"no status '{word}'; there are {shorten(Status)}.{suggest(upper, Status)}")
        found.append(upper)
    return found


def _find_names(connection: Connection, table: Any, names: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for some in chunks(names):
        # EXISTS stops at the first row; DISTINCT would walk through all of them.
        columns = [exists().where(table.c.name == clean(n)).label(f"n{i}") for i, n in enumerate(some)]
        row = connection.execute(select(*columns)).one()
        found.update(n for n, there in zip(some, row, strict=True) if there)
    return found


def _list_ids(
    connection: Connection,
    where: Sequence[Any],
    order_by: str,
    descending: bool,
    limit: int | None,
    offset: int,
) -> list[str]:
    lower = order_by.lower()
    attribute = ATTRIBUTES.get(ALIASES.get(lower, lower))
    if attribute is not None:
        column = attribute.column
        order = [column.desc() if descending else column.asc(), *NEWEST_FIRST]
        if attribute.may_miss:
            order.insert(0, column.is_(None))
        if column is _c.created_us:
            order = [column.desc() if descending else column.asc(), _c.id]
        return list(connection.scalars(_page(select(_c.id).where(*where).order_by(*order), limit, offset)))
    prefix, _, name = order_by.partition(".")
    kind = KINDS.get(prefix.lower())
    if not name or kind not in ("metric", "param", "tag"):
        raise ParameterError(
            f"cannot order by '{order_by}'.{suggest(order_by, ATTRIBUTES)} Expected metric.x, param.x, tag.x "
            f"or one of {shorten(ATTRIBUTES, 30)}"
        )
    return _list_ids_by_value(connection, where, kind, clean(name), descending, limit, offset)


def _list_ids_by_value(
    connection: Connection,
    where: Sequence[Any],
    kind: str,
    name: str,
    descending: bool,
    limit: int | None,
    offset: int,
) -> list[str]:
    """Order by another table: first the runs that have a value, as its index has them, then the rest."""
    order: list[Any]
    has: Any
    rest: list[Any] = []
    if kind == "metric":
        table, order, has = t.METRIC, [_direct(t.METRIC.c.value, descending)], t.METRIC.c.is_finite.is_(True)
        # A run whose metric is NaN or infinite comes before those that have none.
        rest = [t.METRIC.c.run_id.is_(None)]
    elif kind == "param":
        p = t.PARAM.c
        # Numbers by size, then texts by letters.
        order = [p.number.is_(None), _direct(p.number, descending), _direct(p.text, descending)]
        table, has = t.PARAM, p.text.is_not(None)
    else:
        table, order, has = t.TAG, [_direct(t.TAG.c.value, descending)], t.TAG.c.name == name
    mine = and_(table.c.run_id == _c.id, table.c.name == name)
    joined = select(_c.id).select_from(table.join(t.RUN, table.c.run_id == _c.id))
    valued = joined.where(table.c.name == name, has, *where)
    ids = list(connection.scalars(_page(valued.order_by(*order, *NEWEST_FIRST), limit, offset)))
    if limit is not None and len(ids) >= limit:
        return ids
    if offset and not ids:
        offset -= connection.scalar(select(func.count()).select_from(valued.subquery())) or 0
    else:
        offset = 0
    outer = select(_c.id).select_from(t.RUN.outerjoin(table, mine))
    others = outer.where(or_(table.c.run_id.is_(None), not_(has)), *where).order_by(*rest, *NEWEST_FIRST)
    left = None if limit is None else limit - len(ids)
    return ids + list(connection.scalars(_page(others, left, offset)))


def _direct(column: Any, descending: bool) -> Any:
    return column.desc() if descending else column.asc()


def _page(statement: Select[Any], limit: int | None, offset: int) -> Select[Any]:
    if limit is not None:
        statement = statement.limit(max(limit, 0))
    if offset:
        statement = statement.offset(offset)
    return statement
