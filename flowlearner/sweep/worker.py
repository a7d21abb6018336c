"""What a worker of a cluster does: load the user's code as the sweep began with it, make one call."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from flowlearner.artifacts import ArtifactStore, Codec, register_codec
from flowlearner.cache import BoundValue
from flowlearner.engine.base import utc_now
from flowlearner.engine.logs import NodeContext, captured
from flowlearner.engine.node import NodeFailure, Outcome, call_operator, describe_error
from flowlearner.engine.process import Request, call_in_child
from flowlearner.operation import Operator, is_restoring
from flowlearner.records import ErrorInfo, LogLine, MetricPoint
from flowlearner.restoring import Modules, put_on_path, unpack

FOLDER = "flowlearner-code"


@dataclass(frozen=True)
class Code:
    """The user's code of a sweep.

    Attributes:
        id: hash of the snapshot.
        module: the workflow's.
        modules: source of each module, and whether it is a package.
        path: where the driver finds modules; what the snapshot lacks is looked for there, where it exists.
    """

    id: str
    module: str
    modules: Modules
    path: tuple[str, ...]


@dataclass(frozen=True)
class WorkerRequest:
    """One call. It travels by cloudpickle and is never stored."""

    inputs: Mapping[str, BoundValue]
    fingerprint: str
    store_url: str
    inline_limit_bytes: int
    run_id: str
    node: str
    secrets: tuple[str, ...]
    codecs: tuple[Codec, ...]


@dataclass(frozen=True)
class Reply:
    """How a call ended: `outcome`, or else `failure`."""

    started_at: datetime
    outcome: Outcome | None = None
    failure: NodeFailure | None = None


_current: list[str] = []
_operators: dict[str, Operator[Any, Any]] = {}


def is_installed(code_id: str) -> bool:
    """Tell whether this process has loaded this code last."""
    return _current == [code_id]


def install_code(code: Code) -> None:
    """Let imports find the user's modules as the driver had them, and import the workflow's."""
    folder = unpack(code.id, code.modules, Path(tempfile.gettempdir(), f"{FOLDER}-{os.getuid()}"))
    put_on_path(folder, code.path)
    _operators.clear()
    _current[:] = [code.id]
    token = is_restoring.set(True)
    # What is wrong with it is said by the call that cannot do without.
    with contextlib.suppress(Exception, SystemExit):
        importlib.import_module(code.module)
    is_restoring.reset(token)


@lru_cache(maxsize=4)
def _open_store(url: str, inline_limit_bytes: int) -> ArtifactStore:
    return ArtifactStore(url, inline_limit_bytes)


def make_call(
    operator_key: str, operator_body: bytes, body: bytes, send: Callable[[MetricPoint], None] | None = None
) -> Reply:
    """Call an operator and store what it gives; the user's code is installed already.

    Args:
        operator_key: names the operator among those of the code.
        operator_body, body: an Operator and a WorkerRequest, pickled by the driver.
        send: receives what the operator reports, at once.
    """
    started_at = utc_now()
    try:
        operator = _operators.get(operator_key)
        if operator is None:
            operator = _operators[operator_key] = pickle.loads(operator_body)  # noqa: S301 - our driver wrote it
        request: WorkerRequest = pickle.loads(body)  # noqa: S301 - our driver wrote it
    except BaseException as error:  # noqa: BLE001 - whatever the user's modules raise while they are imported
        info = describe_error(error)
        message = f"the operator cannot be loaded in a worker: {info.type}: {info.message}"
        return Reply(started_at, failure=NodeFailure(ErrorInfo(info.type, message, info.traceback)))
    for codec in request.codecs:
        register_codec(codec)
    context = NodeContext(request.run_id, request.node, _keep, request.secrets, echo=False, point_sink=send)
    try:
        with captured():
            return Reply(started_at, _call(operator, request, context))
    except NodeFailure as failure:
        return Reply(started_at, failure=failure)


def _keep(line: LogLine) -> None:
    """The context keeps the line itself; the driver records it when the call has ended."""


def _call(operator: Operator[Any, Any], request: WorkerRequest, context: NodeContext) -> Outcome:
    if not operator.resources.in_child:
        store = _open_store(request.store_url, request.inline_limit_bytes)
        return call_operator(operator, request.inputs, store, context)
    child = Request(
        operator=operator,
        fingerprint=request.fingerprint,
        inputs=request.inputs,
        store_url=request.store_url,
        inline_limit_bytes=request.inline_limit_bytes,
        run_id=request.run_id,
        node=request.node,
        secrets=request.secrets,
        codecs=request.codecs,
    )
    return call_in_child(child, context, operator.resources.timeout_s, lambda started: None)
