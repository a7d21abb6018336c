"""Owns one node on its way through an executor: its attempts, its child process, how it is cancelled."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from flowlearner.artifacts import list_own_codecs
from flowlearner.cache import BoundValue
from flowlearner.engine.base import RunContext, utc_now
from flowlearner.engine.logs import NodeContext
from flowlearner.engine.node import NodeCancelled, NodeFailure, Outcome, call_operator
from flowlearner.engine.process import ChildProcess, Request, call_in_child
from flowlearner.graph import Node
from flowlearner.records import LogLine, MetricPoint, NodeRun, Status


class Board(Protocol):
    """Where tasks say what happened to them; called from any thread."""

    def post(self, kind: str, task: NodeTask, payload: Any = None) -> None: ...

    def add_line(self, line: LogLine) -> None: ...

    def add_point(self, task: NodeTask, point: MetricPoint) -> None: ...

    def cancel(self) -> None: ...


class Launcher(Protocol):
    """An executor: starts a task and returns at once."""

    def launch(self, task: NodeTask) -> None: ...


@dataclass(eq=False)
class NodeTask:
    """One node that has to run.

    Attributes:
        key: the cache key; None where the result is not cached.
        reason: why it did not hit.
        stop: ends it where it runs elsewhere than in this process.
        written: whether the catalog knows that the attempt runs.
        ended: set when nobody need wait for it any more.
    """

    board: Board
    context: RunContext
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
    stop: Callable[[], None] | None = None
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

    def call(self, attempt: int, extra_sink: Callable[[LogLine], None] | None = None) -> Outcome:
        """Make one attempt in the calling thread.

        Args:
            extra_sink: sees each log line besides the catalog.

        Raises:
            NodeFailure: this attempt failed.
            NodeCancelled: the run was cancelled.
        """
        if self.cancel_event.is_set():
            raise NodeCancelled
        self.attempt = attempt
        self.started_at = utc_now()
        self.board.post("started", self)
        sink = self.board.add_line
        if extra_sink is not None:
            extra = extra_sink

            def sink(line: LogLine) -> None:
                self.board.add_line(line)
                extra(line)

        run = self.context
        context = NodeContext(
            run.run_id,
            self.node.name,
            sink,
            run.secrets,
            echo=run.listener.echo_prints,
            point_sink=lambda point: self.board.add_point(self, point),
        )
        try:
            if self.node.operator.resources.in_child:
                return self._call_in_child(context)
            self.thread_id = threading.get_ident()
            try:
                return call_operator(self.node.operator, self.inputs, run.store, context)
            finally:
                self.thread_id = None
        except NodeFailure:
            if self.cancel_event.is_set():
                raise NodeCancelled from None
            raise

    def _call_in_child(self, context: NodeContext) -> Outcome:
        operator, store = self.node.operator, self.context.store
        request = Request(
            operator=operator,
            fingerprint=self.fingerprint,
            inputs=self.inputs,
            store_url=store.url,
            inline_limit_bytes=store.inline_limit_bytes,
            run_id=self.context.run_id,
            node=self.node.name,
            secrets=self.context.secrets,
            codecs=tuple(list_own_codecs()),
        )
        return call_in_child(request, context, operator.resources.timeout_s, self._child_started)

    def _child_started(self, child: ChildProcess) -> None:
        self.child = child
        if self.cancel_event.is_set():
            child.kill()

    def succeeded(self, outcome: Outcome) -> None:
        self.board.post("done", self, outcome)

    def failed(self, failure: NodeFailure) -> None:
        self.board.post("failed", self, failure)

    def will_retry(self) -> None:
        self.board.post("retry", self)

    def was_cancelled(self) -> None:
        self.board.post("cancelled", self)

    def cancel(self) -> None:
        """End the task from another thread.

        A child process is killed. Python code in a thread gets an exception at its next bytecode; a call
        that sits in C code is left behind in its daemon thread, and its result is not recorded.
        """
        self.cancel_event.set()
        self.ended.set()
        if self.child is not None:
            self.child.kill()
        if self.stop is not None:
            self.stop()
        thread_id = self.thread_id
        if thread_id is not None:
            cancelled = ctypes.py_object(NodeCancelled)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), cancelled)
        self.was_cancelled()
