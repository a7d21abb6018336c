"""From the tree of a query to conditions on runs. Every value is bound, never part of the SQL text.

Logic has two values. A run without the metric, param or tag fits no comparison with it, `!=` included, and
so fits the NOT of each. An attribute that a run may lack, such as `error` or `parent`, differs from every
value: there `!=` fits and no other comparison does.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import Select, Table, and_, case, false, func, not_, or_, select

from flowlearner.catalog import tables as t
from flowlearner.catalog.query import And, Comparison, Name, Not, Or, Tree, Value
from flowlearner.catalog.reading import starts_with
from flowlearner.catalog.rows import TEXT_LIMIT, to_us
from flowlearner.errors import QueryError, shorten, suggest
from flowlearner.records import VERDICTS, Status, clean

Condition: TypeAlias = Any
"""A `ColumnElement[bool]`; SQLAlchemy gives most of what they are made of as Any."""

ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
MOST_WILDCARDS = 10
DAY = timedelta(days=1)
UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": DAY,
    "w": 7 * DAY,
}
_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_SPAN = re.compile(r"-?(\d{1,6})(s|m|h|d|w)", re.IGNORECASE)


@dataclass(frozen=True)
class Attribute:
    """What a query calls a property of a run.

    Attributes:
        kind: "text", "id" (any prefix fits), "status", "verdict", "time", "number", "seconds" or "flag".
        column: what it is in SQL.
        may_miss: whether it can be NULL.
    """

    kind: str
    column: Any
    may_miss: bool = False


_c = t.RUN.c
DURATION: Any = (_c.finished_us - _c.started_us) / 1e6
# The latest; a run that nobody reproduced has none.
VERDICT: Any = (
    select(t.REPRODUCTION.c.verdict)
    .where(t.REPRODUCTION.c.run_id == _c.id)
    .order_by(t.REPRODUCTION.c.id.desc())
    .limit(1)
    .correlate(t.RUN)
    .scalar_subquery()
)

ATTRIBUTES: dict[str, Attribute] = {
    "id": Attribute("id", _c.id),
    "status": Attribute("status", _c.status),
    "workflow": Attribute("text", _c.workflow),
    "experiment": Attribute("text", _c.experiment),
    "owner": Attribute("text", _c.owner),
    "created": Attribute("time", _c.created_us),
    "started": Attribute("time", _c.started_us, True),
    "finished": Attribute("time", _c.finished_us, True),
    "duration": Attribute("seconds", DURATION, True),
    "notes": Attribute("text", _c.notes),
    "deleted": Attribute("flag", _c.deleted_us.is_not(None)),
    "nodes": Attribute("number", _c.node_count),
    "cached": Attribute("number", _c.cached_count),
    "parent": Attribute("id", _c.parent_id, True),
    "reproduction": Attribute("verdict", VERDICT, True),
    "sweep": Attribute("id", _c.sweep_id, True),
    "trial": Attribute("number", _c.trial_number, True),
    "commit": Attribute("id", _c.code_commit, True),
    "branch": Attribute("text", _c.code_branch, True),
    "dirty": Attribute("flag", _c.code_dirty),
    "executor": Attribute("text", _c.executor),
    "seed": Attribute("number", _c.run_seed),
    "error": Attribute("text", _c.error_type, True),
    "command": Attribute("text", _c.command),
}
ALIASES = {
    "run_id": "id",
    "created_at": "created",
    "started_at": "started",
    "finished_at": "finished",
    "parent_id": "parent",
    "sweep_id": "sweep",
    "trial_number": "trial",
    "run_seed": "seed",
    "user": "owner",
}


def find_attribute(name: str) -> Attribute | None:
    lower = name.lower()
    return ATTRIBUTES.get(ALIASES.get(lower, lower))


def read_status(crashed: Collection[str]) -> Any:
    """Return the status of runs, where those of these ids have crashed though the catalog has not heard."""
    if not crashed:
        return _c.status
    return case((_c.id.in_(crashed), Status.CRASHED.value), else_=_c.status)


def is_about(tree: Iterable[Comparison], *names: str) -> bool:
    """Whether a comparison is about one of these attributes."""
    for comparison in tree:
        if comparison.name.kind in ("", "attribute"):
            lower = comparison.name.text.lower()
            if ALIASES.get(lower, lower) in names:
                return True
    return False


class Compiler:
    """Turns one parsed query into a condition.

    Args:
        query: its text, for error messages.
        metrics: the bare names that are metrics of some run.
        params: the bare names that are parameters of some run.
        now: what relative times count from.
        crashed: ids of runs that read CRASHED whatever is stored.
        one_by_one: look a metric, param or tag up for each run instead of collecting all runs that fit;
            the meaning is the same.
    """

    def __init__(
        self,
        query: str,
        metrics: set[str],
        params: set[str],
        now: datetime | None = None,
        crashed: Collection[str] = (),
        *,
        one_by_one: bool = False,
    ) -> None:
        self.query = query
        self.metrics = metrics
        self.params = params
        self.now = now or datetime.now(UTC)
        self.status = read_status(crashed)
        self.one_by_one = one_by_one

    def compile(self, tree: Tree) -> Condition:
        if isinstance(tree, And):
            return and_(*[self.compile(p) for p in tree.parts])
        if isinstance(tree, Or):
            return or_(*[self.compile(p) for p in tree.parts])
        if isinstance(tree, Not):
            return not_(self.compile(tree.part))
        return self.compare(tree)

    def fail(self, message: str, position: int) -> QueryError:
        return QueryError(message, self.query, position)

    def compare(self, comparison: Comparison) -> Condition:
        name = comparison.name
        kind = name.kind
        # `= null` and `!= null` are what IS NULL and IS NOT NULL say.
        if comparison.operator in ("=", "!=") and _is_null(comparison.values[0]):
            missing = Comparison(name, "null", (), comparison.position)
            return self.compare(missing) if comparison.operator == "=" else not_(self.compare(missing))
        attribute = find_attribute(name.text) if kind in ("", "attribute") else None
        if attribute is not None:
            return self.compare_attribute(attribute, comparison)
        if kind == "attribute":
            raise self.fail(
                f"no attribute '{name.text}'.{suggest(name.text, ATTRIBUTES)} "
                f"There are {shorten(ATTRIBUTES, 30)}",
                name.position,
            )
        if kind == "metric" or (not kind and name.text in self.metrics):
            return self.compare_metric(comparison)
        if kind == "param" or (not kind and name.text in self.params):
            return self.compare_param(comparison, t.PARAM)
        if kind == "change":
            return self.compare_param(comparison, t.CHANGE)
        return self.compare_tag(comparison)

    # Numbers, texts and times against a column that is never NULL where it is compared

    def compare_attribute(self, attribute: Attribute, comparison: Comparison) -> Condition:
        column, kind = attribute.column, attribute.kind
        if comparison.operator == "null":
            return column.is_(None) if attribute.may_miss else false()
        if kind == "flag":
            return self._flag(column, comparison)
        if kind == "time":
            found = self._each(comparison, lambda op, v: self._time(column, op, v, comparison))
        elif kind in ("number", "seconds"):
            found = self._each(comparison, lambda op, v: self._number(column, op, v, comparison, kind))
        elif kind == "status":
            found = self._each(comparison, lambda op, v: self._word(self.status, Status, op, v, comparison))
        elif kind == "verdict":
            found = self._each(comparison, lambda op, v: self._word(column, VERDICTS, op, v, comparison))
        elif kind == "id":
            found = self._each(comparison, lambda op, v: self._id(column, op, v, comparison))
        else:
            found = self._each(comparison, lambda op, v: self._text(column, op, v))
        if not attribute.may_miss:
            return found
        if comparison.operator in ("!=", "!~"):
            return or_(column.is_(None), found)
        return and_(column.is_not(None), found)

    def _each(self, comparison: Comparison, compare: Callable[[str, Value], Condition]) -> Condition:
        if comparison.operator == "in":
            return or_(*[compare("=", v) for v in comparison.values])
        return compare(comparison.operator, comparison.values[0])

    def _flag(self, column: Any, comparison: Comparison) -> Condition:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        value = comparison.values[0]
        wanted = words.get(value.text.lower())
        if comparison.operator not in ("=", "!=") or wanted is None:
            raise self.fail(
                f"'{comparison.name}' is true or false: compare it with = true or = false", value.position
            )
        return column if wanted == (comparison.operator == "=") else not_(column)

    def _number(
        self, column: Any, operator: str, value: Value, comparison: Comparison, kind: str
    ) -> Condition:
        number = _parse_number(value)
        if number is None and kind == "seconds" and not value.quoted and (span := _parse_span(value.text)):
            number = span.total_seconds()
        if number is None:
            example = "a number of seconds, or 90s, 5m, 2h" if kind == "seconds" else "a number"
            raise self.fail(f"'{comparison.name}' is {example}: found {value.text!r}", value.position)
        order = self._order(operator, comparison)
        # A comparison with NaN is false but for !=, as everywhere.
        return _constant(operator == "!=") if math.isnan(number) else order(column, number)

    def _order(self, operator: str, comparison: Comparison) -> Callable[[Any, Any], Any]:
        order = ORDERS.get(operator)
        if order is None:
            raise self.fail(
                f"'{comparison.name}' is no text: compare it with =, !=, <, <=, >, >= or IN",
                comparison.position,
            )
        return order

    def _word(
        self, column: Any, words: Iterable[str], operator: str, value: Value, comparison: Comparison
    ) -> Condition:
        """Compare with one of a few words, in any case."""
        word, known = value.text.upper(), list(map(str, words))
        if operator not in ("=", "!="):
            raise self.fail(f"compare '{comparison.name}' with =, != or IN", comparison.position)
        if word not in known:
            hint = f"{suggest(word, known)} There are {shorten(known)}"
            raise self.fail(f"no {comparison.name} '{value.text}'.{hint}", value.position)
        return ORDERS[operator](column, word)

    def _id(self, column: Any, operator: str, value: Value, comparison: Comparison) -> Condition:
        if operator not in ("=", "!="):
            return self._text(column, operator, value)
        if not value.text:
            raise self.fail(f"expected an id or its beginning after '{comparison.name}'", value.position)
        found = starts_with(column, clean(value.text))
        return found if operator == "=" else not_(found)

    def _time(self, column: Any, operator: str, value: Value, comparison: Comparison) -> Condition:
        order = self._order(operator, comparison)
        start, end = self._parse_time(value, comparison)
        start_us, end_us = to_us(start), to_us(end)
        if end_us == start_us:
            return order(column, start_us)
        # A date is the whole day.
        during = and_(column >= start_us, column < end_us)
        return {
            "=": during,
            "!=": not_(during),
            "<": column < start_us,
            "<=": column < end_us,
            ">": column >= end_us,
            ">=": column >= start_us,
        }[operator]

    def _parse_time(self, value: Value, comparison: Comparison) -> tuple[datetime, datetime]:
        text = value.text.strip()
        today = self.now.replace(hour=0, minute=0, second=0, microsecond=0)
        if text.lower() in ("now", "today", "yesterday"):
            if text.lower() == "now":
                return self.now, self.now
            day = today if text.lower() == "today" else today - DAY
            return day, day + DAY
        try:
            if span := _parse_span(text):
                return self.now - span, self.now - span
            if len(text) == 10:
                day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
                return day, day + DAY
            at = datetime.fromisoformat(text)
            at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise self.fail(
                f"'{comparison.name}' is a time: expected 2026-01-31, '2026-01-31 18:00' (UTC where it names "
                f"no offset), today, yesterday, or 7d, 12h, 30m for so long ago; found {value.text!r}",
                value.position,
            ) from None
        return at, at

    def _text(self, column: Any, operator: str, value: Value) -> Condition:
        text = clean(value.text)
        # Each % multiplies the work of matching.
        if operator == "like" and text.count("%") > MOST_WILDCARDS:
            raise self.fail(f"a LIKE pattern has at most {MOST_WILDCARDS} signs %", value.position)
        if operator in ("~", "!~"):
            found = func.lower(column).contains(_fold(text), autoescape=True)
            return found if operator == "~" else not_(found)
        if operator == "like":
            # PostgreSQL would take a backslash for a sign of its own.
            pattern = _fold(text).replace("\\", "\\\\")
            return func.lower(column).like(pattern, escape="\\")
        return ORDERS[operator](column, text)

    # Metrics, params and tags: rows of their own

    def compare_metric(self, comparison: Comparison) -> Condition:
        m = t.METRIC.c
        runs = select(m.run_id).where(m.name == clean(comparison.name.text))
        if comparison.operator == "null":
            return not_(self._is_among(runs))

        def compare(operator: str, value: Value) -> Condition:
            order = self._order(operator, comparison)
            number = _parse_number(value)
            if number is None:
                raise self.fail(
                    f"'{comparison.name}' is a metric: expected a number, found {value.text!r}",
                    value.position,
                )
            if math.isnan(number):
                found = {"=": m.value.is_(None), "!=": m.value.is_not(None)}.get(operator)
                return _constant(False) if found is None else found
            found = order(m.value, number)
            return or_(m.value.is_(None), found) if operator == "!=" else found

        return self._is_among(runs.where(self._each(comparison, compare)))

    def compare_param(self, comparison: Comparison, table: Table) -> Condition:
        p = table.c
        runs = select(p.run_id).where(p.name == clean(comparison.name.text))
        if comparison.operator == "null":
            return not_(self._is_among(runs.where(p.text.is_not(None))))

        def compare(operator: str, value: Value) -> Condition:
            number = _parse_number(value)
            if number is not None and not math.isnan(number) and operator in ORDERS:
                found = ORDERS[operator](p.number, number)
                # A text parameter may well hold the same digits.
                if operator == "=":
                    return or_(found, p.text == value.text)
                if operator == "!=":
                    return or_(and_(p.number.is_(None), p.text != value.text), found)
                return found
            if operator in ORDERS:
                value = replace(value, text=value.text[:TEXT_LIMIT])
            if not value.quoted and value.text.lower() in ("true", "false"):
                value = replace(value, text=value.text.lower())
            return self._text(p.text, operator, value)

        return self._is_among(runs.where(p.text.is_not(None), self._each(comparison, compare)))

    def compare_tag(self, comparison: Comparison) -> Condition:
        g = t.TAG.c
        runs = select(g.run_id).where(g.name == clean(comparison.name.text))
        if comparison.operator == "null":
            return not_(self._is_among(runs))
        return self._is_among(runs.where(self._each(comparison, lambda op, v: self._text(g.value, op, v))))

    def _is_among(self, runs: Select[tuple[str]]) -> Condition:
        return is_among(runs, self.one_by_one)


def is_among(runs: Select[tuple[str]], one_by_one: bool) -> Condition:
    """Return whether a run is one of `runs`, a selection of run ids; see `Compiler` for `one_by_one`."""
    if one_by_one:
        return runs.where(runs.selected_columns[0] == _c.id).correlate(t.RUN).exists()
    return _c.id.in_(runs)


def list_bare_names(comparisons: Iterable[Comparison]) -> list[Name]:
    """Return the names that are neither an attribute nor say what they are."""
    return [c.name for c in comparisons if not c.name.kind and find_attribute(c.name.text) is None]


def _fold(text: str) -> str:
    """Return text as the database's `lower` gives it for our columns: only A to Z have small letters."""
    return text.translate(_SMALL)


def _is_null(value: Value) -> bool:
    return not value.quoted and value.text.lower() in ("null", "none")


def _parse_number(value: Value) -> float | None:
    if value.quoted or "_" in value.text:
        return None
    try:
        return float(value.text)
    except ValueError:
        return None


def _parse_span(text: str) -> timedelta | None:
    match = _SPAN.fullmatch(text)
    return int(match[1]) * UNITS[match[2].lower()] if match else None


def _constant(value: bool) -> Condition:
    return not_(false()) if value else false()
