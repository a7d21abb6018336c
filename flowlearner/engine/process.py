"""Calls an operator in a child process that can be killed, with its children."""

from __future__ import annotations

import io
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import CodeType
from typing import Any, ClassVar

import cloudpickle

from flowlearner.artifacts import Codec
from flowlearner.cache import BoundValue
from flowlearner.engine.guard import kill_family
from flowlearner.engine.logs import NodeContext
from flowlearner.engine.node import NodeFailure, Outcome
from flowlearner.loading import get_roots
from flowlearner.operation import Operator
from flowlearner.records import ErrorInfo, LogLine, MetricPoint

# Loading the user's code does not count for `timeout_s`, but it must not hang for ever either.
STARTUP_S = 120.0
LIVENESS_POLL_S = 0.2
# Neither the working folder nor the user's path comes before the standard library until the child has
# loaded what it needs: a user's file may be named like a module of it.
_START = (
    f"import sys; sys.path.append({str(Path(__file__).parents[2])!r}); "
    "from flowlearner.engine.guard import watch_parent; fd = int(sys.argv[1]); watch_parent(1, 2, fd); "
    "from flowlearner.engine.child import main; main(fd)"
)


@dataclass(frozen=True)
class Request:
    """All that a child needs. It travels by cloudpickle and is never stored.

    Attributes:
        codecs: the user's own in the order of their registration; the operator's module need not load them.
    """

    operator: Operator[Any, Any]
    fingerprint: str
    inputs: Mapping[str, BoundValue]
    store_url: str
    inline_limit_bytes: int
    run_id: str
    node: str
    secrets: tuple[str, ...]
    codecs: tuple[Codec, ...]


def call_in_child(
    request: Request, context: NodeContext, timeout_s: float | None, started: Callable[[ChildProcess], None]
) -> Outcome:
    """Run a request in a child process and wait for it.

    Args:
        context: receives logs and metrics as they come.
        timeout_s: the child and its children are killed when the call has taken this long.
        started: is given the process, so that it can be killed from elsewhere.

    Raises:
        NodeFailure: the operator failed, timed out, or its process died.
    """
    ours, theirs = Pipe()
    try:
        try:
            body = _dump(request)
        except Exception as error:  # noqa: BLE001 - whatever the user's objects raise
            message = f"the operator cannot be sent to a child process: {type(error).__name__}: {error}"
            raise NodeFailure(ErrorInfo(type(error).__name__, message)) from None
        child = ChildProcess(theirs)
    finally:
        theirs.close()
    started(child)
    try:
        ours.send_bytes(pickle.dumps((sys.path, get_roots())))
        ours.send_bytes(body)
        return _listen(ours, child, context, timeout_s)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        info = _describe_death(request.node, child.wait())
        raise NodeFailure(info, metrics=tuple(context.metrics), lines=tuple(context.lines)) from None
    finally:
        ours.close()
        child.kill()


def _dump(request: Request) -> bytes:
    with io.BytesIO() as body:
        _Pickler(body).dump(request)
        return body.getvalue()


def _reduce_code(code: CodeType) -> tuple[Any, ...]:
    build, parts = cloudpickle.Pickler.dispatch_table[CodeType](code)
    return _build_code, (build, parts, code.co_filename)


def _build_code(build: Callable[..., CodeType], parts: tuple[Any, ...], filename: str) -> CodeType:
    return build(*parts).replace(co_filename=filename)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Keeps the names of the files that code is from, which a traceback shows with their lines."""

    dispatch_table: ClassVar[Any] = ChainMap({CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table)


def _listen(ours: Connection, child: ChildProcess, context: NodeContext, timeout_s: float | None) -> Outcome:
    """Take messages until the last; its absence is an EOFError."""
    deadline = time.monotonic() + STARTUP_S
    limit = f"the child process did not load the operator within {STARTUP_S:g} s"
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            child.kill()
            info = ErrorInfo("TimeoutError", f"{limit}; the process was killed")
            raise NodeFailure(info, metrics=tuple(context.metrics), lines=tuple(context.lines))
        # Not only the end of the pipe says that the child is gone: what it has forked may hold it open.
        if not ours.poll(min(left, LIVENESS_POLL_S)):
            if child.has_ended() and not ours.poll(0):
                raise EOFError
            continue
        kind, payload = pickle.loads(ours.recv_bytes())  # noqa: S301 - our own child wrote it
        if kind == "calling":
            deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
            limit = f"took longer than timeout_s={timeout_s:g}" if timeout_s is not None else ""
        elif kind == "line" and isinstance(payload, LogLine):
            context.add_line(payload.level, payload.message)
            if context.echo and payload.level == "PRINT":
                print(payload.message)
        elif kind == "metric" and isinstance(payload, MetricPoint):
            context.add_point(payload)
        elif kind == "done":
            outputs, artifacts = payload
            return Outcome(outputs, artifacts, tuple(context.metrics), tuple(context.lines))
        elif kind == "failed":
            info, platform = payload
            raise NodeFailure(
                info, metrics=tuple(context.metrics), lines=tuple(context.lines), platform=platform
            )


def _describe_death(node: str, code: int) -> ErrorInfo:
    if code < 0:
        # The numbers of real-time signals have no names.
        known = signal.Signals.__members__.values()
        name = signal.Signals(-code).name if -code in known else f"signal {-code}"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return ErrorInfo("ProcessDied", f"the process of node '{node}' was killed by {name}{hint}")
    return ErrorInfo(
        "ProcessDied", f"the process of node '{node}' ended with exit status {code} before it returned"
    )


class ChildProcess:
    """A child in a session of its own."""

    def __init__(self, theirs: Connection) -> None:
        self._lock = threading.Lock()
        self._gone = False
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            # Nothing is ever sent through it: that it closes says that this process has ended.
            stdin=subprocess.PIPE,
            stdout=2,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        """Kill the process with everything that it started; returns when it is gone."""
        with self._lock:
            if self._gone:
                return
            kill_family(self.pid)
            self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._gone = True

    def wait(self) -> int:
        """Return the exit status, negative for a signal; what the process left behind is killed."""
        code = self._process.wait()
        self.kill()
        return code
