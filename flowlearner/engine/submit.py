"""From a workflow and parameters to a finished, recorded run."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import secrets
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from flowlearner.artifacts import ArtifactStore, Encoded
from flowlearner.cache import BoundValue
from flowlearner.capture import read_changes, read_environment, take_snapshot
from flowlearner.catalog import Catalog
from flowlearner.config import Settings
from flowlearner.definition import Definition
from flowlearner.engine.base import (
    EXECUTORS,
    Origin,
    RunContext,
    RunListener,
    RunOptions,
    check_resources,
    utc_now,
)
from flowlearner.engine.binding import Binder, find_secrets, is_artifact
from flowlearner.engine.crashes import settle_crashes
from flowlearner.engine.given import bind_values, describe_params
from flowlearner.engine.interruption import Interruption
from flowlearner.engine.local import LocalLauncher
from flowlearner.engine.logs import captured, hide_secrets
from flowlearner.engine.node import describe_error
from flowlearner.engine.result import choose_status, collect_metrics, collect_outputs, find_error
from flowlearner.engine.scheduler import Scheduler
from flowlearner.engine.task import Launcher
from flowlearner.errors import (
    FlowLearnerError,
    LeaseLost,
    NotFoundError,
    ParameterError,
    UsageError,
    UserError,
    make_lease_lost,
    shorten,
    suggest,
)
from flowlearner.graph import Graph, Literal
from flowlearner.heartbeat import beating
from flowlearner.inputs import InputResolver, find_artifact
from flowlearner.lease import get_process_owner
from flowlearner.params import ARTIFACT_PREFIX, BoundParams, bind_params, check_limits
from flowlearner.records import (
    Artifact,
    CodeInfo,
    ErrorInfo,
    MetricPoint,
    OperatorVersion,
    OutputRecord,
    RunRecord,
    Status,
    WorkflowVersion,
)
from flowlearner.restoring import get_first_name
from flowlearner.secrecy import HIDDEN, conceal, hide_in_source, list_spellings


@dataclass(frozen=True)
class Submission:
    """A run that was checked and has not begun."""

    definition: Definition
    graph: Graph
    bound: BoundParams
    options: RunOptions
    settings: Settings
    listener: RunListener
    origin: Origin = field(default_factory=Origin)

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """Texts that are never recorded: each secret, and how it may stand in other texts."""
        texts: list[str] = []
        for name in self.bound.secrets:
            conceal(self.bound.values[name], self.definition.interface.by_name[name].type, texts)
        for node in self.graph.nodes:
            for name, binding in node.inputs.items():
                find_secrets(binding, node.operator.interface.by_name[name].type, texts)
        return list_spellings(texts)


@dataclass(frozen=True)
class PlanRow:
    """What a node would do.

    Attributes:
        action: "cached", "run", or "unknown" where it depends on what an earlier node gives.
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
    origin: Origin | None = None,
) -> Submission:
    """Check everything that can be checked before a run begins; nothing of it is recorded.

    Raises:
        ParameterError: a parameter is missing, unknown, of another type or out of range.
        CompileError: the workflow does not compile.
        ResourceError: a node asks for more than this machine has.
        InputError: a named file does not exist.
        NotFoundError: a named artifact does not exist.
        UsageError: a secret stood in code that is run again.
    """
    if options.executor not in EXECUTORS:
        known = shorten(EXECUTORS)
        raise ParameterError(
            f"no executor '{options.executor}'; there are {known}.{suggest(options.executor, EXECUTORS)}"
        )
    bound = bind_params(definition, params, options.seed)
    origin = origin or Origin()
    graph = pin_inputs(definition.compile_with(bound.static, origin.operators), origin.pinned)
    check_limits(graph, bound.values)
    check_resources(graph)
    for name in options.refresh:
        if name not in graph.by_name:
            raise NotFoundError(
                f"refresh: workflow '{graph.workflow}' has no node '{name}'; it has "
                f"{shorten(graph.by_name)}.{suggest(name, graph.by_name)}"
            )
    for name, value in bound.values.items():
        InputResolver.check_exists(definition.interface.by_name[name], value)
    by_hash = {n: str(v) for n, v in bound.values.items() if is_artifact(definition.interface.by_name[n], v)}
    if by_hash:
        with opened(settings) as (catalog, _):
            for name, text in by_hash.items():
                find_artifact(catalog, name, text.removeprefix(ARTIFACT_PREFIX))
    submission = Submission(definition, graph, bound, options, settings, listener or RunListener(), origin)
    check_secrets(submission)
    return submission


