"""The `local` executor: nodes run in daemon threads of this process."""

from __future__ import annotations

import contextlib
import threading
from contextvars import Context
from queue import SimpleQueue

from flowlearner.engine.node import NodeCancelled, NodeFailure, describe_error
from flowlearner.engine.task import NodeTask


class LocalLauncher:
    """Gives each node a thread; the scheduler holds the limits.

    A thread whose node has ended takes another one: to start a thread costs as much as all else around a node
    that does nothing. A thread that hangs in a node that was cancelled is left behind.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[NodeTask | None] = SimpleQueue()
        self._free = 0
        self._closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> LocalLauncher:
        return self

    def __exit__(self, *ignored: object) -> None:
        with self._lock:
            self._closed = True
            free = self._free
        for _ in range(free):
            self._tasks.put(None)

    def launch(self, task: NodeTask) -> None:
        with self._lock:
            waits = self._free > 0
            if waits:
                self._free -= 1
        if waits:
            self._tasks.put(task)
        else:
            threading.Thread(target=self._work, args=(task,), daemon=True).start()

    def _work(self, first: NodeTask) -> None:
        task: NodeTask | None = first
        # How a cancelled node is stopped may reach its thread just after the node has ended.
        with contextlib.suppress(NodeCancelled):
            while task is not None:
                threading.current_thread().name = task.node.name
                # What a node sets for its context, such as the precision of decimals, ends with it.
                Context().run(run_attempts, task)
                with self._lock:
                    if self._closed:
                        return
                    self._free += 1
                task = self._tasks.get()


def run_attempts(task: NodeTask) -> None:
    """Call a task until it succeeds, its retries are used up, or the run is cancelled."""
    try:
        for attempt in range(1, task.retries + 2):
            try:
                outcome = task.call(attempt)
            except NodeFailure as failure:
                if attempt > task.retries or failure.platform:
                    task.failed(failure)
                    return
                task.will_retry()
            else:
                task.succeeded(outcome)
                return
    except NodeCancelled:
        task.was_cancelled()
    except BaseException as error:  # noqa: BLE001 - a task that says nothing would leave its run waiting for ever
        task.failed(NodeFailure(describe_error(error, task.context.secrets), platform=True))
