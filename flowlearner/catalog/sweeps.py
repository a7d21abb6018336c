"""Sweeps and their trials: recording them in batches, reading them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, or_, select, update

from flowlearner.catalog import tables as t
from flowlearner.catalog.maintenance import Maintenance
from flowlearner.catalog.part import chunks
from flowlearner.catalog.reading import page, starts_with
from flowlearner.catalog.rows import (
    entry_row,
    error_text,
    from_json,
    from_us,
    json_text,
    log_row,
    metric_rows,
    now_us,
    outputs_text,
    param_rows,
    process_row,
    run_row,
    to_code,
    to_error,
    to_number,
    to_process,
    to_us,
)
from flowlearner.catalog.statements import (
    ENTRIES,
    ENVIRONMENTS,
    EXPERIMENTS,
    GRAPHS,
    LOGS,
    OPEN,
    OPERATOR_VERSIONS,
    PARAMS,
    POINTS,
    RUNS,
    TAGS,
    USES,
    WORKFLOW_OPERATORS,
    WORKFLOW_VERSIONS,
    build_finish,
    build_metrics,
)
from flowlearner.catalog.writing import (
    call_row,
    environment_row,
    run_uses,
    tag_rows,
    use_row,
    version_row,
)
from flowlearner.errors import NotFoundError, UsageError, make_lease_lost, shorten
from flowlearner.records import (
    Artifact,
    Environment,
    ErrorInfo,
    OperatorVersion,
    Owner,
    RunRecord,
    Status,
    SweepRecord,
    TrialBatch,
    TrialEnd,
    TrialRecord,
    WorkflowVersion,
    clean,
)

_s, _r, _m = t.SWEEP.c, t.RUN.c, t.METRIC.c
CANDIDATES_SHOWN = 11


class Sweeps(Maintenance):
    """The part of the catalog that holds sweeps."""

    def begin_sweep(
        self, sweep: SweepRecord, environment: Environment, artifacts: Sequence[Artifact] = ()
    ) -> None:
        """Record a sweep that starts, with what it needs to go on: its code, tables and files."""
        with self.database.write() as connection:
            insert = self.database.insert
            experiment = {"name": clean(sweep.experiment), "created_us": to_us(sweep.created_at)}
            insert(connection, EXPERIMENTS, [experiment])
            insert(connection, ENVIRONMENTS, [environment_row(environment)])
            if artifacts:
                self._write_artifacts(connection, artifacts, now_us())
            connection.execute(t.SWEEP.insert().values(_sweep_row(sweep)))

    def record_versions(self, workflow: WorkflowVersion, operators: Sequence[OperatorVersion]) -> None:
        """Record a compiled graph of a sweep with the code behind it; what is known already stays."""
        now = now_us()
        graph_id, text = _graph_of(workflow)
        with self.database.write() as connection:
            insert = self.database.insert
            insert(connection, GRAPHS, [{"id": graph_id, "body": text}])
            insert(connection, WORKFLOW_VERSIONS, [version_row(workflow, now) | {"graph_id": graph_id}])
            insert(connection, OPERATOR_VERSIONS, [version_row(o, now) for o in operators])
            insert(connection, WORKFLOW_OPERATORS, [call_row(workflow, o) for o in operators])

    def record_trials(
        self, sweep_id: str, process: Owner, batch: TrialBatch, node_executions: Mapping[str, int]
    ) -> None:
        """Record what has happened in a sweep, in one transaction.

        The bytes of the artifacts must be safe already. A trial that has ended stays as it is.

        Args:
            process: who drives the sweep.

        Raises:
            LeaseLost: another process has recorded it as CRASHED, or goes on with it; nothing is written.
        """
        if not (batch.begun or batch.nodes or batch.lines or batch.ended or batch.artifacts):
            return
        now = now_us()
        insert = self.database.insert
        with self.database.write() as connection:
            # First, so that a driver that wakes after its sweep was taken over writes nothing more.
            statement = _update_driven(sweep_id, process)
            written = connection.execute(statement.values(node_executions=json_text(node_executions)))
            if written.rowcount == 0:
                raise make_lease_lost("sweep", sweep_id)
            self._write_begun(connection, batch.begun)
            artifacts = [*batch.artifacts, *(a for e in batch.ended for a in e.artifacts)]
            if artifacts:
                self._write_artifacts(connection, artifacts, now)
            workflow = self._sweep_workflow(connection, sweep_id)
            insert(connection, USES, [use_row(run_id, "", "part", h, h) for run_id, h in batch.parts])
            self._write_nodes(connection, workflow, [(run_id, n) for (run_id, _), n in batch.nodes.items()])
            insert(connection, ENTRIES, [entry_row(e, now) for e in batch.entries.values()])
            insert(connection, LOGS, [log_row(run_id, line) for run_id, line in batch.lines])
            self._write_ended(connection, batch.ended)

    def _write_begun(
        self, connection: Connection, begun: Sequence[tuple[RunRecord, WorkflowVersion]]
    ) -> None:
        graphs = {id(w): _graph_of(w)[0] for w in {id(w): w for _, w in begun}.values()}
        insert = self.database.insert
        insert(connection, RUNS, [run_row(run) | {"graph_id": graphs[id(w)]} for run, w in begun])
        insert(connection, PARAMS, [row for run, _ in begun for row in param_rows(run.id, run.params)])
        insert(connection, TAGS, [row for run, _ in begun for row in tag_rows(run.id, run.tags)])
        insert(connection, USES, [row for run, _ in begun for row in run_uses(run)])

    def _write_ended(self, connection: Connection, ended: Sequence[TrialEnd]) -> None:
        if not ended:
            return
        rows = [
            {
                "b_id": end.run_id,
                "status": end.status.value,
                "finished_us": to_us(end.finished_at),
                "outputs": outputs_text(end.outputs),
                "error_type": end.error.type if end.error else None,
                "error": error_text(end.error),
            }
            for end in ended
        ]
        self.database.run(connection, self.database.get_prepared(build_finish), rows)
        uses = [use_row(e.run_id, "", "result", o.name, o.hash) for e in ended for o in e.outputs]
        self.database.insert(connection, USES, uses)
        history: list[dict[str, Any]] = []
        latest: list[dict[str, Any]] = []
        for end in ended:
            if end.metrics:
                points, last = metric_rows(end.run_id, end.metrics)
                history += points
                latest += last
        if history:
            self.database.insert(connection, POINTS, history)
            self.database.run(connection, self.database.get_prepared(build_metrics), latest)

    def reopen_trials(self, run_ids: Sequence[str], process: Owner) -> None:
        """Let trials that did not complete run again under their numbers; what they recorded so far goes."""
        values = {"status": Status.RUNNING.value, "started_us": now_us(), "finished_us": None}
        values |= {"error": None, "error_type": None, "outputs": "[]", **process_row(process)}
        with self.database.write() as connection:
            for some in chunks(run_ids):
                connection.execute(update(t.RUN).where(_r.id.in_(some)).values(values))
                for table in (t.NODE_RUN, t.METRIC, t.METRIC_POINT):
                    connection.execute(table.delete().where(table.c.run_id.in_(some)))

    def update_sweep(self, sweep_id: str, **fields: Any) -> None:
        """Change what was recorded of a sweep: status, started_at, finished_at, error, process, notes, tags,
        prefect_flow_run_id, prefect_api_url, stop_requested."""
        values: dict[str, Any] = {}
        for name, value in fields.items():
            if name in ("started_at", "finished_at"):
                values[name.replace("_at", "_us")] = to_us(value)
            elif name == "status":
                values[name] = Status(value).value
            elif name == "error":
                values[name] = error_text(value)
            elif name == "process":
                values |= process_row(value)
            elif name == "tags":
                values[name] = json_text(value)
            else:
                values[name] = clean(value) if isinstance(value, str) else value
        with self.database.write() as connection:
            if connection.execute(update(t.SWEEP).where(_s.id == sweep_id).values(values)).rowcount == 0:
                raise NotFoundError(f"no sweep '{sweep_id}' in catalog {self.database.place}")

    def claim_sweep(
        self, sweep_id: str, process: Owner, seen: Owner | None, is_dead: Callable[[Owner], bool]
    ) -> None:
        """Let a process go on with a sweep whose driver is gone or has ended it.

        Args:
            seen: its driver when its trials were read; since then another one may have run them.

        Raises:
            UsageError: another process drives it, or did after its trials were read.
        """
        with self.database.write() as connection:
            row = connection.execute(select(t.SWEEP).where(_s.id == sweep_id)).mappings().one()
            driver = to_process(row)
            is_open = row["status"] in OPEN
            if is_open and driver is not None and driver != process and not is_dead(driver):
                raise UsageError(
                    f"sweep {sweep_id} is driven by process {driver.pid} on {driver.host} already"
                )
            if driver is not None and driver != seen:
                raise UsageError(
                    f"sweep {sweep_id}: process {driver.pid} on {driver.host} went on with it meanwhile; "
                    f"`flowlearner sweeps show {sweep_id[:8]}` shows what it did"
                )
            values: dict[str, Any] = {"status": Status.RUNNING.value, "finished_us": None, "error": None}
            values |= {"stop_requested": False, **process_row(process)}
            connection.execute(update(t.SWEEP).where(_s.id == sweep_id).values(values))

    def finish_sweep(
        self,
        sweep_id: str,
        process: Owner | None,
        status: Status,
        finished_at: datetime,
        error: ErrorInfo | None = None,
    ) -> bool:
        """Record how a sweep ended that a process drives; False where it had ended, or another one does."""
        values = {"status": status.value, "finished_us": to_us(finished_at), "error": error_text(error)}
        with self.database.write() as connection:
            return connection.execute(_update_driven(sweep_id, process).values(values)).rowcount == 1

    def link_sweep(self, sweep_id: str, process: Owner, flow_run_id: str, api_url: str) -> None:
        """Note the Prefect flow run of a sweep that a process drives or has ended: it may begin so late."""
        values = {"prefect_flow_run_id": flow_run_id, "prefect_api_url": api_url}
        mine = update(t.SWEEP).where(*_is_driven(sweep_id, process), _s.status != Status.CRASHED.value)
        with self.database.write() as connection:
            connection.execute(mine.values(values))

    def is_stop_requested(self, sweep_id: str) -> bool:
        """Whether somebody has asked a sweep to stop."""
        with self.database.read() as connection:
            return bool(connection.scalar(select(_s.stop_requested).where(_s.id == sweep_id)))

    # Reading

    def resolve_sweep_id(self, prefix: str) -> str:
        """Return the whole id of the only sweep whose id starts with `prefix`.

        Raises:
            NotFoundError: none does, or several do.
        """
        with self.database.read() as connection:
            prefix = clean(prefix)
            found: Sequence[str] = []
            if prefix:
                statement = select(_s.id).where(starts_with(_s.id, prefix)).order_by(_s.id)
                found = connection.scalars(statement.limit(CANDIDATES_SHOWN)).all()
            if prefix in found or len(found) == 1:
                return prefix if prefix in found else found[0]
            if not found:
                raise NotFoundError(
                    f"no sweep '{prefix}' in the catalog; `flowlearner sweeps list` shows the latest"
                )
            raise NotFoundError(f"sweep '{prefix}' is ambiguous: {shorten(found)}. Give more of the id")

    def get_sweep(self, sweep_id: str) -> SweepRecord:
        """Return a sweep by its id or the beginning of it.

        Raises:
            NotFoundError: no sweep has the id, or several start with it.
        """
        whole = self.resolve_sweep_id(sweep_id)
        with self.database.read() as connection:
            row = connection.execute(select(t.SWEEP).where(_s.id == whole)).mappings().one()
            return self._to_sweeps(connection, [row])[0]

    def list_sweeps(
        self,
        *,
        workflow: str | None = None,
        experiment: str | None = None,
        status: Status | None = None,
        limit: int | None = 50,
        offset: int = 0,
    ) -> list[SweepRecord]:
        """Return sweeps, newest first."""
        statement = select(t.SWEEP).order_by(_s.created_us.desc(), _s.id)
        for column, value in ((_s.workflow, workflow), (_s.experiment, experiment), (_s.status, status)):
            if value is not None:
                statement = statement.where(column == clean(value))
        with self.database.read() as connection:
            rows = connection.execute(page(statement, limit, offset)).mappings().all()
            return self._to_sweeps(connection, rows)

    def list_trials(self, sweep_id: str) -> list[TrialRecord]:
        """Return all trials of a sweep by their numbers; three statements, however many they are.

        Raises:
            NotFoundError: no such sweep.
        """
        sweep = self.get_sweep(sweep_id)
        columns = (_r.trial_number, _r.id, _r.status, _r.params, _r.started_us, _r.finished_us, _r.error)
        mine = _r.sweep_id == sweep.id
        varied = list(sweep.spec.get("space", {}))
        with self.database.read() as connection:
            values: dict[str, dict[str, float]] = {}
            # A trial that was stopped has no output of the name, but what a node reported last.
            reported = [_m.name.endswith(f".{name}", autoescape=True) for name in sweep.metrics]
            for run_id, name, value in connection.execute(
                select(_m.run_id, _m.name, _m.value)
                .join(t.RUN, _r.id == _m.run_id)
                .where(mine, or_(_m.name.in_(sweep.metrics), *reported))
            ):
                values.setdefault(run_id, {})[name] = to_number(value)
            trials = []
            for number, run_id, status, params, started, finished, error in connection.execute(
                select(*columns).where(mine).order_by(_r.trial_number)
            ):
                found, given = values.get(run_id, {}), from_json(params)
                trials.append(
                    TrialRecord(
                        number=number,
                        run_id=run_id,
                        status=Status(status),
                        point={name: given[name] for name in varied if name in given},
                        values=tuple(_find_value(found, name) for name in sweep.metrics),
                        started_at=from_us(started),
                        finished_at=from_us(finished),
                        error=to_error(error),
                    )
                )
            return trials

    def _sweep_workflow(self, connection: Connection, sweep_id: str) -> str:
        workflow = self._workflows.get(sweep_id)
        if workflow is None:
            workflow = connection.scalar(select(_s.workflow).where(_s.id == sweep_id))
            if workflow is None:
                raise NotFoundError(f"no sweep '{sweep_id}' in catalog {self.database.place}")
            self._workflows[sweep_id] = workflow
        return str(workflow)

    def _to_sweeps(self, connection: Connection, rows: Sequence[Any]) -> list[SweepRecord]:
        counts: dict[str, dict[str, int]] = {row["id"]: {} for row in rows}
        for some in chunks(counts):
            grouped = select(_r.sweep_id, _r.status, func.count()).where(_r.sweep_id.in_(some))
            for sweep_id, status, count in connection.execute(grouped.group_by(_r.sweep_id, _r.status)):
                counts[sweep_id][status] = count
        return [_to_sweep(row, counts[row["id"]]) for row in rows]


def _find_value(found: Mapping[str, float], metric: str) -> float | None:
    if metric in found:
        return found[metric]
    return next((v for name, v in found.items() if name.endswith(f".{metric}")), None)


def _graph_of(workflow: WorkflowVersion) -> tuple[str, str]:
    text = json_text(workflow.graph)
    return hashlib.sha256(text.encode()).hexdigest(), text


def _update_driven(sweep_id: str, process: Owner | None) -> Any:
    """Return the change of a sweep that has not ended, as long as the process drives it."""
    return update(t.SWEEP).where(*_is_driven(sweep_id, process), _s.status.in_(OPEN))


def _is_driven(sweep_id: str, process: Owner | None) -> list[Any]:
    return [_s.id == sweep_id, *(_s[name] == value for name, value in process_row(process).items())]


def _sweep_row(sweep: SweepRecord) -> dict[str, Any]:
    return {
        "id": sweep.id,
        "workflow": sweep.workflow,
        "workflow_fingerprint": sweep.workflow_fingerprint,
        "experiment": clean(sweep.experiment),
        "status": sweep.status.value,
        "owner": clean(sweep.owner),
        "created_us": to_us(sweep.created_at),
        "started_us": to_us(sweep.started_at),
        "finished_us": to_us(sweep.finished_at),
        "metrics": json_text(list(zip(sweep.metrics, sweep.modes, strict=True))),
        "spec": json_text(sweep.spec),
        "tags": json_text(sweep.tags),
        "notes": clean(sweep.notes),
        "error": error_text(sweep.error),
        "node_executions": json_text(sweep.node_executions),
        "code_commit": sweep.code.commit,
        "code_branch": sweep.code.branch,
        "code_dirty": sweep.code.dirty,
        "code_snapshot": sweep.code.snapshot,
        "code_diff": sweep.code.diff,
        "prefect_flow_run_id": sweep.prefect_flow_run_id,
        "prefect_api_url": sweep.prefect_api_url,
        "stop_requested": sweep.stop_requested,
        "command": clean(sweep.command),
    } | process_row(sweep.process)


def _to_sweep(row: Any, counts: Mapping[str, int]) -> SweepRecord:
    created_at = from_us(row["created_us"])
    assert created_at is not None, "every sweep has a time"
    metrics = from_json(row["metrics"])
    return SweepRecord(
        id=row["id"],
        workflow=row["workflow"],
        experiment=row["experiment"],
        status=Status(row["status"]),
        owner=row["owner"],
        created_at=created_at,
        metrics=tuple(name for name, _ in metrics),
        modes=tuple(mode for _, mode in metrics),
        spec=from_json(row["spec"]),
        started_at=from_us(row["started_us"]),
        finished_at=from_us(row["finished_us"]),
        workflow_fingerprint=row["workflow_fingerprint"],
        tags=from_json(row["tags"]),
        notes=row["notes"],
        error=to_error(row["error"]),
        counts=counts,
        node_executions=from_json(row["node_executions"]),
        code=to_code(row),
        process=to_process(row),
        command=row["command"],
        prefect_flow_run_id=row["prefect_flow_run_id"],
        prefect_api_url=row["prefect_api_url"],
        stop_requested=bool(row["stop_requested"]),
    )