def check_secrets(submission: Submission) -> None:
    """Refuse code from a snapshot that names a secret itself, for that was not stored.

    Raises:
        UsageError: one of the secrets is what stands for it.
    """
    if HIDDEN in submission.secrets:
        raise UsageError(
            f"workflow '{submission.definition.name}': a Secret that stood in its code was not stored with "
            "it. Make it a parameter, which is given again, and run the code of today"
        )


def pin_inputs(graph: Graph, pinned: Mapping[tuple[str, str], str]) -> Graph:
    """Return a graph in which inputs that the workflow itself names are bound to other values.

    Args:
        pinned: the values, by node and input.
    """
    if not pinned:
        return graph
    return replace(
        graph,
        nodes=tuple(
            replace(
                node,
                inputs={
                    name: Literal(pinned[node.name, name]) if (node.name, name) in pinned else binding
                    for name, binding in node.inputs.items()
                },
            )
            for node in graph.nodes
        ),
    )


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[tuple[Catalog, ArtifactStore]]:
    """Open the catalog and the artifact store of the settings."""
    catalog = Catalog(settings.catalog_url)
    try:
        yield catalog, ArtifactStore(settings.artifacts_url, settings.inline_limit_bytes)
    finally:
        catalog.close()


def execute(
    definition: Definition,
    params: Mapping[str, Any],
    options: RunOptions,
    settings: Settings,
    listener: RunListener | None = None,
    run_flow: Callable[[Submission], str] | None = None,
    origin: Origin | None = None,
) -> str:
    """Run a workflow to its end and return the run's id.

    A node that fails makes the run FAILED and does not raise here.

    Args:
        run_flow: how a run on Prefect is made; the `prefect` executor passes it.
        origin: what the run has from an earlier one.

    Raises:
        UsageError, InputError, PlatformError: before the run began, or the platform failed in it.
        KeyboardInterrupt: Ctrl-C; the run is recorded as CANCELLED.
    """
    return execute_submission(prepare(definition, params, options, settings, listener, origin), run_flow)


def execute_submission(submission: Submission, run_flow: Callable[[Submission], str] | None = None) -> str:
    """Run what was prepared to its end and return the run's id; see `execute`."""
    if submission.options.executor == "prefect":
        assert run_flow is not None, "the caller passes how a flow is run"
        return run_flow(submission)
    with LocalLauncher() as launcher:
        return run_submission(submission, launcher)


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
    with (
        opened(submission.settings) as (catalog, store),
        beating(catalog),
        captured(),
        Interruption() as interruption,
    ):
        code, captured_code = capture_code(submission)
        record, workflow, operators = describe_run(submission, code, run_id, flow_run_id, api_url)
        stored = [store.put(encoded) for encoded in captured_code]
        context = RunContext(
            run_id=run_id,
            graph=submission.graph,
            options=submission.options,
            catalog=catalog,
            store=store,
            listener=submission.listener,
            secrets=submission.secrets,
            earlier=submission.origin.earlier,
        )
        resolver = InputResolver(catalog, store, submission.settings.file_limit_bytes)
        values: dict[str, BoundValue] = {}
        scheduler = Scheduler(context, Binder(values, submission.options.seed, resolver))
        settle_crashes(catalog)
        # A run that is killed at once can be run again: its code is there from its beginning.
        catalog.begin_run(record, workflow, operators, stored)
        status = Status.FAILED
        failure: ErrorInfo | None = None
        try:
            submission.listener.run_started(run_id, submission.graph)
            # It may have gone as garbage until the run began, which holds the collection of garbage up.
            for encoded in captured_code:
                store.put(encoded)
            # To read large inputs takes a while, in which people look for the run.
            failure = read_inputs(submission, resolver, context, values)
            if failure is None:
                interruption.steps = (scheduler.cancel,)
                scheduler.run(launcher)
                status, failure = finish(scheduler)
            else:
                record_end(context, status, (), (), failure)
        except BaseException as error:
            status = choose_end(error)
            failure = describe_error(error, submission.secrets)
            finish_early(scheduler, status, failure)
            if isinstance(error, FlowLearnerError):
                error.run_id = run_id
            raise
        finally:
            submission.listener.run_finished(run_id, status)
            if on_status:
                on_status(status, failure)
        if interruption.count:
            raise KeyboardInterrupt
        if scheduler.platform_error is not None:
            scheduler.platform_error.run_id = run_id
            raise scheduler.platform_error
    return run_id


