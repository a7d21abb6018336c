"""Calls an operator in a child process that can be killed, with its children."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any

import cloudpickle

from flowlearner.cache import BoundValue
from flowlearner.engine.logs import NodeContext
from flowlearner.engine.node import NodeFailure, Outcome
from flowlearner.operation import Operator
from flowlearner.records import ErrorInfo, LogLine, MetricPoint


@dataclass(frozen=True)
class Request:
    """All that a child needs. It travels by cloudpickle and is never stored."""

    operator: Operator[Any, Any]
    fingerprint: str
    inputs: Mapping[str, BoundValue]
    store_url: str
    inline_limit_bytes: int
    run_id: str
    node: str
    secrets: tuple[str, ...]


def call_in_child(
    request: Request, context: NodeContext, timeout_s: float | None, started: Callable[[ChildProcess], None]
) -> Outcome:
    """Run a request in a child process and wait for it.

    Args:
        context: receives logs and metrics as they come.
        timeout_s: the child and its children are killed after this time.
        started: is given the process, so that it can be killed from elsewhere.

    Raises:
        NodeFailure: the operator failed, timed out, or its process died.
    """
    ours, theirs = Pipe()
    child = ChildProcess(theirs)
    theirs.close()
    started(child)
    try:
        ours.send_bytes(cloudpickle.dumps(sys.path))
        ours.send_bytes(cloudpickle.dumps(request))
        return _listen(ours, child, context, timeout_s)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        code = child.wait()
        raise NodeFailure(_describe_death(request.node, code), lines=tuple(context.lines)) from None
    finally:
        ours.close()
        child.kill()


def _listen(ours: Connection, child: ChildProcess, context: NodeContext, timeout_s: float | None) -> Outcome:
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not ours.poll(left):
            child.kill()
            info = ErrorInfo("TimeoutError", f"took longer than timeout_s={timeout_s:g}; the process was killed")
            raise NodeFailure(info, metrics=tuple(context.metrics), lines=tuple(context.lines))
        kind, payload = pickle.loads(ours.recv_bytes())
        if kind == "line" and isinstance(payload, LogLine):
            context.add_line(payload.level, payload.message)
        elif kind == "metric" and isinstance(payload, MetricPoint):
            context.metrics.append(payload)
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
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return ErrorInfo("ProcessDied", f"the process of node '{node}' was killed by {name}{hint}")
    return ErrorInfo("ProcessDied", f"the process of node '{node}' ended with exit status {code} before it returned")


class ChildProcess:
    """A child in a session of its own."""

    def __init__(self, theirs: Connection) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flowlearner.engine.child", str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=2,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """Kill the process with everything that it started; returns when it is gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait(self) -> int:
        return self._process.wait()
