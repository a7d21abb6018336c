"""Experiments, workflows and operators: what there is, in which versions, and how it fared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, case, func, select

from flowlearner.catalog import tables as t
from flowlearner.catalog.listing import Listing
from flowlearner.catalog.reading import starts_with
from flowlearner.catalog.rows import from_json, from_us
from flowlearner.errors import NotFoundError, shorten, suggest
from flowlearner.records import (
    ExperimentSummary,
    OperatorDetail,
    OperatorSummary,
    OperatorVersion,
    Status,
    WorkflowDetail,
    WorkflowSummary,
    WorkflowVersion,
    clean,
)

SHORTEST_FINGERPRINT = 4

_r, _n = t.RUN.c, t.NODE_RUN.c
_ENDED = [s.value for s in Status if s.is_final and s is not Status.SKIPPED]


class Versions(Listing):
    """Summaries over all runs that are not deleted, trials among them."""

    def list_experiments(self) -> list[ExperimentSummary]:
        """Return all experiments with their counts, the latest used first."""
        trials = func.count(_r.trial_number)
        statement = (
            select(t.EXPERIMENT.c.name, func.count(_r.id), trials, *_counts(), func.max(_r.created_us))
            .select_from(t.EXPERIMENT.outerjoin(t.RUN, and_(_r.experiment == t.EXPERIMENT.c.name, _kept())))
            .group_by(t.EXPERIMENT.c.name, t.EXPERIMENT.c.created_us)
            .order_by(func.coalesce(func.max(_r.created_us), t.EXPERIMENT.c.created_us).desc())
        )
        with self.database.read() as connection:
            return [
                ExperimentSummary(name, count, trials, done or 0, failed or 0, from_us(last))
                for name, count, trials, done, failed, last in connection.execute(statement)
            ]

    def list_workflows(self) -> list[WorkflowSummary]:
        """Return all workflows with their counts, the latest used first."""
        with self.database.read() as connection:
            return self._summarise_workflows(connection)

    def list_operators(self) -> list[OperatorSummary]:
        """Return all operators with their counts, by name."""
        with self.database.read() as connection:
            return self._summarise_operators(connection)

    def get_workflow(self, name_or_fingerprint: str) -> WorkflowDetail:
        """Return a workflow with all its versions, newest first.

        Args:
            name_or_fingerprint: its name, or the beginning of a fingerprint: then only that version.

        Raises:
            NotFoundError: there is none, or several.
        """
        with self.database.read() as connection:
            rows = _find_versions(connection, t.WORKFLOW_VERSION, name_or_fingerprint, "workflow")
            g, graph_ids = t.GRAPH.c, {r["graph_id"] for r in rows}
            bodies = dict(connection.execute(select(g.id, g.body).where(g.id.in_(graph_ids))).tuples().all())
            versions = tuple(
                WorkflowVersion(
                    row["name"],
                    row["fingerprint"],
                    row["module"],
                    row["source"],
                    row["doc"],
                    from_json(row["interface"]),
                    from_json(bodies[row["graph_id"]]) if row["graph_id"] in bodies else {},
                    from_us(row["first_seen_us"]),
                )
                for row in rows
            )
            w = t.WORKFLOW_OPERATOR.c
            fingerprints = [v.fingerprint for v in versions]
            operators = connection.scalars(
                select(w.operator)
                .where(w.workflow == versions[0].name, w.workflow_fingerprint.in_(fingerprints))
                .distinct()
                .order_by(w.operator)
            )
            summary = self._summarise_workflows(connection, versions[0].name)[0]
            return WorkflowDetail(summary, versions, tuple(operators))

    def get_operator(self, name_or_fingerprint: str) -> OperatorDetail:
        """Return an operator with all its versions, newest first, and the workflows that use it.

        Args:
            name_or_fingerprint: its name, or the beginning of a fingerprint: then only that version.

        Raises:
            NotFoundError: there is none, or several.
        """
        with self.database.read() as connection:
            rows = _find_versions(connection, t.OPERATOR_VERSION, name_or_fingerprint, "operator")
            versions = tuple(
                OperatorVersion(
                    row["name"],
                    row["fingerprint"],
                    row["module"],
                    row["source"],
                    row["doc"],
                    from_json(row["interface"]),
                    from_us(row["first_seen_us"]),
                )
                for row in rows
            )
            w = t.WORKFLOW_OPERATOR.c
            fingerprints = [v.fingerprint for v in versions]
            workflows = connection.scalars(
                select(w.workflow)
                .where(w.operator == versions[0].name, w.operator_fingerprint.in_(fingerprints))
                .distinct()
                .order_by(w.workflow)
            )
            summary = self._summarise_operators(connection, versions[0].name)[0]
            return OperatorDetail(summary, versions, tuple(workflows))

    def _summarise_workflows(self, connection: Connection, name: str | None = None) -> list[WorkflowSummary]:
        v = t.WORKFLOW_VERSION.c
        known = select(v.name, func.count(), func.max(v.first_seen_us)).group_by(v.name)
        runs = (
            select(
                _r.workflow, func.count(), func.count(_r.trial_number), *_counts(), func.max(_r.created_us)
            )
            .where(_kept())
            .group_by(_r.workflow)
        )
        if name is not None:
            known, runs = known.where(v.name == name), runs.where(_r.workflow == name)
        counts = {row[0]: tuple(row[1:]) for row in connection.execute(runs)}
        docs = _latest_docs(connection, t.WORKFLOW_VERSION, name)
        found = []
        for workflow, versions, seen in connection.execute(known):
            count, trials, done, failed, last = counts.get(workflow, (0, 0, 0, 0, None))
            summary = WorkflowSummary(
                workflow, docs.get(workflow, ""), versions, count, trials, done, failed, from_us(last)
            )
            found.append((last or seen, summary))
        return [summary for _, summary in sorted(found, key=lambda pair: -pair[0])]

    def _summarise_operators(self, connection: Connection, name: str | None = None) -> list[OperatorSummary]:
        v, w = t.OPERATOR_VERSION.c, t.WORKFLOW_OPERATOR.c
        known = select(v.name, func.count()).group_by(v.name).order_by(v.name)
        users = select(w.operator, func.count(w.workflow.distinct())).group_by(w.operator)
        # A hit says nothing about how an operator fares; only nodes that ran are counted for that.
        ran = and_(_n.cached.is_(False), _n.status.in_(_ENDED))
        took = case((and_(ran, _n.status == Status.COMPLETED.value), _n.finished_us - _n.started_us))
        nodes = (
            select(
                _n.operator,
                func.count(case((ran, 1))),
                func.count(case((_n.cached.is_(True), 1))),
                func.count(case((and_(ran, _n.status == Status.COMPLETED.value), 1))),
                func.avg(took),
                func.max(_n.finished_us),
            )
            .select_from(t.NODE_RUN.join(t.RUN, _r.id == _n.run_id))
            .where(_kept())
            .group_by(_n.operator)
        )
        if name is not None:
            known, users, nodes = (
                known.where(v.name == name),
                users.where(w.operator == name),
                nodes.where(_n.operator == name),
            )
        counts = {row[0]: tuple(row[1:]) for row in connection.execute(nodes)}
        workflows = dict(connection.execute(users).tuples().all())
        docs = _latest_docs(connection, t.OPERATOR_VERSION, name)
        found = []
        for operator, versions in connection.execute(known):
            executed, hits, done, mean_us, last = counts.get(operator, (0, 0, 0, None, None))
            found.append(
                OperatorSummary(
                    name=operator,
                    doc=docs.get(operator, ""),
                    version_count=versions,
                    workflow_count=workflows.get(operator, 0),
                    executed_count=executed,
                    cached_count=hits,
                    success_rate=done / executed if executed else None,
                    mean_duration_s=None if mean_us is None else float(mean_us) / 1e6,
                    last_run_at=from_us(last),
                )
            )
        return found


def _kept() -> Any:
    return _r.deleted_us.is_(None)


def _counts() -> list[Any]:
    return [func.count(case((_r.status == status.value, 1))) for status in (Status.COMPLETED, Status.FAILED)]


def _latest_docs(connection: Connection, table: Any, name: str | None) -> dict[str, str]:
    statement = select(table.c.name, table.c.doc).order_by(table.c.first_seen_us)
    if name is not None:
        statement = statement.where(table.c.name == name)
    return dict(connection.execute(statement).tuples().all())


def _find_versions(connection: Connection, table: Any, wanted: str, word: str) -> Sequence[Any]:
    wanted = clean(wanted)
    newest = select(table).order_by(table.c.first_seen_us.desc(), table.c.fingerprint)
    rows = connection.execute(newest.where(table.c.name == wanted)).mappings().all()
    if not rows and len(wanted) >= SHORTEST_FINGERPRINT:
        rows = connection.execute(newest.where(starts_with(table.c.fingerprint, wanted))).mappings().all()
        if len(rows) > 1:
            found = shorten(f"{r['name']} {r['fingerprint'][:16]}" for r in rows)
            raise NotFoundError(
                f"{word} '{wanted}' is ambiguous: {found}. Give a name, or more of the fingerprint"
            )
    if not rows:
        known = list(connection.scalars(select(table.c.name).distinct().order_by(table.c.name)))
        hint = f"it has {shorten(known)}.{suggest(wanted, known)}" if known else "it has none yet"
        raise NotFoundError(f"no {word} '{wanted}' in the catalog; {hint}")
    return rows
