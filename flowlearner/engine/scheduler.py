"""Drives one run: decides hits, launches nodes by dependency and resources, records what happens."""

from __future__ import annotations

import ctypes
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from flowlearner.artifacts import ArtifactStore, choose_codec
from flowlearner.cache import (
    BoundValue,
    Hit,
    compute_key,
    explain_miss,
    find_hits,
    find_uncacheable,
)
from flowlearner.canonical import digest_parts
from flowlearner.catalog import Catalog
from flowlearner.engine.base import Budget, NodeEvent, RunListener, RunOptions, utc_now
from flowlearner.engine.logs import NodeContext
from flowlearner.engine.node import NodeCancelled, NodeFailure, Outcome, call_operator
from flowlearner.engine.process import ChildProcess, Request, call_in_child
from flowlearner import errors
from flowlearner.errors import FlowLearnerError, PlatformError
from flowlearner.graph import Binding, Collection, Graph, Literal, Node, NodeRef, ParamRef
from flowlearner.interface import Param, make_spec
from flowlearner.operation import Operator
from flowlearner.records import (
    Artifact,
    CacheEntry,
    ErrorInfo,
    LogLine,
    MetricPoint,
    NodeRun,
    OutputRecord,
    Status,
)

ANY = make_spec(Any)
FLUSH_S = 0.1
CANCEL_POLL_S = 0.5


@dataclass
class RunContext:
    """What a run needs from its surroundings.

    Attributes:
        params: a bound value for each workflow parameter that is not static.
        secrets: texts that are never recorded.
    """

    run_id: str
    graph: Graph
    params: Mapping[str, BoundValue]
    options: RunOptions
    catalog: Catalog
    store: ArtifactStore
    listener: RunListener
    secrets: tuple[str, ...] = ()
    artifacts: list[Artifact] = field(default_factory=list)


class Launcher(Protocol):
    """An executor: starts a task and returns at once."""

    def launch(self, task: NodeTask) -> None: ...


