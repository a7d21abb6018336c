"""Drives a sweep: starts trials, runs each call that they have in common once, records what happens."""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from flowlearner.cache import compute_key, explain_miss, find_hits, find_uncacheable
from flowlearner.catalog import Catalog
from flowlearner.engine.base import Budget, utc_now
from flowlearner.engine.node import NodeFailure, Outcome, check_limits, describe_error, rebuild_platform_error
from flowlearner.engine.task import Launcher, NodeTask
from flowlearner.errors import FlowLearnerError, UserError
from flowlearner.graph import Node
from flowlearner.lease import get_process_owner
from flowlearner.records import (
    CacheEntry,
    ErrorInfo,
    LogLine,
    MetricPoint,
    NodeRun,
    Status,
    TrialBatch,
    find_curve,
)
from flowlearner.sweep.calls import Call, CallTable, Trial
from flowlearner.sweep.ending import end_trial
from flowlearner.sweep.listener import Best, SweepListener, Tally
from flowlearner.sweep.making import TrialMaker
from flowlearner.sweep.search import Objective, Searcher
from flowlearner.sweep.space import Point

WRITE_S = 0.25
# Results that took longer than this together are recorded before anything that they wait for runs: it may
# hold the interpreter, or end the process.
WORTH_S = 0.1
# How long a call that reports waits for what the driver makes of it.
DECISION_S = 1.0


@dataclass(frozen=True)
class Limits:
    """What bounds a sweep.

    Attributes:
        parallel: how many trials are in flight at once.
        max_failures: it stops once more trials than this have failed; None: never.
    """

    parallel: int
    max_failures: int | None = None


