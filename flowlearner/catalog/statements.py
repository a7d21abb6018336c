"""The statements that runs are written with."""

from __future__ import annotations

from typing import Any

import sqlalchemy
from sqlalchemy import bindparam, case, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from flowlearner.catalog import tables as t
from flowlearner.catalog.connect import Write
from flowlearner.records import Status

OPEN = (Status.PENDING.value, Status.RUNNING.value)

_NODE_COLUMNS = tuple(c.name for c in t.NODE_RUN.columns if c.name not in ("run_id", "name"))
NODES = Write(t.NODE_RUN, ("run_id", "name"), _NODE_COLUMNS)
ENTRIES = Write(t.CACHE_ENTRY, ("key",), ("run_id", "node", "outputs", "metrics", "created_us"))
USES = Write(t.ARTIFACT_USE, ("run_id", "node", "role", "name"), ("hash",))
LOGS = Write(t.LOG_LINE)
POINTS = Write(t.METRIC_POINT)
RUNS = Write(t.RUN)
PARAMS = Write(t.PARAM)
CHANGES = Write(t.CHANGE)
TAGS = Write(t.TAG, ("run_id", "name"), ("value",))
SAVED_VIEWS = Write(t.SAVED_VIEW, ("name",), ("query", "created_us"))
EXPERIMENTS = Write(t.EXPERIMENT, ("name",))
ENVIRONMENTS = Write(t.ENVIRONMENT, ("id",))
GRAPHS = Write(t.GRAPH, ("id",))
WORKFLOW_VERSIONS = Write(t.WORKFLOW_VERSION, ("name", "fingerprint"))
OPERATOR_VERSIONS = Write(t.OPERATOR_VERSION, ("name", "fingerprint"))
WORKFLOW_OPERATORS = Write(
    t.WORKFLOW_OPERATOR, ("operator", "operator_fingerprint", "workflow", "workflow_fingerprint")
)


def _insert_for(dialect: str) -> Any:
    return postgresql.insert if dialect == "postgresql" else sqlite.insert


def build_finish(dialect: str) -> Any:  # noqa: ARG001 - the same on every database
    nodes = select(func.count()).select_from(t.NODE_RUN).where(t.NODE_RUN.c.run_id == t.RUN.c.id)
    return (
        update(t.RUN)
        .where(t.RUN.c.id == bindparam("b_id"), or_(*[t.RUN.c.status == s for s in OPEN]))
        .values(
            status=bindparam("status"),
            finished_us=bindparam("finished_us"),
            outputs=bindparam("outputs"),
            error_type=bindparam("error_type"),
            error=bindparam("error"),
            node_count=nodes.scalar_subquery(),
            cached_count=nodes.where(t.NODE_RUN.c.cached.is_(sqlalchemy.true())).scalar_subquery(),
        )
    )


def build_open(dialect: str) -> Any:  # noqa: ARG001 - the same on every database
    r = t.RUN.c
    columns = (r.id, r.process_host, r.process_pid, r.process_started, r.process_boot)
    # Alternatives one by one: a list that is bound expands with each execution.
    return select(*columns).where(or_(*[r.status == s for s in OPEN])).order_by(r.created_us.desc(), r.id)


def build_status(dialect: str) -> Any:  # noqa: ARG001 - the same on every database
    return select(t.RUN.c.status).where(t.RUN.c.id == bindparam("b_id"))


def build_artifacts(dialect: str) -> Any:
    statement = _insert_for(dialect)(t.ARTIFACT)
    names = [c.name for c in t.ARTIFACT.columns]
    statement = statement.values({n: bindparam(n) for n in names})
    new, old = statement.excluded, t.ARTIFACT.c
    replaced = ("codec", "type", "size_bytes", "checksum", "path", "inline")
    changed = [new[n].is_distinct_from(old[n]) for n in replaced]
    missing = old.preview.is_(None) & new.preview.is_not(None)
    return statement.on_conflict_do_update(
        index_elements=["hash"],
        set_={n: new[n] for n in replaced} | {"preview": func.coalesce(new.preview, old.preview)},
        # An equal row is not written again. Inline bytes are compared too: damaged ones keep their checksum.
        where=or_(*changed, missing),
    )


def build_metrics(dialect: str) -> Any:
    statement = _insert_for(dialect)(t.METRIC)
    statement = statement.values({c.name: bindparam(c.name) for c in t.METRIC.columns})
    new, old = statement.excluded, t.METRIC.c
    least = case((old.least.is_(None) | (new.least < old.least), new.least), else_=old.least)
    greatest = case(
        (old.greatest.is_(None) | (new.greatest > old.greatest), new.greatest), else_=old.greatest
    )
    return statement.on_conflict_do_update(
        index_elements=["run_id", "name"],
        set_={
            "value": new.value,
            "is_finite": new.is_finite,
            "step": new.step,
            "least": least,
            "greatest": greatest,
            "count": old["count"] + new["count"],
        },
    )


def build_input_uses(dialect: str) -> Any:
    # Inputs that are literals have a hash and no artifact: nothing is kept for them, so nothing is linked.
    names = [c.name for c in t.ARTIFACT_USE.columns]
    row = select(*[sqlalchemy.cast(bindparam(n), sqlalchemy.Text) for n in names])
    known = sqlalchemy.exists().where(t.ARTIFACT.c.hash == bindparam("hash"))
    statement = _insert_for(dialect)(t.ARTIFACT_USE).from_select(names, row.where(known))
    return statement.on_conflict_do_update(
        index_elements=["run_id", "node", "role", "name"], set_={"hash": statement.excluded.hash}
    )
