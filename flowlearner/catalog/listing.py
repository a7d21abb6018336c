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
    is_among,
    list_bare_names,
    read_status,
)
from flowlearner.catalog.part import chunks
from flowlearner.catalog.query import KINDS, Name, list_comparisons, parse_query
from flowlearner.catalog.reading import Reading, page
from flowlearner.errors import ParameterError, QueryError, shorten, suggest
from flowlearner.records import RunRecord, Status, clean

_c = t.RUN.c
NEWEST_FIRST = (_c.created_us.desc(), _c.id)
VALUE_TABLES: dict[str, Any] = {"metric": t.METRIC, "param": t.PARAM, "tag": t.TAG, "change": t.CHANGE}
MOST_NAMES_SUGGESTED = 1000
NEWEST_LOOKED_AT = 2000
FIRST_LOOKED_AT = 1000
"""How many runs a search looks at one by one, before it collects all runs that fit each comparison."""


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
            offset = max(offset, 0)
            ids = None
            if limit is not None:
                if descending and _find_attribute_name(order_by) == "created":
                    ids = self._find_newest(connection, wanted, limit, offset)
                elif _find_attribute_name(order_by) not in ATTRIBUTES:
                    ids = self._find_first(connection, wanted, order_by, descending, limit, offset)
            if ids is None:
                where = self._conditions(connection, wanted)
                ids = _list_ids(connection, where, order_by, descending, limit, offset)
            found: dict[str, Any] = {}
            for some in chunks(ids):
                rows = connection.execute(select(t.RUN).where(_c.id.in_(some))).mappings()
                found.update({row["id"]: row for row in rows})
            return self._to_runs(connection, [found[i] for i in ids])

    def count_runs(self, *, query: str | None = None, **filters: Any) -> int:
        """Return how many runs `list_runs` would give without a limit; `filters` are those of `list_runs`."""
        with self.database.read() as connection:
            where = self._conditions(connection, Filter(query, **filters))
            return connection.scalar(select(func.count()).select_from(t.RUN).where(*where)) or 0

    def list_run_ids(self, *, query: str | None = None, **filters: Any) -> list[str]:
        """Return the ids of all runs that fit, newest first; `filters` are those of `list_runs`."""
        with self.database.read() as connection:
            where = self._conditions(connection, Filter(query, **filters))
            return list(connection.scalars(select(_c.id).where(*where).order_by(*NEWEST_FIRST)))

    def explain_names(self, query: str, order_by: str = "") -> list[str]:
        """Return a sentence for each metric, param and tag that is asked for and that no run has.

        Each tells the nearest name that some run has.

        Raises:
            QueryError: the query does not parse.
        """
        tree = parse_query(query)
        names = [] if tree is None else [c.name for c in list_comparisons(tree)]
        names.append(_parse_order(order_by))
        sentences = []
        with self.database.read() as connection:
            for kind, table in VALUE_TABLES.items():
                asked = list(dict.fromkeys(n.text for n in names if n.kind == kind))
                there = _find_names(connection, table, asked)
                missing = [name for name in asked if name not in there]
                known = [f"{kind}.{k}" for k in _list_names(connection, table)] if missing else []
                for name in missing:
                    near = suggest(f"{kind}.{name}", known)
                    sentences.append(f"No run has a {kind} '{name}'.{near}")
        return sentences

    def _find_newest(
        self, connection: Connection, wanted: Filter, limit: int, offset: int
    ) -> list[str] | None:
        """Return a page of a search where the newest runs fill it, as they mostly do; None where not."""
        if not (wanted.tags or (wanted.query and wanted.query.strip())):
            return None
        shown, where = self._split_conditions(connection, wanted, one_by_one=True)
        newest = select(_c.id).where(*shown, *where).order_by(*NEWEST_FIRST)
        times = select(_c.created_us).where(*shown).order_by(_c.created_us.desc())
        since = connection.scalar(times.offset(NEWEST_LOOKED_AT).limit(1))
        if since is None:
            return list(connection.scalars(page(newest, limit, offset)))
        ids = list(connection.scalars(page(newest.where(_c.created_us >= since), limit, offset)))
        return ids if len(ids) >= limit else None

    def _find_first(
        self,
        connection: Connection,
        wanted: Filter,
        order_by: str,
        descending: bool,
        limit: int,
        offset: int,
    ) -> list[str] | None:
        """Return a page of runs in the order of a value where the first values fill it; None where not."""
        order = _parse_order(order_by)
        if order.kind not in VALUE_TABLES:
            return None
        table, has, value = _list_values(order.kind, clean(order.text))[0]
        mine = [table.c.name == clean(order.text), has]
        values = select(value).where(*mine).order_by(_direct(value, descending))
        # Behind this one nobody looks, nor at those that are equal to it: their order is not theirs alone.
        bound = connection.scalar(values.offset(FIRST_LOOKED_AT).limit(1))
        if bound is None:
            return None
        shown, where = self._split_conditions(connection, wanted, one_by_one=True)
        near = value > bound if descending else value < bound
        first = (
            select(_c.id)
            .select_from(table.join(t.RUN, table.c.run_id == _c.id))
            .where(*mine, near, *shown, *where)
            .order_by(_direct(value, descending), *NEWEST_FIRST)
        )
        ids = list(connection.scalars(page(first, limit, offset)))
        return ids if len(ids) >= limit else None

    def _conditions(self, connection: Connection, wanted: Filter) -> list[ColumnElement[bool]]:
        shown, where = self._split_conditions(connection, wanted, one_by_one=False)
        return [*where, *shown]

    def _split_conditions(
        self, connection: Connection, wanted: Filter, *, one_by_one: bool
    ) -> tuple[list[ColumnElement[bool]], list[ColumnElement[bool]]]:
        """Return what hides trials and deleted runs, and the rest; see `Compiler` for `one_by_one`."""
        shown: list[ColumnElement[bool]] = []
        where: list[ColumnElement[bool]] = []
        about_trials = about_deleted = False
        if wanted.query and wanted.query.strip():
            condition, about_trials, about_deleted = self._compile(connection, wanted, one_by_one)
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
            tagged = select(g.run_id).where(g.name == clean(name), g.value == clean(str(value)))
            where.append(is_among(tagged, one_by_one))
        if not (wanted.include_trials or about_trials or wanted.sweep_id is not None):
            shown.append(_c.trial_number.is_(None))
        if wanted.deleted_only:
            shown.append(_c.deleted_us.is_not(None))
        elif not (wanted.include_deleted or about_deleted):
            shown.append(_c.deleted_us.is_(None))
        return shown, where

    def _compile(
        self, connection: Connection, wanted: Filter, one_by_one: bool
    ) -> tuple[ColumnElement[bool], bool, bool]:
        query = wanted.query or ""
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
        compiler = Compiler(query, metrics, params, crashed=wanted.crashed, one_by_one=one_by_one)
        condition = compiler.compile(tree)
        return condition, is_about(comparisons, "sweep", "trial"), is_about(comparisons, "deleted")

    def _explain_name(self, connection: Connection, query: str, name: str, position: int) -> QueryError:
        known = [*ATTRIBUTES, *ALIASES]
        for kind, table in (("metric", t.METRIC), ("param", t.PARAM)):
            names = _list_names(connection, table)
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