def read_inputs(
    submission: Submission, resolver: InputResolver, context: RunContext, values: dict[str, BoundValue]
) -> ErrorInfo | None:
    """Bind the parameters of a run that has begun, into `values`; return why that cannot be."""
    try:
        bound, artifacts, recorded = bind_values(
            submission.definition, submission.bound, resolver, context.store
        )
    except (UserError, NotFoundError) as error:
        return describe_error(error, submission.secrets)
    values.update(bound)
    if artifacts:
        with context.catalog.batch():
            context.catalog.record_nodes(context.run_id, (), artifacts)
            context.catalog.update_run(context.run_id, params=recorded)
    return None


def finish(scheduler: Scheduler) -> tuple[Status, ErrorInfo | None]:
    """Record how a run ended whose nodes have all ended."""
    context, graph, done = scheduler.context, scheduler.graph, scheduler.done
    status, error = choose_status(done), find_error(graph, done)
    outputs: list[OutputRecord] = []
    artifacts: list[Artifact] = []
    try:
        outputs, artifacts = collect_outputs(graph, done, scheduler.binder, context.store)
    except UserError as broken:
        status, error = Status.FAILED, describe_error(broken, context.secrets)
    metrics = collect_metrics(graph, done, outputs)
    with context.catalog.batch():
        if artifacts:
            context.catalog.record_nodes(context.run_id, (), artifacts)
        record_end(context, status, outputs, metrics, error)
    return status, error


def record_end(
    context: RunContext,
    status: Status,
    outputs: Sequence[OutputRecord],
    metrics: Sequence[MetricPoint],
    error: ErrorInfo | None,
) -> None:
    """Record how a run ended.

    Raises:
        LeaseLost: another process has recorded it as CRASHED.
    """
    if not context.catalog.finish_run(context.run_id, status, utc_now(), outputs, metrics, error):
        raise make_lease_lost("run", context.run_id)


def choose_end(error: BaseException) -> Status:
    """Return the status of a run or sweep that an error has ended."""
    if isinstance(error, KeyboardInterrupt):
        return Status.CANCELLED
    return Status.CRASHED if isinstance(error, LeaseLost) else Status.FAILED


def finish_early(scheduler: Scheduler, status: Status, error: ErrorInfo) -> None:
    """Record as much as can be recorded of a run that the platform or a second Ctrl-C has ended.

    Where not even that can be written, the run reads CRASHED once this process is gone.
    """
    context = scheduler.context
    try:
        scheduler.abandon()
        context.catalog.finish_run(context.run_id, status, utc_now(), (), (), error)
    except FlowLearnerError:
        lost = scheduler.list_unrecorded()
        if lost:
            word = "it runs" if len(lost) == 1 else "they run"
            context.listener.say(f"Not recorded, so that {word} again: {shorten(lost)}")


def capture_code(submission: Submission) -> tuple[CodeInfo, list[Encoded]]:
    """Return where the code of a run comes from, and what is to be stored of it.

    That is the source of the user's modules, and how their checkout differs from its commit. The code of a
    run that is run again is what was captured then.
    """
    definition, origin, settings = submission.definition, submission.origin, submission.settings
    if origin.snapshot is not None:
        return replace(origin.code, snapshot=origin.snapshot.hash), [origin.snapshot]
    # Hashing code loads what functions import inside, which belongs to the snapshot.
    for node in submission.graph.nodes:
        node.operator.fingerprint()
    hide = partial(hide_in_source, spellings=submission.secrets)
    snapshot = take_snapshot(definition.fn.__module__, settings.snapshot_limit_bytes, hide).encode()
    code, changes = CodeInfo(), None
    file = Path(definition.fn.__code__.co_filename)
    # The cells of a notebook are in no file; it runs in its own folder.
    if file.exists() or definition.fn.__module__ == "__main__":
        folder = file.parent if file.exists() else Path.cwd()
        hide = partial(hide_secrets, secrets=submission.secrets)
        code, changes = read_changes(folder, settings.diff_limit_bytes, hide)
    encoded = [e for e in (snapshot, changes) if e is not None]
    return replace(code, snapshot=snapshot.hash, diff=changes.hash if changes else None), encoded


