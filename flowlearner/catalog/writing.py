"""Writing runs: how they begin, what their nodes did, how they end, and what people say about them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import IntegrityError

from flowlearner.catalog import tables as t
from flowlearner.catalog.part import Part, chunks
from flowlearner.catalog.rows import (
    artifact_row,
    change_rows,
    entry_row,
    error_text,
    json_text,
    log_row,
    metric_rows,
    node_row,
    now_us,
    outputs_text,
    param_rows,
    process_row,
    run_row,
    to_us,
)
from flowlearner.catalog.statements import (
    CHANGES,
    ENTRIES,
    ENVIRONMENTS,
    EXPERIMENTS,
    GRAPHS,
    LOGS,
    NODES,
    OPEN,
    OPERATOR_VERSIONS,
    PARAMS,
    POINTS,
    RUNS,
    TAGS,
    USES,
    WORKFLOW_OPERATORS,
    WORKFLOW_VERSIONS,
    build_artifacts,
    build_finish,
    build_input_uses,
    build_metrics,
    build_status,
)
from flowlearner.errors import CatalogError, NotFoundError, make_lease_lost
from flowlearner.records import (
    Artifact,
    CacheEntry,
    Environment,
    ErrorInfo,
    LogLine,
    MetricPoint,
    NodeRun,
    OperatorVersion,
    OutputRecord,
    RunRecord,
    Status,
    WorkflowVersion,
    clean,
)

WORKFLOWS_REMEMBERED = 10_000


class Writing(Part):
    """The part of the catalog that the engine writes with."""

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Make all writes of this thread within the block one transaction: all happen, or none.

        Other writers wait meanwhile, so nothing slow belongs in the block.
        """
        try:
            with self.database.write():
                yield
        except BaseException:
            # Runs that were begun in the block do not exist now.
            self._workflows.clear()
            raise

    def begin_run(
        self,
        run: RunRecord,
        workflow: WorkflowVersion,
        operators: Sequence[OperatorVersion],
        artifacts: Sequence[Artifact] = (),
    ) -> None:
        """Record a run that starts, with the versions of its code.

        Versions, environments and experiments that are known already stay as they are.

        Args:
            artifacts: what it names already, such as the snapshot of its code.

        Raises:
            CatalogError: there is a run of this id.
        """
        now = now_us()
        graph_text = json_text(workflow.graph)
        graph_id = hashlib.sha256(graph_text.encode()).hexdigest()
        row = run_row(run) | {"graph_id": graph_id}
        uses = run_uses(run)
        with self.database.write() as connection:
            insert = self.database.insert
            insert(connection, EXPERIMENTS, [{"name": row["experiment"], "created_us": row["created_us"]}])
            if run.environment:
                insert(connection, ENVIRONMENTS, [environment_row(run.environment)])
            insert(connection, GRAPHS, [{"id": graph_id, "body": graph_text}])
            insert(connection, WORKFLOW_VERSIONS, [version_row(workflow, now) | {"graph_id": graph_id}])
            insert(connection, OPERATOR_VERSIONS, [version_row(o, now) for o in operators])
            insert(connection, WORKFLOW_OPERATORS, [call_row(workflow, o) for o in operators])
            try:
                insert(connection, RUNS, [row])
            except IntegrityError as error:
                raise CatalogError(
                    f"catalog {self.database.place}: there is a run '{run.id}' already"
                ) from error
            insert(connection, PARAMS, param_rows(run.id, run.params))
            insert(connection, TAGS, tag_rows(run.id, run.tags))
            insert(connection, CHANGES, change_rows(run))
            insert(connection, USES, uses)
            self._write_artifacts(connection, artifacts, now)
        self._remember_workflow(run.id, run.workflow)

    def update_run(self, run_id: str, **columns: Any) -> bool:
        """Change what was recorded of a run; a final status is not overwritten.

        Args:
            columns: fields of RunRecord: status, started_at, finished_at, executor, command, notes, params,
                process, prefect_flow_run_id, prefect_api_url.

        Returns:
            False where `status` was given and the run had ended: nothing was changed.

        Raises:
            NotFoundError: no such run.
        """
        values = _changed_columns(columns)
        statement = update(t.RUN).where(t.RUN.c.id == clean(run_id)).values(values)
        if "status" in columns:
            statement = statement.where(t.RUN.c.status.in_(OPEN))
        with self.database.write() as connection:
            changed = connection.execute(statement).rowcount == 1
            if not changed:
                self._check_run(connection, run_id)
            elif "params" in columns:
                connection.execute(delete(t.PARAM).where(t.PARAM.c.run_id == run_id))
                self.database.insert(connection, PARAMS, param_rows(run_id, columns["params"]))
                self.database.insert(connection, USES, _params_uses(run_id, columns["params"]))
            return changed

    def record_nodes(
        self,
        run_id: str,
        nodes: Sequence[NodeRun],
        artifacts: Sequence[Artifact] = (),
        entries: Sequence[CacheEntry] = (),
        logs: Sequence[LogLine] = (),
    ) -> None:
        """Record what nodes did with all that belongs to it, in one transaction.

        A node that was recorded before is replaced. The bytes of the artifacts must be safe already.

        Raises:
            NotFoundError: no such run.
            LeaseLost: another process has recorded it as CRASHED.
        """
        now = now_us()
        with self._write_to(run_id) as (connection, workflow):
            self._check_not_crashed(connection, run_id)
            if artifacts:
                self._write_artifacts(connection, artifacts, now)
                outputs = {o.hash for n in nodes for o in n.outputs}
                parts = dict.fromkeys(a.hash for a in artifacts if a.hash not in outputs)
                if parts:
                    rows = [use_row(run_id, "", "part", h, h) for h in parts]
                    self.database.insert(connection, USES, rows)
            self._write_nodes(connection, workflow, [(run_id, n) for n in nodes])
            if entries:
                self.database.insert(connection, ENTRIES, [entry_row(e, now) for e in entries])
            if logs:
                self.database.insert(connection, LOGS, [log_row(run_id, line) for line in logs])

    def append_logs(self, run_id: str, lines: Sequence[LogLine]) -> None:
        """Record log lines.

        Raises:
            NotFoundError: no such run.
            LeaseLost: another process has recorded it as CRASHED.
        """
        with self._write_to(run_id) as (connection, _):
            self._check_not_crashed(connection, run_id)
            self.database.insert(connection, LOGS, [log_row(run_id, line) for line in lines])

    def append_metrics(self, run_id: str, points: Sequence[MetricPoint]) -> None:
        """Record points of metrics; the last of a name becomes its value.

        Raises:
            NotFoundError: no such run.
            LeaseLost: another process has recorded it as CRASHED.
        """
        with self._write_to(run_id) as (connection, _):
            self._check_not_crashed(connection, run_id)
            self._write_points(connection, run_id, points)

    def finish_run(
        self,
        run_id: str,
        status: Status,
        finished_at: datetime,
        outputs: Sequence[OutputRecord],
        metrics: Sequence[MetricPoint],
        error: ErrorInfo | None,
    ) -> bool:
        """Record how a run ended.

        Returns:
            False where the run had ended already: what was recorded then stays, nothing is added.

        Raises:
            NotFoundError: no such run.
        """
        if not status.is_final:
            raise ValueError(f"finish_run: expected a final status, found {status}")
        row = {
            "b_id": run_id,
            "status": status.value,
            "finished_us": to_us(finished_at),
            "outputs": outputs_text(outputs),
            "error_type": error.type if error else None,
            "error": error_text(error),
        }
        with self._write_to(run_id) as (connection, _):
            prepared = self.database.get_prepared(build_finish)
            if self.database.run(connection, prepared, [row]) == 0:
                return False
            self.database.insert(
                connection, USES, [use_row(run_id, "", "result", o.name, o.hash) for o in outputs]
            )
            self._write_points(connection, run_id, metrics)
            return True

    def request_cancel(self, run_id: str) -> bool:
        """Ask the process of a run to stop it.

        Returns:
            False where the run has ended.

        Raises:
            NotFoundError: no such run.
        """
        statement = (
            update(t.RUN)
            .where(t.RUN.c.id == clean(run_id), t.RUN.c.status.in_(OPEN))
            .values(cancel_requested=True)
        )
        with self.database.write() as connection:
            if connection.execute(statement).rowcount:
                return True
            self._check_run(connection, run_id)
            return False

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run; other tags stay.

        Raises:
            NotFoundError: no such run.
        """
        with self.database.write() as connection:
            self._check_run(connection, run_id)
            self.database.insert(connection, TAGS, tag_rows(run_id, tags))

    def remove_tags(self, run_id: str, names: Iterable[str]) -> None:
        """Remove tags of a run; a name that it does not have is no mistake.

        Raises:
            NotFoundError: no such run.
        """
        with self.database.write() as connection:
            self._check_run(connection, run_id)
            for some in chunks(clean(n) for n in names):
                connection.execute(delete(t.TAG).where(t.TAG.c.run_id == run_id, t.TAG.c.name.in_(some)))

    def set_notes(self, run_id: str, text: str) -> None:
        """Replace the notes of a run.

        Raises:
            NotFoundError: no such run.
        """
        self.update_run(run_id, notes=text)

    def delete_runs(self, run_ids: Sequence[str]) -> None:
        """Mark runs as deleted: lists hide them, `restore_runs` brings them back, `purge_runs` ends them.

        Raises:
            NotFoundError: one of them does not exist; none is marked.
        """
        self._mark_deleted(run_ids, now_us())

    def restore_runs(self, run_ids: Sequence[str]) -> None:
        """Take the mark of `delete_runs` away.

        Raises:
            NotFoundError: one of them does not exist; none is restored.
        """
        self._mark_deleted(run_ids, None)

    def _mark_deleted(self, run_ids: Sequence[str], at_us: int | None) -> None:
        wanted = list(dict.fromkeys(clean(i) for i in run_ids))
        with self.database.write() as connection:
            for some in chunks(wanted):
                found = set(connection.scalars(select(t.RUN.c.id).where(t.RUN.c.id.in_(some))))
                for run_id in some:
                    if run_id not in found:
                        raise NotFoundError(f"no run '{run_id}' in the catalog")
                here = t.RUN.c.id.in_(some)
                # The time of a first deletion stays: it decides when the run may be purged.
                mine = here & t.RUN.c.deleted_us.is_(None) if at_us is not None else here
                connection.execute(update(t.RUN).where(mine).values(deleted_us=at_us))

    # Helpers

    def _remember_workflow(self, run_id: str, workflow: str) -> None:
        if len(self._workflows) >= WORKFLOWS_REMEMBERED:
            self._workflows.clear()
        self._workflows[run_id] = workflow

    @contextmanager
    def _write_to(self, run_id: str) -> Iterator[tuple[Connection, str]]:
        """Give a write transaction and the workflow of a run.

        Raises:
            NotFoundError: no such run.
        """
        with self.database.write() as connection:
            try:
                yield connection, self._find_workflow(connection, run_id)
            except IntegrityError as error:
                # It was there when this process last saw it, and another one has purged it.
                self._workflows.pop(run_id, None)
                raise NotFoundError(f"no run '{run_id}' in catalog {self.database.place}") from error

    def _check_not_crashed(self, connection: Connection, run_id: str) -> None:
        found = self.database.fetch(connection, self.database.get_prepared(build_status), {"b_id": run_id})
        if found and found[0]["status"] == Status.CRASHED:
            raise make_lease_lost("run", run_id)

    def _find_workflow(self, connection: Connection, run_id: str) -> str:
        workflow = self._workflows.get(run_id)
        if workflow is None:
            workflow = self._check_run(connection, run_id)
            self._remember_workflow(run_id, workflow)
        return workflow

    def _check_run(self, connection: Connection, run_id: str) -> str:
        workflow = connection.scalar(select(t.RUN.c.workflow).where(t.RUN.c.id == clean(run_id)))
        if workflow is None:
            raise NotFoundError(f"no run '{run_id}' in catalog {self.database.place}")
        return str(workflow)

    def _write_artifacts(self, connection: Connection, artifacts: Iterable[Artifact], now: int) -> None:
        prepared = self.database.get_prepared(build_artifacts)
        self.database.run(connection, prepared, [artifact_row(a, now) for a in artifacts])

    def _write_nodes(
        self, connection: Connection, workflow: str, nodes: Sequence[tuple[str, NodeRun]]
    ) -> None:
        """Write nodes of runs of one workflow, each with the run's id."""
        if not nodes:
            return
        insert = self.database.insert
        insert(connection, NODES, [node_row(i, workflow, n) for i, n in nodes])
        insert(
            connection,
            USES,
            [use_row(i, n.name, "output", o.name, o.hash) for i, n in nodes for o in n.outputs],
        )
        inputs = [
            use_row(i, n.name, "input", name, hash_)
            for i, n in nodes
            for name, hash_ in n.inputs.items()
            if hash_
        ]
        if inputs:
            self.database.run(connection, self.database.get_prepared(build_input_uses), inputs)

    def _write_points(self, connection: Connection, run_id: str, points: Sequence[MetricPoint]) -> None:
        if points:
            history, latest = metric_rows(run_id, points)
            self.database.insert(connection, POINTS, history)
            self.database.run(connection, self.database.get_prepared(build_metrics), latest)