def _list_names(connection: Connection, table: Any) -> list[str]:
    """Return names that runs have, of which the nearest may be suggested."""
    return list(connection.scalars(select(table.c.name).distinct().limit(MOST_NAMES_SUGGESTED)))


def _find_attribute_name(text: str) -> str:
    return ALIASES.get(text.lower(), text.lower())


def _parse_order(text: str) -> Name:
    prefix, _, name = text.partition(".")
    return Name(KINDS.get(prefix.lower(), "") if name else "", name, 0)


def _list_ids(
    connection: Connection,
    where: Sequence[Any],
    order_by: str,
    descending: bool,
    limit: int | None,
    offset: int,
) -> list[str]:
    attribute = ATTRIBUTES.get(_find_attribute_name(order_by))
    if attribute is not None:
        column = attribute.column
        columns = [column.desc() if descending else column.asc(), *NEWEST_FIRST]
        if attribute.may_miss:
            columns.insert(0, column.is_(None))
        if column is _c.created_us:
            columns = [column.desc() if descending else column.asc(), _c.id]
        return list(connection.scalars(page(select(_c.id).where(*where).order_by(*columns), limit, offset)))
    order = _parse_order(order_by)
    if order.kind not in VALUE_TABLES:
        raise ParameterError(
            f"cannot order by '{order_by}'.{suggest(order_by, ATTRIBUTES)} Expected metric.x, param.x, tag.x "
            f"or one of {shorten(ATTRIBUTES, 30)}"
        )
    return _list_ids_by_value(connection, where, order.kind, clean(order.text), descending, limit, offset)


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
    ids: list[str] = []
    for stage in _list_stages(where, kind, name, descending):
        left = None if limit is None else limit - len(ids)
        if left == 0:
            break
        found = list(connection.scalars(page(stage, left, offset)))
        ids += found
        if found:
            offset = 0
        elif offset:
            offset -= connection.scalar(select(func.count()).select_from(stage.subquery())) or 0
    return ids


def _list_stages(where: Sequence[Any], kind: str, name: str, descending: bool) -> list[Select[tuple[str]]]:
    values = _list_values(kind, name)
    table = values[0][0]
    stages = [(has, value) for _, has, value in values]
    # A run whose metric is NaN or infinite comes before those that have none.
    rest = [table.c.run_id.is_(None)] if kind == "metric" else []
    mine = and_(table.c.run_id == _c.id, table.c.name == name)
    joined = select(_c.id).select_from(table.join(t.RUN, table.c.run_id == _c.id))
    valued = [
        joined.where(table.c.name == name, has, *where).order_by(_direct(value, descending), *NEWEST_FIRST)
        for has, value in stages
    ]
    has_none = and_(*[not_(has) for has, _ in stages])
    outer = select(_c.id).select_from(t.RUN.outerjoin(table, mine))
    others = outer.where(or_(table.c.run_id.is_(None), has_none), *where)
    return [*valued, others.order_by(*rest, *NEWEST_FIRST)]


def _list_values(kind: str, name: str) -> list[tuple[Any, Any, Any]]:
    """Return a table, what its rows fulfil that have a value, and the value; those that come first, first."""
    if kind == "metric":
        return [(t.METRIC, t.METRIC.c.is_finite.is_(True), t.METRIC.c.value)]
    if kind == "param":
        # Numbers by size, then texts by letters.
        number, text = t.PARAM.c.number, t.PARAM.c.text
        is_text = and_(number.is_(None), text.is_not(None))
        return [(t.PARAM, number.is_not(None), number), (t.PARAM, is_text, text)]
    return [(t.TAG, t.TAG.c.name == name, t.TAG.c.value)]


def _direct(column: Any, descending: bool) -> Any:
    return column.desc() if descending else column.asc()
