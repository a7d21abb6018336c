"""Makes new runs of earlier ones: as they were, with changes, or from where they ended."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flowlearner.artifacts import ArtifactStore
from flowlearner.cache import Earlier
from flowlearner.catalog import Catalog
from flowlearner.config import Settings
from flowlearner.definition import CompileWarning, Definition
from flowlearner.engine.base import EXECUTORS, Origin, RunListener, RunOptions
from flowlearner.engine.binding import is_named
from flowlearner.engine.crashes import take_over
from flowlearner.engine.given import as_json, is_plain
from flowlearner.engine.submit import Submission, execute_submission, opened, prepare
from flowlearner.errors import ArtifactError, InputError, NotFoundError, UsageError, shorten, suggest
from flowlearner.graph import Graph, Literal
from flowlearner.operation import Operator, is_restoring
from flowlearner.params import ARTIFACT_PREFIX, bind_params
from flowlearner.records import Change, RunRecord, Status
from flowlearner.replay.code import Code, include_operators, opened_code
from flowlearner.replay.params import (
    find_named_operator,
    list_dropped,
    read_params,
    read_texts,
)
from flowlearner.secrecy import holds_secret

UNFINISHED = (Status.FAILED, Status.CANCELLED, Status.CRASHED)


@dataclass(frozen=True)
class Request:
    """How an earlier run is run again.

    Attributes:
        params: values that take the place of the run's own; texts where `are_texts`.
        operators: by node or operator the operator, or its name, that takes its place.
        current: today's code instead of that of the snapshot.
        cache: False looks nothing up.
        executor: "prefect" or "local"; the run's own if left out.
        command: the command line, for the record.
        is_same: it runs as it was, so that of parameters only secrets may be given.
        options: experiment, tags, notes and seed that take the place of the run's own.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    operators: Mapping[str, Operator[Any, Any] | str] = field(default_factory=dict)
    are_texts: bool = False
    current: bool = False
    cache: bool = True
    executor: str | None = None
    command: str = ""
    is_same: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Restored:
    """A run that is ready to be run again.

    Attributes:
        params: all parameters as they can be given.
        operators: what takes the place of operators: what the run had replaced itself, and what is asked for.
        graph: the workflow, compiled for these.
        pinned: what the files and tables held that the workflow names itself, by node and input.
    """

    run: RunRecord
    code: Code
    params: Mapping[str, Any]
    operators: Mapping[str, Operator[Any, Any]]
    graph: Graph
    pinned: Mapping[tuple[str, str], str]
    request: Request

    @property
    def definition(self) -> Definition:
        return self.code.definition

    def make_options(self) -> RunOptions:
        run, request = self.run, self.request
        own = run.executor if run.executor in EXECUTORS else EXECUTORS[0]
        kept = RunOptions(
            experiment=run.experiment,
            tags=run.tags,
            notes=run.notes,
            executor=request.executor or own,
            seed=run.run_seed,
            cache=request.cache,
            parent_id=run.id,
            command=request.command,
        )
        return replace(kept, **request.options)


def run_again(
    run: RunRecord, request: Request, settings: Settings, listener: RunListener | None = None
) -> str:
    """Make a new run of an earlier one, with what is asked to be different; return its id.

    Raises:
        UsageError: nothing has run: the code does not import, a secret is missing, or a value or an operator
            does not fit.
        InputError: a file that was kept by reference is not what it was.
    """
    return _execute(run, request, settings, listener, goes_on=False)


def resume_run(
    run: RunRecord, request: Request, settings: Settings, listener: RunListener | None = None
) -> str:
    """Go on with a run that did not complete, as a new run; return its id.

    Nodes that completed are not run again, those that are not cached included, as long as their code and
    inputs are the same.

    Raises:
        UsageError: it completed, still runs, or is a trial; else as for `run_again`.
    """
    return _execute(run, request, settings, listener, goes_on=True)


def check_unfinished(run: RunRecord) -> None:
    """Raise UsageError for a run that there is no going on with."""
    if run.sweep_id is not None:
        raise UsageError(
            f"run {run.id} is trial {run.trial_number} of sweep {run.sweep_id[:8]}; "
            f"`flowlearner sweeps resume {run.sweep_id[:8]}` runs what is missing, `sweeps retry` what failed"
        )
    if not run.status.is_final:
        process = run.process
        who = f": process {process.pid} on {process.host}, of {run.owner}" if process else ""
        raise UsageError(
            f"run {run.id} still runs{who}. Wait for its end, or stop it: "
            f"flowlearner runs cancel {run.id[:8]}"
        )
    if run.status not in UNFINISHED:
        raise UsageError(
            f"run {run.id} is {run.status}: nothing is missing. "
            f"`flowlearner runs rerun {run.id[:8]}` runs it again"
        )