class Scheduler:
    """One run from its first look-up to its last node.

    Every catalog write happens in the thread that calls `run`.
    """

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.graph = context.graph
        self.events: queue.SimpleQueue[tuple[str, Any, Any]] = queue.SimpleQueue()
        self.produced: dict[tuple[str, str], Artifact] = {}
        self.done: dict[str, NodeRun] = {}
        self.running: dict[str, NodeTask] = {}
        self._decided: dict[str, NodeTask] = {}
        self.waiting = {n.name: len(n.upstream) for n in self.graph.nodes}
        self.ready: list[str] = [n.name for n in self.graph.nodes if not n.upstream]
        self.budget = Budget.of_machine()
        self.cancelled = threading.Event()
        self.platform_error: FlowLearnerError | None = None
        self._unwritten: list[NodeRun] = []
        self._lines: queue.SimpleQueue[LogLine] = queue.SimpleQueue()
        self._literals: dict[tuple[int, str], BoundValue] = {}
        self._stop_watching = threading.Event()

    # Deciding

    def bind(self, binding: Binding, param: Param) -> BoundValue:
        """Return the value of one input as far as it is known now."""
        if isinstance(binding, NodeRef):
            artifact = self.produced[binding.node, binding.output]
            return BoundValue(artifact.hash, artifact)
        if isinstance(binding, ParamRef):
            return self.context.params[binding.name]
        if isinstance(binding, Collection):
            inner = Param(param.name, ANY)
            items = tuple(self.bind(b, inner) for b in binding.items)
            unstable = next((i.unstable for i in items if i.unstable), None)
            hashes = [i.hash or "" for i in items]
            kind = binding.make.__name__
            keys = [repr(k) for k in binding.keys]
            return BoundValue(
                None if unstable else digest_parts("collection/1", kind, *keys, *hashes),
                items=items,
                make=binding.make,
                keys=binding.keys,
                unstable=unstable,
            )
        if isinstance(binding, Literal):
            key = (id(binding), param.name)
            if key not in self._literals:
                self._literals[key] = bind_literal(binding.value, param)
            return self._literals[key]
        return bind_literal(self.context.options.seed, param)

    def bind_inputs(self, node: Node) -> dict[str, BoundValue]:
        return {p.name: self.bind(node.inputs[p.name], p) for p in node.operator.interface.params}

    def decide(self, names: list[str]) -> tuple[list[NodeRun], list[NodeTask]]:
        """Split nodes whose inputs are known into hits and tasks to run."""
        tasks = []
        for name in names:
            node = self.graph.by_name[name]
            inputs = self.bind_inputs(node)
            uncacheable = find_uncacheable(node, inputs)
            fingerprint = node.operator.fingerprint().digest
            hashes = {n: b.hash for n, b in inputs.items() if b.hash is not None and not b.secret}
            key = None if uncacheable else compute_key(fingerprint, hashes)
            tasks.append(NodeTask(self, node, inputs, fingerprint, key, uncacheable or ""))
        options = self.context.options
        lookup = [t.key for t in tasks if t.key and options.cache and t.node.name not in options.refresh]
        hits, lost = find_hits(self.context.catalog, self.context.store, lookup) if lookup else ({}, {})
        found: list[NodeRun] = []
        missed: list[NodeTask] = []
        for task in tasks:
            if task.key in hits and task.key in lookup and task.node.name not in options.refresh:
                found.append(self._as_hit(task, hits[task.key]))
            else:
                task.reason = task.reason or self._explain(task, lost)
                missed.append(task)
        return found, missed

    def _explain(self, task: NodeTask, lost: Mapping[str, str]) -> str:
        options = self.context.options
        if not options.cache:
            return "--no-cache"
        if task.node.name in options.refresh:
            return "--refresh"
        if task.key in lost:
            return lost[task.key]
        previous = self.context.catalog.find_previous_node(self.graph.workflow, task.node.name)
        return explain_miss(previous, task.fingerprint, task.input_hashes)

    def _as_hit(self, task: NodeTask, hit: Hit) -> NodeRun:
        for name, artifact in hit.artifacts.items():
            self.produced[task.node.name, name] = artifact
        now = utc_now()
        return replace(
            task.record(Status.COMPLETED),
            cached=True,
            cached_from=hit.entry.run_id,
            started_at=now,
            finished_at=now,
            outputs=hit.entry.outputs,
            metrics=hit.entry.metrics,
        )

    # Running

    def run(self, launcher: Launcher) -> Status:
        """Run every node and return the run's final status."""
        watcher = threading.Thread(target=self._watch_cancel, daemon=True)
        watcher.start()
        try:
            self._step(launcher)
            while self.running or self.ready:
                self._collect()
                self._step(launcher)
        finally:
            self._stop_watching.set()
        self._finish_rest()
        return self.final_status()

    def _step(self, launcher: Launcher) -> None:
        """Record all hits that are reachable, then launch what is ready and fits."""
        while self.ready and not self.cancelled.is_set():
            undecided = [n for n in self.ready if n not in self._decided]
            if not undecided:
                break
            hits, tasks = self.decide(undecided)
            self._decided.update({t.node.name: t for t in tasks})
            for record in hits:
                self.ready.remove(record.name)
                self._finish(record)
        self._write()
        if self.cancelled.is_set():
            self.ready.clear()
            return
        for name in list(self.ready):
            task = self._decided[name]
            need = task.node.operator.resources
            if self.budget.fits(need.cpus, need.gpus, need.memory_bytes):
                self.ready.remove(name)
                self.budget.take(need.cpus, need.gpus, need.memory_bytes)
                self.running[name] = task
                launcher.launch(task)

    def _collect(self) -> None:
        """Wait for an event, then take all that are there and record them together."""
        try:
            event = self.events.get(timeout=FLUSH_S)
        except queue.Empty:
            self._flush_running()
            return
        while True:
            self._handle(*event)
            try:
                event = self.events.get_nowait()
            except queue.Empty:
                break

    def _flush_running(self) -> None:
        started = [t.record(Status.RUNNING) for t in self.running.values() if t.started_at and not t.written]
        for task in self.running.values():
            task.written = task.started_at is not None
        self._unwritten.extend(started)
        self._write()

    def _handle(self, kind: str, task: Any, payload: Any) -> None:
        if kind == "cancel":
            self._cancel_running()
        elif kind == "started":
            self._notify(task, Status.RUNNING)
        elif kind == "retry":
            task.written = False
        elif task.node.name in self.running:
            del self.running[task.node.name]
            need = task.node.operator.resources
            self.budget.take(-need.cpus, -need.gpus, -need.memory_bytes)
            if kind == "done":
                self._finish_done(task, payload)
            elif kind == "cancelled":
                self._finish(replace(task.record(Status.CANCELLED), finished_at=utc_now()))
            else:
                self._finish_failed(task, payload)

    def _finish_done(self, task: NodeTask, outcome: Outcome) -> None:
        for output, artifact in zip(outcome.outputs, outcome.artifacts, strict=True):
            self.produced[task.node.name, output.name] = artifact
        self.context.artifacts.extend(outcome.artifacts)
        record = replace(
            task.record(Status.COMPLETED),
            finished_at=utc_now(),
            outputs=outcome.outputs,
            metrics=outcome.metrics,
        )
        self._finish(record)

    def _finish_failed(self, task: NodeTask, failure: NodeFailure) -> None:
        record = replace(
            task.record(Status.FAILED), finished_at=utc_now(), error=failure.info, metrics=failure.metrics
        )
        if failure.platform and self.platform_error is None:
            self.platform_error = rebuild_platform_error(failure.info)
        self._finish(record)

    def _finish(self, record: NodeRun) -> None:
        self.done[record.name] = record
        self._unwritten.append(record)
        self.context.listener.node_changed(_event(self.context.run_id, record))
        if record.status is Status.COMPLETED:
            for reader in self.graph.downstream[record.name]:
                self.waiting[reader] -= 1
                if self.waiting[reader] == 0 and reader not in self.done:
                    self.ready.append(reader)
            self.ready.sort(key=lambda n: self.graph.by_name[n].position)
        elif record.status is Status.FAILED:
            for name in self.graph.find_descendants([record.name]):
                if name not in self.done:
                    self._finish(self._blank(name, Status.SKIPPED))

    def _finish_rest(self) -> None:
        for node in self.graph.nodes:
            if node.name not in self.done:
                self._finish(self._blank(node.name, Status.CANCELLED))
        self._write()

    def _blank(self, name: str, status: Status) -> NodeRun:
        node = self.graph.by_name[name]
        return NodeRun(
            name=name,
            operator=node.operator.name,
            position=node.position,
            status=status,
            fingerprint=node.operator.fingerprint().digest,
        )

    def _write(self) -> None:
        lines = []
        while not self._lines.empty():
            lines.append(self._lines.get_nowait())
        if not self._unwritten and not lines:
            return
        records, self._unwritten = self._unwritten, []
        artifacts, self.context.artifacts = self.context.artifacts, []
        entries = [
            CacheEntry(r.cache_key, self.context.run_id, r.name, r.outputs, r.metrics)
            for r in records
            if r.status is Status.COMPLETED and r.cache_key and not r.cached
        ]
        try:
            self.context.catalog.record_nodes(self.context.run_id, records, artifacts, entries, lines)
        except BaseException:
            self._unwritten[:0] = records
            self.context.artifacts[:0] = artifacts
            raise

    def _notify(self, task: NodeTask, status: Status) -> None:
        self.context.listener.node_changed(_event(self.context.run_id, task.record(status)))

    def add_line(self, line: LogLine) -> None:
        """Take a log line from any thread."""
        self._lines.put(line)
        self.context.listener.log(line)

    # Ending

    def cancel(self) -> None:
        """Stop the run from any thread: nothing more starts, children are killed."""
        if not self.cancelled.is_set():
            self.cancelled.set()
            self.events.put(("cancel", None, None))

    def _cancel_running(self) -> None:
        for task in self.running.values():
            task.cancel()

    def _watch_cancel(self) -> None:
        while not self._stop_watching.wait(CANCEL_POLL_S):
            try:
                if self.context.catalog.is_cancel_requested(self.context.run_id):
                    self.cancel()
                    return
            except FlowLearnerError:
                continue

    def final_status(self) -> Status:
        statuses = {r.status for r in self.done.values()}
        if self.cancelled.is_set() and Status.CANCELLED in statuses:
            return Status.CANCELLED
        return Status.FAILED if Status.FAILED in statuses else Status.COMPLETED

    def first_error(self) -> ErrorInfo | None:
        """Return the error of the first failed node, naming it."""
        for node in self.graph.nodes:
            record = self.done.get(node.name)
            if record is not None and record.error is not None:
                message = f"node '{node.name}' failed: {record.error.type}: {record.error.message}"
                return ErrorInfo(record.error.type, message, record.error.traceback)
        return None

    def collect_outputs(self) -> list[OutputRecord]:
        """Return the run's outputs as far as their nodes completed."""
        outputs = []
        for name, binding in self.graph.outputs.items():
            if isinstance(binding, NodeRef):
                producer = self.done.get(binding.node)
                found = next((o for o in producer.outputs if o.name == binding.output), None) if producer else None
                if found is not None:
                    outputs.append(replace(found, name=name))
            elif isinstance(binding, ParamRef):
                bound = self.context.params[binding.name]
                if bound.artifact is not None and not bound.secret:
                    outputs.append(OutputRecord(name, bound.artifact.hash, bound.artifact.type, None))
        return outputs

    def collect_metrics(self, outputs: list[OutputRecord]) -> list[MetricPoint]:
        """Return metric outputs under their output names, and reported names, prefixed where two nodes collide."""
        metric_outputs = {o.name for o in self.graph.interface.outputs if o.type.kind == "metric"}
        points = [
            MetricPoint(o.name, float(o.value), None, utc_now())
            for o in outputs
            if o.name in metric_outputs and o.value is not None
        ]
        reporters: dict[str, set[str]] = {}
        for record in self.done.values():
            for point in record.metrics:
                reporters.setdefault(point.name, set()).add(record.name)
        taken = {p.name for p in points}
        for node in self.graph.nodes:
            for point in self.done[node.name].metrics:
                shared = len(reporters[point.name]) > 1 or point.name in taken
                points.append(replace(point, name=f"{node.name}.{point.name}") if shared else point)
        return points


