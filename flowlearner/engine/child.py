"""The child process of an isolated node: receives a request, calls the operator, sends the outcome."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from flowlearner.artifacts import ArtifactStore, register_codec
from flowlearner.engine.logs import NodeContext, captured
from flowlearner.engine.node import NodeFailure, call_operator, describe_error
from flowlearner.engine.process import Request
from flowlearner.loading import claim_folders
from flowlearner.operation import Operator
from flowlearner.records import ErrorInfo, LogLine

Send = Callable[[str, Any], None]


def load_request(connection: Connection) -> Request:
    """Receive what is to be called.

    Raises:
        NodeFailure: the operator does not load here, or is another one than when the run began.
    """
    # The first message says where the parent finds modules, to which the request refers.
    sys.path[:], roots = pickle.loads(connection.recv_bytes())  # noqa: S301 - our own parent wrote it
    claim_folders(roots)
    try:
        request = pickle.loads(connection.recv_bytes())  # noqa: S301 - our own parent wrote it
    except BaseException as error:  # noqa: BLE001 - whatever the user's modules raise while they are imported
        info = describe_error(error)
        message = f"the operator cannot be loaded in a child process: {info.type}: {info.message}"
        raise NodeFailure(ErrorInfo(info.type, message, info.traceback)) from None
    assert isinstance(request, Request), "a parent sends one request"
    for codec in request.codecs:
        register_codec(codec)
    if _is_imported(request.operator):
        now = request.operator.fingerprint()
        # Code that was sent by value has no source here: it is what the parent holds.
        if now.source and now.digest != request.fingerprint and not now.problems:
            message = (
                f"operator '{request.operator.name}': its source changed after the run began; run it again"
            )
            raise NodeFailure(ErrorInfo("SourceChanged", message))
    return request


def _is_imported(operator: Operator[Any, Any]) -> bool:
    """Tell whether the operator was found in a module here, instead of having travelled by value."""
    found: Any = sys.modules.get(operator.fn.__module__)
    for part in operator.fn.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is operator


def main(fd: int) -> None:
    connection = Connection(fd)
    lock = threading.Lock()

    def send(kind: str, payload: Any) -> None:
        with lock:
            connection.send_bytes(pickle.dumps((kind, payload)))

    def send_line(line: LogLine) -> None:
        send("line", line)

    try:
        request = load_request(connection)
        context = NodeContext(
            request.run_id,
            request.node,
            send_line,
            request.secrets,
            echo=False,
            # At once, so that a killed node keeps its curve.
            point_sink=lambda point: send("metric", point),
        )
        store = ArtifactStore(request.store_url, request.inline_limit_bytes)
        send("calling", None)
        with captured():
            outcome = call_operator(request.operator, request.inputs, store, context)
    except NodeFailure as failure:
        send("failed", (failure.info, failure.platform))
    else:
        send("done", (outcome.outputs, outcome.artifacts))