def _changed_columns(fields: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in fields.items():
        if name in ("started_at", "finished_at"):
            values[name.replace("_at", "_us")] = to_us(value)
        elif name == "status":
            values[name] = Status(value).value
        elif name == "params":
            values[name] = json_text(value)
        elif name == "process":
            values.update(process_row(value))
        elif name in ("executor", "command", "notes", "prefect_flow_run_id", "prefect_api_url"):
            values[name] = None if value is None else clean(value)
        else:
            raise TypeError(f"update_run: a run's '{name}' cannot be changed")
    return values


def use_row(run_id: str, node: str, role: str, name: str, hash_: str) -> dict[str, Any]:
    return {"run_id": run_id, "node": node, "role": role, "name": name, "hash": hash_}


def run_uses(run: RunRecord) -> list[dict[str, Any]]:
    uses = _params_uses(run.id, run.params)
    if run.code.snapshot:
        uses.append(use_row(run.id, "", "snapshot", "", run.code.snapshot))
    if run.code.diff:
        uses.append(use_row(run.id, "", "diff", "", run.code.diff))
    return uses


def _params_uses(run_id: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        use_row(run_id, "", "param", name, str(value["hash"]))
        for name, value in params.items()
        if isinstance(value, Mapping) and value.get("hash")
    ]


def tag_rows(run_id: str, tags: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"run_id": run_id, "name": clean(n), "value": clean(str(v))} for n, v in tags.items()]


def environment_row(found: Environment) -> dict[str, Any]:
    return {
        "id": found.id,
        "python": found.python,
        "packages": json_text(found.packages),
        "machine": json_text(found.machine),
    }


def version_row(version: WorkflowVersion | OperatorVersion, now: int) -> dict[str, Any]:
    return {
        "name": version.name,
        "fingerprint": version.fingerprint,
        "module": version.module,
        "source": clean(version.source),
        "doc": clean(version.doc),
        "interface": json_text(version.interface),
        "first_seen_us": now,
    }


def call_row(workflow: WorkflowVersion, operator: OperatorVersion) -> dict[str, Any]:
    return {
        "operator": operator.name,
        "operator_fingerprint": operator.fingerprint,
        "workflow": workflow.name,
        "workflow_fingerprint": workflow.fingerprint,
    }