class Driver:
    """One sweep from its first trial to its last. All happens in the thread that calls `run`.

    Args:
        numbers: trial numbers in the order to run them, with the point where it was chosen before.
        budget: what calls that were launched may take together.
        cache: False looks nothing up; what trials share runs once all the same.
        known: ids of runs that the catalog has already, of trials that run again.

    Attributes:
        failure: why the sweep stopped early, where too many trials failed.
        last_error: of the trial that failed last, in words.
        platform_error: the first failure that was not the user's.
    """

    def __init__(
        self,
        sweep_id: str,
        catalog: Catalog,
        searcher: Searcher,
        objective: Objective,
        maker: TrialMaker,
        numbers: Iterable[tuple[int, Point | None]],
        launcher: Launcher,
        budget: Budget,
        limits: Limits,
        *,
        cache: bool = True,
        listener: SweepListener | None = None,
        tally: Tally | None = None,
        known: frozenset[str] = frozenset(),
    ) -> None:
        self.tally = tally or Tally()
        self.failure: ErrorInfo | None = None
        self.last_error = ""
        self.platform_error: FlowLearnerError | None = None
        self._sweep_id = sweep_id
        self._catalog = catalog
        self._searcher = searcher
        self._objective = objective
        self._maker = maker
        self._known = known
        self._process = get_process_owner()
        self._numbers = iter(numbers)
        self._launcher = launcher
        self._budget = budget
        self._limits = limits
        self._cache = cache
        self._listener = listener or SweepListener()
        self._table = CallTable()
        self._flying: dict[int, Trial] = {}
        self._undecided: list[Call] = []
        self._ready: list[tuple[tuple[int, int], int, Call]] = []
        self._ticks = itertools.count()
        self._running: dict[NodeTask, Call] = {}
        self._by_key: dict[str, Call] = {}
        self._events: queue.SimpleQueue[tuple[str, NodeTask | None, Any]] = queue.SimpleQueue()
        self._lines: queue.SimpleQueue[tuple[str, LogLine]] = queue.SimpleQueue()
        self._batch = TrialBatch()
        self._unsaved_s = 0.0
        self._written_at = monotonic()
        self._no_more = False
        self._stop = threading.Event()
        self._latest: dict[str, NodeRun] | None = None

    # The loop

    def run(self) -> None:
        """Run trials until there are no more; afterwards each has ended and is recorded.

        Raises:
            PlatformError: the catalog cannot be written.
        """
        while True:
            if self._stop.is_set():
                self._stop_all()
            self._start_trials()
            while self._undecided:
                self._decide()
            self._launch()
            if self._flying:
                self._collect()
            elif self._no_more:
                break
            if self._unsaved_s >= WORTH_S or monotonic() - self._written_at >= WRITE_S:
                self.write()
        self.write()

    def drain(self) -> None:
        """Start no more trials, from any thread; those in flight end as they will."""
        self._no_more = True
        self._events.put(("wake", None, None))

    def stop(self) -> None:
        """Stop the trials in flight, from any thread: they end CANCELLED."""
        self._no_more = True
        self._stop.set()
        self._events.put(("wake", None, None))

    def _stop_all(self) -> None:
        for trial in list(self._flying.values()):
            self._drop(trial, Status.CANCELLED)

    def _start_trials(self) -> None:
        while len(self._flying) < self._limits.parallel and not self._no_more:
            number, point = next(self._numbers, (-1, None))
            if number >= 0 and point is None:
                point = self._searcher.ask(number)
            if point is None:
                self._no_more = True
                return
            record, version, trial = self._maker.make(number, point)
            if record.id not in self._known:
                self._batch.begun.append((record, version))
                self._batch.parts += [(record.id, part) for part in trial.parts]
            self._flying[number] = trial
            self.tally.counts[Status.RUNNING] += 1
            self._add(trial)
            while self._undecided:
                # Trials that hit as a whole end at once, before the next one is chosen.
                self._decide()

    def _add(self, trial: Trial) -> None:
        shared = []
        for node, call in self._table.add_trial(trial):
            if call.result is not None:
                shared.append((node, call))
                continue
            trial.calls[node.name] = call
            is_new = not call.users
            call.users[trial] = node
            if is_new and call.missing == 0 and call.task is None:
                self._undecided.append(call)
        for node, call in shared:
            self._give(call, trial, node)
        if not trial.calls:
            self._finish(trial)

    # Deciding what hits

    def _decide(self) -> None:
        """Look up calls whose inputs are known; the others are ready to run."""
        calls, self._undecided = [c for c in self._undecided if c.users], []
        lookup: dict[str, list[Call]] = {}
        ready: list[Call] = []
        for call in calls:
            try:
                task = call.task = self._make_task(call)
            except UserError as error:
                self._fail(call, describe_error(error, self._secrets(call)))
                continue
            leader = self._by_key.get(task.key) if task.key else None
            if leader is not None and leader is not call:
                leader.followers.append(call)
            elif task.key:
                self._by_key[task.key] = call
                lookup.setdefault(task.key, []).append(call)
            else:
                ready.append(call)
        ready += self._look_up(lookup)
        for call in ready:
            heapq.heappush(self._ready, (call.order, next(self._ticks), call))

    def _look_up(self, lookup: Mapping[str, list[Call]]) -> list[Call]:
        if not lookup:
            return []
        missed = [c for calls in lookup.values() for c in calls]
        if self._cache:
            if not self._batch.entries.keys().isdisjoint(lookup):
                self.write()
            store = next(iter(missed[0].users)).context.store
            hits, lost = find_hits(self._catalog, store, list(lookup))
            for key, hit in hits.items():
                for call in lookup[key]:
                    missed.remove(call)
                    call.artifacts = dict(hit.artifacts)
                    assert call.task is not None, "it was looked up by its task's key"
                    now = utc_now()
                    record = replace(
                        call.task.record(Status.COMPLETED),
                        cached=True,
                        cached_from=hit.entry.run_id,
                        miss_reason=None,
                        started_at=now,
                        finished_at=now,
                        outputs=hit.entry.outputs,
                        metrics=hit.entry.metrics,
                    )
                    self._end(call, record)
        else:
            lost = {}
        for call in missed:
            assert call.task is not None, "it was looked up by its task's key"
            call.task.reason = "--no-cache" if not self._cache else self._explain(call.task, lost)
        return missed

    def _explain(self, task: NodeTask, lost: Mapping[str, str]) -> str:
        if task.key is not None and task.key in lost:
            return lost[task.key]
        if self._latest is None:
            graph = task.context.graph
            names = [n.name for n in graph.nodes]
            self._latest = dict(self._catalog.find_previous_nodes(graph.workflow, names))
        return explain_miss(self._latest.get(task.node.name), task.fingerprint, task.input_hashes)

    def _make_task(self, call: Call) -> NodeTask:
        trial, node = next(iter(call.users.items()))
        inputs = trial.binder.bind_inputs(node)
        check_limits(node, trial.binder, trial.context.store)
        uncacheable = find_uncacheable(node, inputs)
        hashes = {n: b.hash for n, b in inputs.items() if b.hash is not None and not b.secret}
        key = None if uncacheable else compute_key(call.fingerprint, hashes)
        board = _Board(self, trial.run_id)
        return NodeTask(board, trial.context, node, inputs, call.fingerprint, key, uncacheable or "")

    def _secrets(self, call: Call) -> tuple[str, ...]:
        return next(iter(call.users)).context.secrets

    # Running

    def _launch(self) -> None:
        """Launch what is ready and fits, the earliest trials first."""
        waiting = []
        while self._ready:
            item = heapq.heappop(self._ready)
            call = item[2]
            if not call.is_wanted:
                # A later trial that asks for the same makes a call anew.
                self._table.remove(call)
                self._forget_task(call)
                continue
            task = call.task
            assert task is not None, "what is ready has a task"
            need = task.node.operator.resources
            if not self._budget.fits(need):
                waiting.append(item)
                if len(waiting) > self._limits.parallel:
                    break
                continue
            self._budget.take(need)
            self._running[task] = call
            self.tally.executed[task.node.operator.name] += 1
            self._launcher.launch(task)
        for item in waiting:
            heapq.heappush(self._ready, item)

    def _collect(self) -> None:
        """Wait for an event, not longer than until the next write, and take all that are there."""
        left = self._written_at + WRITE_S - monotonic()
        try:
            event = self._events.get(timeout=max(left, 0.001))
        except queue.Empty:
            return
        while True:
            self._handle(*event)
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                return

    def _handle(self, kind: str, task: NodeTask | None, payload: Any) -> None:
        if task is None:
            return
        if kind == "point":
            point, seen = payload
            self._take_point(self._running.get(task), point)
            seen.set()
            return
        call = self._running.get(task)
        if call is None or kind in ("started", "retry"):
            return
        del self._running[task]
        self._budget.give_back(task.node.operator.resources)
        if kind == "done":
            self._end_done(call, task, payload)
        elif kind == "cancelled":
            self._end(call, replace(task.record(Status.CANCELLED), finished_at=utc_now()))
        else:
            failure: NodeFailure = payload
            if failure.platform and self.platform_error is None:
                self.platform_error = rebuild_platform_error(failure.info)
                self.stop()
            self._fail(call, failure.info, failure.metrics)

    def _end_done(self, call: Call, task: NodeTask, outcome: Outcome) -> None:
        call.artifacts = {o.name: a for o, a in zip(outcome.outputs, outcome.artifacts, strict=True)}
        self._batch.artifacts.extend(outcome.artifacts)
        record = replace(
            task.record(Status.COMPLETED),
            finished_at=utc_now(),
            outputs=outcome.outputs,
            metrics=outcome.metrics,
        )
        if task.key:
            self._batch.entries[task.key] = CacheEntry(
                task.key, task.context.run_id, task.node.name, outcome.outputs, outcome.metrics
            )
        if self._latest is not None:
            self._latest[task.node.name] = record
        if record.started_at is not None:
            self._unsaved_s += (utc_now() - record.started_at).total_seconds()
        self._end(call, record)

    def _fail(self, call: Call, error: ErrorInfo, metrics: tuple[MetricPoint, ...] = ()) -> None:
        record = call.task.record(Status.FAILED) if call.task else _blank(call, call.node, Status.FAILED)
        self._end(call, replace(record, finished_at=utc_now(), error=error, metrics=metrics))

    def _end(self, call: Call, result: NodeRun) -> None:
        """Give a call's result to all that wait for it, and what they wait for in turn."""
        run_id = call.task.context.run_id if call.task else ""
        todo = [(call, result, run_id)]
        touched: dict[Trial, None] = {}
        while todo:
            call, result, run_id = todo.pop()
            self._forget_task(call)
            call.result, call.run_id = result, run_id
            completed = result.status is Status.COMPLETED
            if not completed:
                self._table.remove(call)
            users, call.users = call.users, {}
            for trial, node in users.items():
                del trial.calls[node.name]
                self._give(call, trial, node)
                touched[trial] = None
            for follower in call.followers:
                follower.artifacts = call.artifacts
                todo.append((follower, result, run_id))
            for reader in call.readers:
                reader.missing -= 1
                if reader.result is None and not completed:
                    todo.append((reader, _blank(reader, reader.node, Status.SKIPPED), ""))
                elif reader.result is None and reader.missing == 0 and reader.users:
                    self._undecided.append(reader)
            call.followers, call.readers = [], []
        for trial in touched:
            if not trial.calls:
                self._finish(trial)

    def _forget_task(self, call: Call) -> None:
        if call.task is not None:
            key = call.task.key
            if key is not None and self._by_key.get(key) is call:
                del self._by_key[key]
            call.task = None

    def _give(self, call: Call, trial: Trial, node: Node) -> None:
        record = call.give(node, trial.run_id)
        if record.cached:
            self.tally.saved[record.operator] += 1
        trial.done[node.name] = record
        for name, artifact in call.artifacts.items():
            trial.binder.produced[node.name, name] = artifact
        self._batch.nodes[trial.run_id, node.name] = record

    # Trials that end

    def _finish(self, trial: Trial, status: Status | None = None) -> None:
        if self._flying.pop(trial.number, None) is None:
            return
        ended, values = end_trial(trial, self._objective, status)
        if self._searcher.stops_early:
            # Calls that hit, or that the trial joined late, told nothing of it while they ran.
            for step, value in find_curve(ended.metrics, self._objective.metrics[0]):
                self._searcher.report(trial.number, step, value)
        self._batch.ended.append(ended)
        self._searcher.tell(trial.number, ended.status, values)
        tally = self.tally
        tally.counts[Status.RUNNING] -= 1
        tally.counts[ended.status] += 1
        if values is not None and len(values) == 1:
            best = tally.best
            if best is None or self._objective.is_better(values[0], best.value):
                tally.best = Best(trial.number, trial.run_id, trial.point, values[0])
        if ended.status is Status.FAILED:
            self.last_error = ended.error.message if ended.error else ""
            self._listener.trial_failed(trial.number, ended.error)
            allowed = self._limits.max_failures
            if allowed is not None and tally.counts[Status.FAILED] > allowed and self.failure is None:
                count = tally.counts[Status.FAILED]
                message = f"{count} trials failed, more than max_failures={allowed}"
                self.failure = ErrorInfo("TooManyFailures", message)
                self.stop()

    def _drop(self, trial: Trial, status: Status) -> None:
        """End a trial before its nodes have ended; calls that nobody else waits for stop."""
        for name, call in list(trial.calls.items()):
            node = call.users.pop(trial)
            began = call.task is not None and call.task in self._running
            record = _blank(call, node, status if began else Status.SKIPPED)
            trial.done[name] = replace(record, metrics=tuple(trial.points.get(name, ())))
            self._batch.nodes[trial.run_id, name] = trial.done[name]
            if not call.is_wanted:
                self._table.remove(call)
                if began and call.task is not None:
                    call.task.cancel()
                else:
                    self._forget_task(call)
        trial.calls.clear()
        self._finish(trial, status)

    def _take_point(self, call: Call | None, point: MetricPoint) -> None:
        """Pass a reported value on to the trials that wait for the call; some of them may stop for it."""
        if call is None:
            return
        for trial, node in [pair for c in (call, *call.followers) for pair in c.users.items()]:
            trial.points.setdefault(node.name, []).append(point)
            is_objective = point.step is not None and point.name == self._objective.metrics[0]
            if is_objective and self._searcher.report(trial.number, int(point.step or 0), point.value):
                self._drop(trial, Status.PRUNED)

    # Recording

    def write(self) -> None:
        """Record what has happened since the last time, in one transaction."""
        batch, self._batch = self._batch, TrialBatch()
        self._unsaved_s = 0.0
        self._written_at = monotonic()
        while not self._lines.empty():
            batch.lines.append(self._lines.get_nowait())
        batch.artifacts += self._maker.take_artifacts()
        self._catalog.record_trials(self._sweep_id, self._process, batch, self.tally.executed)
        self._listener.progressed(self.tally)
        if self._catalog.is_stop_requested(self._sweep_id):
            self.drain()

    def post(self, kind: str, task: NodeTask | None, payload: Any = None) -> None:
        """Take what happened to a task, from any thread."""
        if kind != "started":
            self._events.put((kind, task, payload))

    def add_point(self, task: NodeTask, point: MetricPoint) -> None:
        """Take a reported metric, from any thread.

        Where trials may stop for it, a call in this process waits for the decision: it would otherwise be
        far ahead by then.
        """
        if not self._searcher.stops_early:
            return
        seen = threading.Event()
        self._events.put(("point", task, (point, seen)))
        if task.thread_id == threading.get_ident():
            seen.wait(DECISION_S)

    def add_line(self, run_id: str, line: LogLine) -> None:
        """Take a log line of a trial, from any thread."""
        self._lines.put((run_id, line))


@dataclass(frozen=True)
class _Board:
    """Where a trial's tasks say what happened to them."""

    driver: Driver
    run_id: str

    def post(self, kind: str, task: NodeTask, payload: Any = None) -> None:
        self.driver.post(kind, task, payload)

    def add_line(self, line: LogLine) -> None:
        self.driver.add_line(self.run_id, line)

    def add_point(self, task: NodeTask, point: MetricPoint) -> None:
        self.driver.add_point(task, point)

    def cancel(self) -> None:
        self.driver.stop()


def _blank(call: Call, node: Node, status: Status) -> NodeRun:
    return NodeRun(
        name=node.name,
        operator=node.operator.name,
        position=node.position,
        status=status,
        fingerprint=call.fingerprint,
    )
