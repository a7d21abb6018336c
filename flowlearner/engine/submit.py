"""From a workflow and parameters to a finished, recorded run."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flowlearner.artifacts import ArtifactStore
from flowlearner.cache import BoundValue
from flowlearner.capture import read_commit, read_environment, take_snapshot
from flowlearner.catalog import Catalog
from flowlearner.config import Settings
from flowlearner.definition import Definition
from flowlearner.engine.base import EXECUTORS, RunListener, RunOptions, check_resources, utc_now
from flowlearner.engine.local import LocalLauncher
from flowlearner.engine.logs import captured
from flowlearner.engine.node import describe_error
from flowlearner.engine.scheduler import Launcher, RunContext, Scheduler, bind_literal
from flowlearner.errors import FlowLearnerError, NotFoundError, ParameterError, UserError, shorten, suggest
from flowlearner.graph import Graph
from flowlearner.inputs import InputResolver
from flowlearner.interface import Param
from flowlearner.lease import get_process_owner
from flowlearner.params import ARTIFACT_PREFIX, BoundParams, bind_params
from flowlearner.records import (
    Artifact,
    CodeInfo,
    ErrorInfo,
    OperatorVersion,
    RunRecord,
    Status,
    WorkflowVersion,
)

HIDDEN = "***"


@dataclass(frozen=True)
class Submission:
    """A run that was checked and has not begun."""

    definition: Definition
    graph: Graph
    bound: BoundParams
    options: RunOptions
    settings: Settings
    listener: RunListener

    @property
    def secrets(self) -> tuple[str, ...]:
        values = (self.bound.values.get(n) for n in self.bound.secrets)
        return tuple(str(v) for v in values if v)


@dataclass(frozen=True)
class PlanRow:
    """What a node would do.

    Attributes:
        action: "hit", "run", or "unknown" where it depends on what an earlier node gives.
    """

    node: str
    operator: str
    action: str
    reason: str
    cached_from: str | None = None


def prepare(
    definition: Definition,
    params: Mapping[str, Any],
    options: RunOptions,
    settings: Settings,
    listener: RunListener | None = None,
) -> Submission:
    """Check everything that can be checked before a run begins; nothing is written.

    Raises:
        ParameterError: a parameter is missing, unknown, of another type or out of range.
        CompileError: the workflow does not compile.
        ResourceError: a node asks for more than this machine has.
        InputError: a named file does not exist.
    """
    if options.executor not in EXECUTORS:
        known = shorten(EXECUTORS)
        raise ParameterError(f"no executor '{options.executor}'; there are {known}.{suggest(options.executor, EXECUTORS)}")
    bound = bind_params(definition, params, options.seed)
    graph = definition.compile(**bound.static)
    check_resources(graph)
    for name in options.refresh:
        if name not in graph.by_name:
            raise NotFoundError(
                f"refresh: workflow '{graph.workflow}' has no node '{name}'; it has "
                f"{shorten(graph.by_name)}.{suggest(name, graph.by_name)}"
            )
    for name, value in bound.values.items():
        InputResolver.check_exists(definition.interface.by_name[name], value)
    return Submission(definition, graph, bound, options, settings, listener or RunListener())


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[tuple[Catalog, ArtifactStore]]:
    """Open the catalog and the artifact store of the settings."""
    catalog = Catalog(settings.catalog_url)
    try:
        yield catalog, ArtifactStore(settings.artifacts_url, settings.inline_limit_bytes)
    finally:
        catalog.close()


def bind_values(
    submission: Submission, resolver: InputResolver
) -> tuple[dict[str, BoundValue], list[Artifact], dict[str, Any]]:
    """Hash and store the parameters.

    Returns:
        bound values, the artifacts behind them, and the parameters as they are recorded.
    """
    values: dict[str, BoundValue] = {}
    artifacts: list[Artifact] = []
    recorded: dict[str, Any] = {name: _as_json(v) for name, v in submission.bound.static.items()}
    for name, value in submission.bound.values.items():
        param = submission.definition.interface.by_name[name]
        if name in submission.bound.secrets:
            values[name], recorded[name] = bind_literal(value, param), HIDDEN
        elif _is_plain(param, value):
            values[name], recorded[name] = bind_literal(value, param), value
        else:
            artifact = resolver.resolve(param, value)
            artifacts.append(artifact)
            values[name] = BoundValue(artifact.hash, artifact)
            recorded[name] = {"type": artifact.type, "hash": artifact.hash, "source": _source_of(value)}
    return values, artifacts, recorded


def _is_plain(param: Param, value: Any) -> bool:
    if param.type.kind == "file" or (param.type.is_table and value is not None):
        return False
    if isinstance(value, str) and value.startswith(ARTIFACT_PREFIX) and param.type.base is not str:
        return False
    return value is None or isinstance(value, (bool, int, float, str))


def _as_json(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_as_json(v) for v in value]
    return str(getattr(value, "name", value))


def _source_of(value: Any) -> str | None:
    if not isinstance(value, (str, os.PathLike)):
        return None
    text = os.fspath(value)
    remote = "://" in text or text.startswith(ARTIFACT_PREFIX)
    return text if remote else str(Path(text).absolute())


def execute(
    definition: Definition,
    params: Mapping[str, Any],
    options: RunOptions,
    settings: Settings,
    listener: RunListener | None = None,
    run_flow: Callable[[Submission], str] | None = None,
) -> str:
    """Run a workflow to its end and return the run's id.

    A node that fails makes the run FAILED and does not raise here.

    Args:
        run_flow: how a run on Prefect is made; the `prefect` executor passes it.

    Raises:
        UsageError, InputError, PlatformError: before the run began, or the platform failed in it.
        KeyboardInterrupt: Ctrl-C; the run is recorded as CANCELLED.
    """
    submission = prepare(definition, params, options, settings, listener)
    if options.executor == "prefect":
        assert run_flow is not None, "the caller passes how a flow is run"
        return run_flow(submission)
    return run_submission(submission, LocalLauncher())


def run_submission(
    submission: Submission,
    launcher: Launcher,
    run_id: str | None = None,
    flow_run_id: str | None = None,
    api_url: str | None = None,
    on_status: Callable[[Status, ErrorInfo | None], None] | None = None,
) -> str:
    """Record a submission as a run, drive its nodes with a launcher, and record how it ended."""
    run_id = run_id or new_run_id()
    with opened(submission.settings) as (catalog, store), captured():
        resolver = InputResolver(catalog, store, submission.settings.file_limit_bytes)
        record, workflow, operators = describe_run(submission, run_id, flow_run_id, api_url)
        try:
            snapshot = take_snapshot(submission.definition.fn.__module__, submission.settings.snapshot_limit_bytes)
            stored = store.put(snapshot.encode())
            record = replace(record, code=replace(record.code, snapshot=stored.hash))
            values, artifacts, recorded = bind_values(submission, resolver)
            record = replace(record, params=recorded)
        except UserError as error:
            info = describe_error(error, submission.secrets)
            catalog.begin_run(record, workflow, operators)
            submission.listener.run_started(run_id, submission.graph)
            catalog.finish_run(run_id, Status.FAILED, utc_now(), (), (), info)
            submission.listener.run_finished(run_id, Status.FAILED)
            if on_status:
                on_status(Status.FAILED, info)
            return run_id
        catalog.begin_run(record, workflow, operators)
        submission.listener.run_started(run_id, submission.graph)
        context = RunContext(
            run_id=run_id,
            graph=submission.graph,
            params=values,
            options=submission.options,
            catalog=catalog,
            store=store,
            listener=submission.listener,
            secrets=submission.secrets,
            artifacts=[stored, *artifacts],
        )
        scheduler = Scheduler(context)
        with _cancel_on_signal(scheduler) as interrupted:
            status = _drive(scheduler, launcher, catalog)
        submission.listener.run_finished(run_id, status)
        if on_status:
            on_status(status, scheduler.first_error())
        if interrupted.is_set():
            raise KeyboardInterrupt
        if scheduler.platform_error is not None:
            raise scheduler.platform_error
    return run_id


def _drive(scheduler: Scheduler, launcher: Launcher, catalog: Catalog) -> Status:
    run_id = scheduler.context.run_id
    try:
        status = scheduler.run(launcher)
    except BaseException as error:
        scheduler.cancel()
        for task in scheduler.running.values():
            task.cancel()
        ended = Status.CANCELLED if isinstance(error, KeyboardInterrupt) else Status.FAILED
        with contextlib.suppress(FlowLearnerError):
            catalog.finish_run(run_id, ended, utc_now(), (), (), describe_error(error, scheduler.context.secrets))
        raise
    outputs = scheduler.collect_outputs()
    metrics = scheduler.collect_metrics(outputs)
    catalog.finish_run(run_id, status, utc_now(), outputs, metrics, scheduler.first_error())
    return status


@contextlib.contextmanager
def _cancel_on_signal(scheduler: Scheduler) -> Iterator[threading.Event]:
    """Let the first Ctrl-C (or SIGTERM) cancel the run in good order; a second one interrupts at once."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def handle(number: int, frame: Any) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        scheduler.cancel()

    before = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def describe_run(
    submission: Submission, run_id: str, flow_run_id: str | None, api_url: str | None
) -> tuple[RunRecord, WorkflowVersion, list[OperatorVersion]]:
    """Collect what is recorded of a run when it begins."""
    definition, graph, options = submission.definition, submission.graph, submission.options
    fingerprint = definition.fingerprint()
    now = utc_now()
    file = Path(definition.fn.__code__.co_filename)
    code = read_commit(file.parent) if file.exists() else CodeInfo()
    unresolved = {
        name: HIDDEN if name in submission.bound.secrets else _source_of(v) if not _is_json(v) else v
        for name, v in {**submission.bound.static, **submission.bound.values}.items()
    }
    record = RunRecord(
        id=run_id,
        workflow=definition.name,
        experiment=options.experiment,
        status=Status.RUNNING,
        owner=getpass.getuser(),
        created_at=now,
        started_at=now,
        workflow_fingerprint=fingerprint.digest,
        executor=options.executor,
        run_seed=options.seed,
        params=unresolved,
        tags=dict(options.tags),
        notes=options.notes,
        parent_id=options.parent_id,
        code=code,
        environment=read_environment(),
        process=get_process_owner(),
        command=_hide(options.command or " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]), submission.secrets),
        prefect_flow_run_id=flow_run_id,
        prefect_api_url=api_url,
    )
    workflow = WorkflowVersion(
        name=definition.name,
        fingerprint=fingerprint.digest,
        module=definition.fn.__module__,
        source=fingerprint.source,
        doc=definition.interface.doc,
        interface=definition.interface.to_json(),
        graph=graph.to_json(),
    )
    operators = {n.operator.name: n.operator for n in graph.nodes}
    versions = [
        OperatorVersion(
            name=op.name,
            fingerprint=op.fingerprint().digest,
            module=op.fn.__module__,
            source=op.fingerprint().source,
            doc=op.interface.doc,
            interface=op.interface.to_json(),
        )
        for op in operators.values()
    ]
    return record, workflow, versions


def _is_json(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _hide(text: str, hidden: tuple[str, ...]) -> str:
    for secret in hidden:
        text = text.replace(secret, HIDDEN)
    return text


def new_run_id() -> str:
    return secrets.token_hex(8)


def plan(
    definition: Definition, params: Mapping[str, Any], options: RunOptions, settings: Settings
) -> list[PlanRow]:
    """Say what a run would take from the cache and what it would run; nothing runs or is recorded.

    Raises:
        UsageError, InputError: as for a run.
    """
    submission = prepare(definition, params, options, settings)
    with opened(settings) as (catalog, store):
        resolver = InputResolver(catalog, store, settings.file_limit_bytes)
        values, _, _ = bind_values(submission, resolver)
        context = RunContext("", submission.graph, values, options, catalog, store, RunListener())
        scheduler = Scheduler(context)
        rows: dict[str, PlanRow] = {}
        known = set()
        for node in submission.graph.nodes:
            if not all(name in known for name in node.upstream):
                behind = shorten([n for n in node.upstream if n not in known])
                rows[node.name] = PlanRow(node.name, node.operator.name, "unknown", f"depends on what {behind} gives")
                continue
            hits, tasks = scheduler.decide([node.name])
            if hits:
                known.add(node.name)
                rows[node.name] = PlanRow(node.name, node.operator.name, "hit", "", hits[0].cached_from)
            else:
                rows[node.name] = PlanRow(node.name, node.operator.name, "run", tasks[0].reason)
        return list(rows.values())