def _execute(
    run: RunRecord, request: Request, settings: Settings, listener: RunListener | None, *, goes_on: bool
) -> str:
    with opened_submission(run, request, settings, listener, goes_on=goes_on) as submission:
        run_flow = None
        if submission.options.executor == "prefect":
            # Prefect is loaded where it is used.
            run_flow = importlib.import_module("flowlearner.engine.prefect_executor").run_flow
        return execute_submission(submission, run_flow)


@contextlib.contextmanager
def opened_submission(
    run: RunRecord,
    request: Request,
    settings: Settings,
    listener: RunListener | None = None,
    *,
    goes_on: bool = False,
) -> Iterator[Submission]:
    """Give a new run of an earlier one, checked and not begun; within the block its code can be imported.

    Args:
        goes_on: it did not complete, and only what is missing runs.
    """
    listener = listener or RunListener()
    if goes_on:
        if run.sweep_id is None and not run.status.is_final:
            with opened(settings) as (catalog, _):
                take_over(catalog, run, listener.say)
                run = catalog.get_run(run.id)
        check_unfinished(run)
    with contextlib.ExitStack() as stack:
        with opened(settings) as (catalog, store):
            restored = stack.enter_context(opened_run(run, request, catalog, store, settings, listener))
            code = restored.code
            origin = Origin(
                code=code.info,
                snapshot=code.snapshot,
                operators=restored.operators,
                pinned=restored.pinned,
                earlier=find_earlier(run, catalog) if goes_on else {},
                changes=tuple(list_changes(restored, catalog)),
            )
        options = restored.make_options()
        yield prepare(code.definition, restored.params, options, settings, listener, origin)


@contextlib.contextmanager
def opened_run(
    run: RunRecord,
    request: Request,
    catalog: Catalog,
    store: ArtifactStore,
    settings: Settings,
    listener: RunListener,
) -> Iterator[Restored]:
    """Give a run as it can be run again; within the block imports find the modules that belong to it."""
    if is_restoring.get():
        raise UsageError("nothing is run again while the code of an earlier run is loaded")
    with opened_code(run, catalog, store, settings, current=request.current) as code:
        definition = code.definition
        given = read_texts(definition, request.params) if request.are_texts else dict(request.params)
        if request.is_same:
            _refuse_changes(run, definition, given)
        seed = request.options.get("seed", run.run_seed)
        params = read_params(run, definition, given, catalog, seed)
        for name in list_dropped(run, definition):
            listener.say(f"Workflow '{run.workflow}' has no parameter '{name}' any more; it is left out.")
        check_stored(params, catalog, store)
        static = bind_params(definition, params, seed).static
        with warnings.catch_warnings():
            # It is compiled once more when the run is made, and warns then.
            warnings.simplefilter("ignore", CompileWarning)
            graph = definition.compile_with(static, {})
            operators = _find_operators(run, request, definition, graph, catalog)
            if operators:
                graph = definition.compile_with(static, operators)
        pinned = {} if request.current else pin_named(run, graph, catalog)
        code = include_operators(code, operators.values(), settings.snapshot_limit_bytes)
        yield Restored(run, code, params, operators, graph, pinned, request)


def _refuse_changes(run: RunRecord, definition: Definition, given: Mapping[str, Any]) -> None:
    for name in given:
        param = definition.interface.by_name.get(name)
        if param is not None and not holds_secret(param.type):
            raise UsageError(
                f"run {run.id} runs as it was, and '{name}' is no Secret parameter. "
                f"`flowlearner runs clone {run.id[:8]} --set {name}=...` runs it with another value"
            )


def pin_named(run: RunRecord, graph: Graph, catalog: Catalog) -> dict[tuple[str, str], str]:
    """Return the content that a run took for the files and tables which the workflow names itself."""
    before = {n.name: n.inputs for n in run.nodes}
    hashes: dict[tuple[str, str], str] = {}
    for node in graph.nodes:
        for param in node.operator.interface.params:
            binding, taken = node.inputs[param.name], before.get(node.name, {}).get(param.name)
            if taken and isinstance(binding, Literal) and is_named(param, binding.value):
                hashes[node.name, param.name] = taken
    known = catalog.find_artifacts(set(hashes.values()), with_previews=False) if hashes else {}
    return {place: f"{ARTIFACT_PREFIX}{hash_}" for place, hash_ in hashes.items() if hash_ in known}