def describe_run(
    submission: Submission, code: CodeInfo, run_id: str, flow_run_id: str | None, api_url: str | None
) -> tuple[RunRecord, WorkflowVersion, list[OperatorVersion]]:
    """Collect what is recorded of a run when it begins."""
    definition, graph, options = submission.definition, submission.graph, submission.options
    fingerprint = definition.fingerprint()
    now = utc_now()
    record = RunRecord(
        id=run_id,
        workflow=definition.name,
        experiment=options.experiment,
        status=Status.RUNNING,
        owner=get_user(),
        created_at=now,
        started_at=now,
        workflow_fingerprint=fingerprint.digest,
        executor=options.executor,
        run_seed=options.seed,
        params=describe_params(definition, submission.bound),
        tags=dict(options.tags),
        notes=options.notes,
        parent_id=options.parent_id,
        changes=submission.origin.changes,
        code=code,
        environment=read_environment(),
        process=get_process_owner(),
        command=hide_secrets(
            options.command or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), submission.secrets
        ),
        prefect_flow_run_id=flow_run_id,
        prefect_api_url=api_url,
    )
    workflow, versions = describe_versions(definition, graph, submission.secrets)
    return record, workflow, versions


def describe_versions(
    definition: Definition, graph: Graph, secrets: Sequence[str]
) -> tuple[WorkflowVersion, list[OperatorVersion]]:
    """Return the code of a compiled workflow as it is recorded."""
    fingerprint = definition.fingerprint()
    workflow = WorkflowVersion(
        name=definition.name,
        fingerprint=fingerprint.digest,
        module=get_first_name(definition.fn.__module__),
        source=hide_in_source(fingerprint.source, secrets),
        doc=definition.interface.doc,
        interface=definition.interface.to_json(),
        graph=graph.to_json(),
    )
    operators = {n.operator.name: n.operator for n in graph.nodes}
    versions = [
        OperatorVersion(
            name=op.name,
            fingerprint=op.fingerprint().digest,
            module=get_first_name(op.fn.__module__),
            source=hide_in_source(op.fingerprint().source, secrets),
            doc=op.interface.doc,
            interface=op.interface.to_json(),
        )
        for op in operators.values()
    ]
    return workflow, versions


def get_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user need not have a name.
        return f"uid {os.getuid()}"


def new_run_id() -> str:
    return secrets.token_hex(8)


def is_run_id(text: str) -> bool:
    """Tell whether a text is like what `new_run_id` makes."""
    return re.fullmatch("[0-9a-f]{16}", text) is not None


def plan(
    definition: Definition, params: Mapping[str, Any], options: RunOptions, settings: Settings
) -> list[PlanRow]:
    """Say what a run would take from the cache and what it would run; nothing runs or is recorded.

    Raises:
        UsageError, InputError: as for a run.
    """
    submission = prepare(definition, params, options, settings)
    with opened(settings) as (catalog, store):
        resolver = InputResolver(catalog, store, settings.file_limit_bytes, dry=True)
        values, _, _ = bind_values(submission.definition, submission.bound, resolver, store)
        context = RunContext("", submission.graph, options, catalog, store, RunListener())
        scheduler = Scheduler(context, Binder(values, options.seed, resolver))
        rows: list[PlanRow] = []
        known = set()
        for node in submission.graph.nodes:
            behind = [name for name in node.upstream if name not in known]
            if behind:
                reason = f"depends on what {shorten(behind)} gives"
                rows.append(PlanRow(node.name, node.operator.name, "unknown", reason))
                continue
            ended, tasks = scheduler.decide([node.name])
            if ended and ended[0].cached:
                known.add(node.name)
                rows.append(PlanRow(node.name, node.operator.name, "cached", "", ended[0].cached_from))
            else:
                reason = tasks[0].reason if tasks else str(ended[0].error.message if ended[0].error else "")
                rows.append(PlanRow(node.name, node.operator.name, "run", reason))
        return rows