@dataclass
class NodeTask:
    """One node on its way through an executor."""

    scheduler: Scheduler
    node: Node
    inputs: Mapping[str, BoundValue]
    fingerprint: str
    key: str | None
    reason: str
    attempt: int = 1
    started_at: datetime | None = None
    written: bool = False
    child: ChildProcess | None = None
    thread_id: int | None = None
    cancel_event: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def retries(self) -> int:
        return self.node.operator.resources.retries

    @property
    def input_hashes(self) -> dict[str, str | None]:
        return {name: None if b.secret else b.hash for name, b in self.inputs.items()}

    def record(self, status: Status) -> NodeRun:
        return NodeRun(
            name=self.node.name,
            operator=self.node.operator.name,
            position=self.node.position,
            status=status,
            fingerprint=self.fingerprint,
            attempt=self.attempt,
            started_at=self.started_at,
            cache_key=self.key,
            miss_reason=self.reason or None,
            inputs=self.input_hashes,
        )

    def call(self, attempt: int, extra_sink: Any = None) -> Outcome:
        """Make one attempt in the calling thread.

        Raises:
            NodeFailure: this attempt failed.
            NodeCancelled: the run was cancelled.
        """
        if self.cancel_event.is_set():
            raise NodeCancelled
        self.attempt = attempt
        self.started_at = utc_now()
        scheduler = self.scheduler
        context = scheduler.context
        scheduler.events.put(("started", self, None))

        def sink(line: LogLine) -> None:
            scheduler.add_line(line)
            if extra_sink is not None:
                extra_sink(line)

        node_context = NodeContext(
            context.run_id, self.node.name, sink, context.secrets, echo=context.listener.echo_prints
        )
        operator = self.node.operator
        if not operator.resources.in_child:
            self.thread_id = threading.get_ident()
            try:
                return call_operator(operator, self.inputs, context.store, node_context)
            finally:
                self.thread_id = None
        request = Request(
            operator=operator,
            fingerprint=self.fingerprint,
            inputs=self.inputs,
            store_url=context.store.url,
            inline_limit_bytes=context.store.inline_limit_bytes,
            run_id=context.run_id,
            node=self.node.name,
            secrets=context.secrets,
        )
        try:
            return call_in_child(request, node_context, operator.resources.timeout_s, self._child_started)
        except NodeFailure:
            if self.cancel_event.is_set():
                raise NodeCancelled from None
            raise

    def _child_started(self, child: ChildProcess) -> None:
        self.child = child
        if self.cancel_event.is_set():
            child.kill()

    def succeeded(self, outcome: Outcome) -> None:
        self.scheduler.events.put(("done", self, outcome))

    def failed(self, failure: NodeFailure) -> None:
        self.scheduler.events.put(("failed", self, failure))

    def will_retry(self) -> None:
        self.scheduler.events.put(("retry", self, None))

    def was_cancelled(self) -> None:
        self.scheduler.events.put(("cancelled", self, None))

    def cancel(self) -> None:
        """End the task from the scheduler's thread.

        A child process is killed. Python code in a thread gets an exception at its next bytecode; a call
        that sits in C code is left behind in its daemon thread, and its result is not recorded.
        """
        self.cancel_event.set()
        self.ended.set()
        if self.child is not None:
            self.child.kill()
        thread_id = self.thread_id
        if thread_id is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(NodeCancelled))
        self.was_cancelled()


def rebuild_platform_error(info: ErrorInfo) -> FlowLearnerError:
    """Return a stored platform failure as an exception again; it may come from a child process."""
    cls = getattr(errors, info.type, PlatformError)
    return cls(info.message) if isinstance(cls, type) and issubclass(cls, PlatformError) else PlatformError(info.message)


def bind_literal(value: Any, param: Param) -> BoundValue:
    """Hash a value that is known without running anything."""
    if param.type.kind == "secret":
        return BoundValue(None, value=value, secret=True)
    if isinstance(value, Operator):
        return BoundValue(digest_parts("operator/1", value.fingerprint().digest), value=value)
    try:
        codec = choose_codec(param.type.hint, value)
        return BoundValue(codec.encode(value, param.type.hint).hash, value=value)
    except FlowLearnerError as error:
        return BoundValue(None, value=value, unstable=str(error))


def _event(run_id: str, record: NodeRun) -> NodeEvent:
    return NodeEvent(
        run_id=run_id,
        node=record.name,
        operator=record.operator,
        status=record.status,
        cached=record.cached,
        attempt=record.attempt,
        started_at=record.started_at,
        finished_at=record.finished_at,
        reason=record.miss_reason,
        error=record.error,
    )
