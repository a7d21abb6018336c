"""The `local` executor: nodes run in daemon threads of this process."""

from __future__ import annotations

import threading

from flowlearner.engine.node import NodeCancelled, NodeFailure, describe_error
from flowlearner.engine.task import NodeTask


class LocalLauncher:
    """Starts each node in a thread of its own; the scheduler holds the limits."""

    def launch(self, task: NodeTask) -> None:
        threading.Thread(target=run_attempts, args=(task,), name=task.node.name, daemon=True).start()


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