def check_stored(params: Mapping[str, Any], catalog: Catalog, store: ArtifactStore) -> None:
    """Raise InputError where a table or file that a run was given is lost, or is not what it was."""
    for name, value in params.items():
        if not isinstance(value, str) or not value.startswith(ARTIFACT_PREFIX):
            continue
        try:
            store.check(catalog.get_artifact(value.removeprefix(ARTIFACT_PREFIX)))
        except (ArtifactError, NotFoundError) as error:
            raise InputError(f"parameter '{name}': {error}") from error


def _find_operators(
    run: RunRecord, request: Request, definition: Definition, graph: Graph, catalog: Catalog
) -> dict[str, Operator[Any, Any]]:
    """Return what takes the place of operators: first what the run had replaced, then what is asked for.

    Raises:
        NotFoundError: the workflow has no such node or operator.
    """
    # Today's workflow may call others itself: there only what was replaced on purpose counts.
    called = find_replaced(run, catalog) if request.current else {n.name: n.operator for n in run.nodes}
    operators: dict[str, Operator[Any, Any]] = {}
    for node in graph.nodes:
        name = called.get(node.name, node.operator.name)
        if name != node.operator.name:
            operators[node.name] = find_named_operator(name, definition, run, catalog)
    for target, wanted in request.operators.items():
        names = {n.name: None for n in graph.nodes} | {n.operator.name: None for n in graph.nodes}
        if target not in names:
            raise NotFoundError(
                f"workflow '{graph.workflow}' has no node or operator '{target}'; it has "
                f"{shorten(names)}.{suggest(target, names)}"
            )
        found = find_named_operator(wanted, definition, run, catalog) if isinstance(wanted, str) else wanted
        # The name of an operator means it wherever it is called, but for nodes that are named themselves.
        for node in graph.nodes:
            if node.name == target or (node.operator.name == target and node.name not in request.operators):
                operators[node.name] = found
    return operators


def find_replaced(run: RunRecord, catalog: Catalog) -> dict[str, str]:
    """Return by node the operators that took the place of others, in a run or in one that it was made of."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    while True:
        found = {c.name: str(c.after) for c in run.changes if c.kind == "operator"} | found
        seen.add(run.id)
        if run.parent_id is None or run.parent_id in seen:
            return found
        try:
            run = catalog.get_run(run.parent_id)
        except NotFoundError:
            return found


def find_earlier(run: RunRecord, catalog: Catalog) -> dict[str, Earlier]:
    """Return the results of a run's nodes that completed, as far as the catalog has them."""
    done = [n for n in run.nodes if n.status is Status.COMPLETED]
    artifacts = catalog.find_artifacts({o.hash for n in done for o in n.outputs}, with_previews=False)
    return {
        node.name: Earlier(run.id, node, {o.name: artifacts[o.hash] for o in node.outputs})
        for node in done
        if all(o.hash in artifacts for o in node.outputs)
    }


def list_changes(restored: Restored, catalog: Catalog) -> Iterator[Change]:
    """Yield in what a new run differs from the one that it is made of."""
    run, request, definition = restored.run, restored.request, restored.definition
    for name, value in restored.params.items():
        if name not in request.params and name in run.params:
            continue
        param = definition.interface.by_name.get(name)
        before = run.params.get(name)
        if param is None or holds_secret(param.type):
            continue
        # Of what JSON does not hold the type tells enough; its content is among the run's parameters.
        after = as_json(value) if is_plain(value) else f"<{type(value).__name__}>"
        if isinstance(before, Mapping) and f"{ARTIFACT_PREFIX}{before.get('hash')}" == after:
            continue
        if type(after) is not type(before) or after != before:
            yield Change("param", name, before, after)
    called = {n.name: n.operator for n in run.nodes}
    for node in restored.graph.nodes:
        before = called.get(node.name)
        if node.name in restored.operators and before not in (None, node.operator.name):
            yield Change("operator", node.name, before, node.operator.name)
    yield from _list_code_changes(restored, catalog)


def _list_code_changes(restored: Restored, catalog: Catalog) -> Iterator[Change]:
    """Yield the nodes whose code differs, and the workflow where its own does, if today's code runs."""
    if not restored.request.current:
        return
    run = restored.run
    now = restored.definition.fingerprint()
    versions = {v.fingerprint: v.source for v in catalog.get_workflow(run.workflow).versions}
    # Its fingerprint has the code of all that it calls in it; its text is its own.
    if now.digest != run.workflow_fingerprint and versions.get(run.workflow_fingerprint) != now.source:
        yield Change("code", run.workflow, run.workflow_fingerprint, now.digest)
    before = {n.name: n.fingerprint for n in run.nodes if n.fingerprint}
    for node in restored.graph.nodes:
        digest = node.operator.fingerprint().digest
        if node.name not in restored.operators and before.get(node.name, digest) != digest:
            yield Change("code", node.name, before[node.name], digest)
