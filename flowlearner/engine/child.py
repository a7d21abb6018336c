"""The child process of an isolated node: receives a request, calls the operator, sends the outcome."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from flowlearner.artifacts import ArtifactStore
from flowlearner.engine.logs import NodeContext, captured
from flowlearner.engine.node import NodeFailure, call_operator
from flowlearner.records import ErrorInfo, LogLine, MetricPoint

PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent dies (Linux; elsewhere the closed pipe ends it)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


class _SendingMetrics(list[MetricPoint]):
    """Reported points go to the parent at once, so that a killed node keeps its curve."""

    def __init__(self, send: Callable[[str, Any], None]) -> None:
        super().__init__()
        self._send = send

    def append(self, point: MetricPoint) -> None:
        self._send("metric", point)


def main(fd: int, parent_pid: int) -> None:
    die_with_parent(parent_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(fd)
    lock = threading.Lock()

    def send(kind: str, payload: Any) -> None:
        with lock:
            connection.send_bytes(pickle.dumps((kind, payload)))

    def send_line(line: LogLine) -> None:
        send("line", line)

    # The first message is the parent's sys.path: the request refers to modules that are found there.
    sys.path[:] = pickle.loads(connection.recv_bytes())
    try:
        request = pickle.loads(connection.recv_bytes())
        now = request.operator.fingerprint()
        if now.digest != request.fingerprint and not now.problems:
            message = "its source changed on disk after the run began; run it again"
            send("failed", (ErrorInfo("SourceChanged", f"operator '{request.operator.name}': {message}"), False))
            return
    except Exception as error:
        message = f"the operator cannot be loaded in a child process: {type(error).__name__}: {error}"
        send("failed", (ErrorInfo(type(error).__name__, message), False))
        return
    context = NodeContext(request.run_id, request.node, send_line, request.secrets, echo=False)
    context.metrics = _SendingMetrics(send)
    store = ArtifactStore(request.store_url, request.inline_limit_bytes)
    with captured():
        try:
            outcome = call_operator(request.operator, request.inputs, store, context)
        except NodeFailure as failure:
            send("failed", (failure.info, failure.platform))
        else:
            send("done", (outcome.outputs, outcome.artifacts))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
