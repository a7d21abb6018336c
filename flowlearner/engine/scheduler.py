"""Drives one run: decides hits, launches nodes by dependency and resources, records what happens."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from dataclasses import replace
from time import monotonic
from typing import Any

from flowlearner.cache import Hit, compute_key, explain_miss, find_hits, find_uncacheable
from flowlearner.engine.base import Budget, NodeEvent, RunContext, utc_now
from flowlearner.engine.binding import Binder
from flowlearner.engine.node import (
    NodeFailure,
    Outcome,
    check_limits,
    describe_error,
    rebuild_platform_error,
)
from flowlearner.engine.task import Launcher, NodeTask
from flowlearner.errors import FlowLearnerError, UserError
from flowlearner.records import Artifact, CacheEntry, LogLine, MetricPoint, NodeRun, Status

FLUSH_S = 0.1
# How long what has ended may wait for its write, so that nodes that take no time share a transaction.
WRITE_DELAY_S = 0.05
# What took longer is written before anybody hears of it. A record costs some milliseconds, and neither a
# process that dies nor a node that lets no other thread go on may cost much more than that.
UNWRITTEN_S = 0.02
CANCEL_POLL_S = 0.5


class Scheduler:
    """One run from its first look-up to its last node.

    Every catalog write happens in the thread that calls `run`.

    Attributes:
        done: how each node ended, by name.
        running: tasks that were launched and have not ended.
        platform_error: the first failure that was not the user's.
    """

    def __init__(self, context: RunContext, binder: Binder) -> None:
        self.context = context
        self.graph = context.graph
        self.binder = binder
        self.done: dict[str, NodeRun] = {}
        self.running: dict[str, NodeTask] = {}
        self.platform_error: FlowLearnerError | None = None
        self._events: queue.SimpleQueue[tuple[str, NodeTask | None, Any]] = queue.SimpleQueue()
        self._decided: dict[str, NodeTask] = {}
        self._waiting = {n.name: len(n.upstream) for n in self.graph.nodes}
        # Tasks that wait for the result of a node that runs with the same key, by that node.
        self._followers: dict[str, list[NodeTask]] = {}
        self._ready: list[str] = [n.name for n in self.graph.nodes if not n.upstream]
        self._budget = Budget.of_machine()
        self._cancelled = threading.Event()
        self._stop_watching = threading.Event()
        self._abandoned = False
        self._unwritten: list[NodeRun] = []
        self._untold: list[NodeRun] = []
        self._write_at: float | None = None
        self._previous: Mapping[str, NodeRun] | None = None
        self._artifacts: list[Artifact] = []
        self._lines: queue.SimpleQueue[LogLine] = queue.SimpleQueue()

    # Deciding

    def decide(self, names: list[str]) -> tuple[list[NodeRun], list[NodeTask]]:
        """Split nodes whose inputs are known into those that are done with (hits) and tasks to run.

        A node whose inputs cannot be had, since a file that the workflow names does not read, has failed.
        """
        ended: list[NodeRun] = []
        tasks: list[NodeTask] = []
        for name in names:
            try:
                tasks.append(self._make_task(name))
            except UserError as error:
                now = utc_now()
                info = describe_error(error, self.context.secrets)
                failed = self._blank(name, Status.FAILED)
                ended.append(replace(failed, started_at=now, finished_at=now, error=info))
        earlier = {t.node.name: hit for t in tasks if (hit := self._take_earlier(t))}
        ended += [self._as_hit(t, earlier[t.node.name]) for t in tasks if t.node.name in earlier]
        tasks = [t for t in tasks if t.node.name not in earlier]
        lookup = [t.key for t in tasks if t.key and self._may_hit(t)]
        if any(r.cache_key in lookup for r in self._unwritten):
            self._write()
        hits, lost = find_hits(self.context.catalog, self.context.store, lookup) if lookup else ({}, {})
        missed: list[NodeTask] = []
        for task in tasks:
            if task.key in hits and self._may_hit(task):
                ended.append(self._as_hit(task, hits[task.key]))
            else:
                missed.append(task)
        self._explain([t for t in missed if not t.reason], lost)
        return ended, missed

    def _take_earlier(self, task: NodeTask) -> Hit | None:
        earlier, operator = self.context.earlier.get(task.node.name), task.node.operator
        # Of code that cannot be followed nobody can say that it is the same; effects are not repeated.
        if earlier is None or (operator.fingerprint().problems and not operator.effects):
            return None
        return earlier.take(task.fingerprint, task.inputs, self.context.store)

    def _may_hit(self, task: NodeTask) -> bool:
        """Tell whether a task may take what another run, or another node of this one, gave for its key."""
        options = self.context.options
        return task.key is not None and options.cache and task.node.name not in options.refresh

    def _make_task(self, name: str) -> NodeTask:
        node = self.graph.by_name[name]
        inputs = self.binder.bind_inputs(node)
        check_limits(node, self.binder, self.context.store)
        uncacheable = find_uncacheable(node, inputs)
        fingerprint = node.operator.fingerprint().digest
        hashes = {n: b.hash for n, b in inputs.items() if b.hash is not None and not b.secret}
        key = None if uncacheable else compute_key(fingerprint, hashes)
        return NodeTask(self, self.context, node, inputs, fingerprint, key, uncacheable or "")

    def _explain(self, missed: list[NodeTask], lost: Mapping[str, str]) -> None:
        """Set the reason of each task that could have hit."""
        options = self.context.options
        unknown = []
        for task in missed:
            if not options.cache:
                task.reason = "--no-cache"
            elif task.node.name in options.refresh:
                task.reason = "--refresh"
            elif task.key and task.key in lost:
                task.reason = lost[task.key]
            else:
                unknown.append(task)
        if unknown and self._previous is None:
            names = [n.name for n in self.graph.nodes if n.name not in self.done]
            self._previous = self.context.catalog.find_previous_nodes(self.graph.workflow, names)
        for task in unknown:
            previous = (self._previous or {}).get(task.node.name)
            task.reason = explain_miss(previous, task.fingerprint, task.input_hashes)

    def _as_hit(self, task: NodeTask, hit: Hit) -> NodeRun:
        for name, artifact in hit.artifacts.items():
            self.binder.produced[task.node.name, name] = artifact
        now = utc_now()
        return replace(
            task.record(Status.COMPLETED),
            cached=True,
            cached_from=hit.entry.run_id or None,
            miss_reason=None,
            started_at=now,
            finished_at=now,
            outputs=hit.entry.outputs,
            metrics=hit.entry.metrics,
        )

    # Running

    def run(self, launcher: Launcher) -> None:
        """Run every node; afterwards each has ended and is recorded.

        Raises:
            PlatformError: the catalog cannot be written.
        """
        watcher = threading.Thread(target=self._watch_cancel, daemon=True)
        watcher.start()
        try:
            self._step(launcher)
            while self.running or self._ready:
                self._collect()
                self._step(launcher)
        finally:
            self._stop_watching.set()
        self._finish_rest()
        self._write()

    def _step(self, launcher: Launcher) -> None:
        """Record all hits that are reachable, then launch what is ready and fits."""
        while self._ready and not self._cancelled.is_set():
            undecided = [n for n in self._ready if n not in self._decided]
            if not undecided:
                break
            ended, tasks = self.decide(undecided)
            self._decided.update({t.node.name: t for t in tasks})
            for record in ended:
                self._ready.remove(record.name)
                self._finish(record)
        if self._cancelled.is_set():
            self._ready.clear()
            return
        for name in list(self._ready):
            task = self._decided[name]
            need = task.node.operator.resources
            same = self._find_same(task)
            if same is not None:
                self._ready.remove(name)
                self._followers.setdefault(same, []).append(task)
            elif self._budget.fits(need):
                self._ready.remove(name)
                self._budget.take(need)
                self.running[name] = task
                launcher.launch(task)

    def _find_same(self, task: NodeTask) -> str | None:
        """Return the node that runs with the same key, whose result the task may wait for."""
        if not self._may_hit(task):
            return None
        return next((name for name, t in self.running.items() if t.key == task.key), None)

    def _release(self, record: NodeRun) -> None:
        """Give a node's result to those that waited for it; where there is none they run themselves."""
        for task in self._followers.pop(record.name, []):
            if record.status is not Status.COMPLETED:
                self._ready.append(task.node.name)
                continue
            for output in record.outputs:
                produced = self.binder.produced
                produced[task.node.name, output.name] = produced[record.name, output.name]
            shared = replace(record, name=task.node.name, position=task.node.position, cached=True)
            self._finish(replace(shared, cached_from=self.context.run_id, miss_reason=None))

    def _collect(self) -> None:
        """Wait for an event and take all that are there; write what has waited long enough."""
        wait_s = FLUSH_S if self._write_at is None else self._write_at - monotonic()
        try:
            event = self._events.get(timeout=max(wait_s, 0))
        except queue.Empty:
            self._flush_running()
            return
        while True:
            self._handle(*event)
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                break
        if self._write_at is not None and monotonic() >= self._write_at:
            self._write()

    def _flush_running(self) -> None:
        """Let readers see what has been running for a while; a node that ends at once is written once."""
        for task in self.running.values():
            if task.started_at and not task.written:
                self._unwritten.append(task.record(Status.RUNNING))
                task.written = True
        self._write()

    def _handle(self, kind: str, task: NodeTask | None, payload: Any) -> None:
        if task is None:
            for running in list(self.running.values()):
                running.cancel()
        elif kind == "retry":
            task.written = False
        elif self.running.pop(task.node.name, None) is not None:
            self._budget.give_back(task.node.operator.resources)
            if kind == "done":
                self._finish_done(task, payload)
            elif kind == "cancelled":
                self._finish(replace(task.record(Status.CANCELLED), finished_at=utc_now()))
            else:
                self._finish_failed(task, payload)
            self._release(self.done[task.node.name])

    def _finish_done(self, task: NodeTask, outcome: Outcome) -> None:
        for output, artifact in zip(outcome.outputs, outcome.artifacts, strict=True):
            self.binder.produced[task.node.name, output.name] = artifact
        self._artifacts.extend(outcome.artifacts)
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
        self._untold.append(record)
        if not self._abandoned:
            if _is_dear(record):
                self._write()
            elif self._write_at is None:
                self._write_at = monotonic() + WRITE_DELAY_S
            self._tell_ended()
        if record.status is Status.COMPLETED:
            for reader in self.graph.downstream[record.name]:
                self._waiting[reader] -= 1
                if self._waiting[reader] == 0 and reader not in self.done:
                    self._ready.append(reader)
            self._ready.sort(key=lambda n: self.graph.by_name[n].position)
        elif record.status is Status.FAILED:
            behind = self.graph.find_descendants([record.name])
            for node in self.graph.nodes:
                if node.name in behind and node.name not in self.done:
                    self._finish(self._blank(node.name, Status.SKIPPED))

    def _finish_rest(self) -> None:
        for node in self.graph.nodes:
            if node.name not in self.done:
                self._finish(self._blank(node.name, Status.CANCELLED))

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
        """Record what has happened since the last time, in one transaction."""
        self._write_at = None
        lines = []
        while not self._lines.empty():
            lines.append(self._lines.get_nowait())
        if not self._unwritten and not lines:
            return
        self._artifacts += self.binder.take_stored()
        entries = [
            CacheEntry(r.cache_key, self.context.run_id, r.name, r.outputs, r.metrics)
            for r in self._unwritten
            if r.status is Status.COMPLETED and r.cache_key and not r.cached
        ]
        try:
            self.context.catalog.record_nodes(
                self.context.run_id, self._unwritten, self._artifacts, entries, lines
            )
        except BaseException:
            for line in lines:
                self._lines.put(line)
            raise
        self._unwritten, self._artifacts = [], []

    def _tell_ended(self) -> None:
        untold, self._untold = self._untold, []
        for record in untold:
            self._tell(record)

    def _tell(self, record: NodeRun) -> None:
        self.context.listener.node_changed(
            NodeEvent(
                run_id=self.context.run_id,
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
        )

    def post(self, kind: str, task: NodeTask | None, payload: Any = None) -> None:
        """Take what happened to a task, from any thread."""
        if kind == "started" and task is not None:
            # Nothing follows from it, so nobody is woken for it.
            self._tell(task.record(Status.RUNNING))
        else:
            self._events.put((kind, task, payload))

    def add_line(self, line: LogLine) -> None:
        """Take a log line, from any thread."""
        self._lines.put(line)
        self.context.listener.log(line)

    def add_point(self, task: NodeTask, point: MetricPoint) -> None:
        """A reported metric is recorded with the node's result."""

    # Ending early

    def cancel(self) -> None:
        """Stop the run from any thread: nothing more starts, children are killed."""
        if not self._cancelled.is_set():
            self._cancelled.set()
            self.post("cancel", None)

    def abandon(self) -> None:
        """End at once what runs and record how far the run came, after `run` has raised.

        Raises:
            PlatformError: the catalog cannot be written; `list_unrecorded` says what it does not know.
        """
        self._cancelled.set()
        self._abandoned = True
        while not self._events.empty():
            self._handle(*self._events.get_nowait())
        for task in self.running.values():
            task.cancel()
        self.running.clear()
        self._finish_rest()
        self._write()
        self._tell_ended()

    def list_unrecorded(self) -> list[str]:
        """Return in words the nodes that completed or failed and of which the catalog does not know it."""
        return [
            f"{r.name} ({r.error.type}: {r.error.message})" if r.error else r.name
            for r in self._unwritten
            if r.status in (Status.COMPLETED, Status.FAILED)
        ]

    def _watch_cancel(self) -> None:
        while not self._stop_watching.wait(CANCEL_POLL_S):
            try:
                if self.context.catalog.is_cancel_requested(self.context.run_id):
                    self.cancel()
                    return
            except FlowLearnerError:
                continue


def _is_dear(record: NodeRun) -> bool:
    """Tell whether what a node did costs more to do again than to record, or ends its run."""
    if record.status is Status.FAILED:
        return True
    if record.cached or record.started_at is None or record.finished_at is None:
        return False
    return (record.finished_at - record.started_at).total_seconds() > UNWRITTEN_S
