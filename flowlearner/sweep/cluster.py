"""Calls of a sweep on a Ray cluster. This is the one module that imports Ray."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

# Ray reads these when it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import cloudpickle
import ray
from ray.exceptions import GetTimeoutError, RayError, TaskCancelledError

from flowlearner.artifacts import list_own_codecs
from flowlearner.capture import take_snapshot
from flowlearner.engine.base import Budget
from flowlearner.engine.node import NodeFailure
from flowlearner.engine.task import NodeTask
from flowlearner.errors import ServerError
from flowlearner.operation import Resources
from flowlearner.records import ErrorInfo, MetricPoint
from flowlearner.sweep.warm import explain_silence, find_ray_folder
from flowlearner.sweep.worker import Code, Reply, WorkerRequest, install_code, is_installed, make_call

CONNECT_S = 10.0
# A worker that was killed, by the kernel for want of memory or with its machine, says nothing of the call.
WORKER_RETRIES = 3
# Calls wait at the cluster, so that a worker that ends one has the next.
AHEAD = 2
# Points that are reported faster than this go together.
REPORT_S = 0.01
TAKE_S = 1.0
# Ray takes longer to pass a reference on than as few bytes as this.
SMALL_BYTES = 8192
DEFAULT = Resources()


class Mailbox:
    """An actor that takes what running calls report, and hands it to the driver."""

    def __init__(self) -> None:
        self._points: list[tuple[int, MetricPoint]] = []
        self._filled = asyncio.Event()

    async def put(self, call_id: int, points: list[MetricPoint]) -> None:
        self._points += [(call_id, point) for point in points]
        self._filled.set()

    async def take(self) -> list[tuple[int, MetricPoint]]:
        """Wait until there is something, or a while, and return all of it."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._filled.wait(), TAKE_S)
        self._filled.clear()
        taken, self._points = self._points, []
        return taken


class _Reporter:
    """Sends what a call reports, several points at a time where they come fast."""

    def __init__(self, mailbox: Any, call_id: int) -> None:
        self._mailbox = mailbox
        self._call_id = call_id
        self._held: list[MetricPoint] = []
        self._sent_at = 0.0

    def send(self, point: MetricPoint) -> None:
        self._held.append(point)
        if monotonic() - self._sent_at >= REPORT_S:
            self._mailbox.put.remote(self._call_id, self._held)
            self._held, self._sent_at = [], monotonic()


def load_this() -> None:
    """What Ray runs first: nothing, for which a worker has to start and to load this module."""


def make_caller(code_id: str, code: Any, mailbox: Any) -> Callable[..., Reply | None]:
    """Return what Ray runs: it makes one call, or, without one, loads the user's code only.

    Ray sends it to each worker once, and with it what all calls have in common.

    Args:
        code: reference to the Code.
        mailbox: takes what calls report while they run; None: nobody wants it.
    """

    def run_in_worker(
        operator_key: str = "", operator_body: bytes = b"", body: bytes = b"", call_id: int = 0
    ) -> Reply | None:
        if not is_installed(code_id):
            install_code(ray.get(code))
        if not body:
            return None
        send = None if mailbox is None else _Reporter(mailbox, call_id).send
        return make_call(operator_key, operator_body, body, send)

    return run_in_worker


class Cluster:
    """A Ray cluster, of its own on this machine or one that is there, and calls on it.

    Args:
        address: of an existing cluster; empty: one is started here, and stopped at the end.
        module: name of the workflow's module.
        snapshot_limit_bytes: bound on the user's source that is sent to workers.
        takes_points: whether what calls report is wanted while they run.

    Attributes:
        is_warm: is set once a worker has loaded the code.

    Raises:
        ServerError: the address does not answer.
    """

    def __init__(
        self, address: str, module: str, snapshot_limit_bytes: int, *, takes_points: bool = False
    ) -> None:
        self.is_warm = threading.Event()
        self._address = address
        self._module = module
        self._limit = snapshot_limit_bytes
        self._attachment = contextlib.ExitStack()
        self._resources: dict[str, float] = {}
        self._code_id = ""
        self._takes_points = takes_points
        self._mailbox: Any = None
        self._call: Any = None
        self._watched: dict[int, NodeTask] = {}
        self._operators: dict[str, Any] = {}
        self._remotes: dict[tuple[float, float, int], Any] = {}
        self._taker: threading.Thread | None = None
        self._closed = threading.Event()

    def __enter__(self) -> Cluster:
        self._attachment.enter_context(attached(self._address))
        self._resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        snapshot = take_snapshot(self._module, self._limit)
        self._code_id = snapshot.encode().hash
        code = ray.put(Code(self._code_id, self._module, snapshot.modules, tuple(sys.path)))
        if self._takes_points:
            self._mailbox = ray.remote(Mailbox).options(num_cpus=0).remote()
            self._taker = threading.Thread(target=self._collect_points, daemon=True)
            self._taker.start()
        self._call = ray.remote(make_caller(self._code_id, code, self._mailbox))
        send_to_worker(self._remote(DEFAULT), self.is_warm.set)
        return self

    def __exit__(self, *ignored: object) -> None:
        self._closed.set()
        if self._taker is not None:
            # It waits for the mailbox, and ends with it.
            ray.kill(self._mailbox)
            self._taker.join()
        self._attachment.close()

    @property
    def budget(self) -> Budget:
        """What calls in flight may take: more than there is, for some of them wait at the cluster."""
        found = self._resources
        return Budget(
            AHEAD * found.get("CPU", 0), AHEAD * found.get("GPU", 0), int(AHEAD * found.get("memory", 0))
        )

    def launch(self, task: NodeTask) -> None:
        self._submit(task, 1, 0)

    def _submit(self, task: NodeTask, attempt: int, deaths: int) -> None:
        operator = task.node.operator
        task.attempt = attempt
        key = task.fingerprint + operator.name
        try:
            if key not in self._operators:
                sent = cloudpickle.dumps(operator)
                self._operators[key] = sent if len(sent) <= SMALL_BYTES else ray.put(sent)
            request = WorkerRequest(
                task.inputs,
                task.fingerprint,
                task.context.store.url,
                task.context.store.inline_limit_bytes,
                task.context.run_id,
                task.node.name,
                task.context.secrets,
                tuple(list_own_codecs()),
            )
            body = cloudpickle.dumps(request)
        except Exception as error:  # noqa: BLE001 - whatever the user's objects raise
            message = f"the operator cannot be sent to a worker: {type(error).__name__}: {error}"
            task.failed(NodeFailure(ErrorInfo(type(error).__name__, message)))
            return
        call_id = id(task)
        if self._takes_points:
            self._watched[call_id] = task
        reference = self._remote(operator.resources).remote(key, self._operators[key], body, call_id)
        task.stop = lambda: _cancel(reference)
        reference.future().add_done_callback(lambda done: self._take(task, attempt, deaths, done))

    def _remote(self, need: Resources) -> Any:
        key = (need.cpus, need.gpus, need.memory_bytes)
        if key not in self._remotes:
            self._remotes[key] = self._call.options(
                num_cpus=need.cpus,
                num_gpus=need.gpus,
                memory=need.memory_bytes or None,
                max_retries=0,
            )
        return self._remotes[key]

    def _take(self, task: NodeTask, attempt: int, deaths: int, done: Any) -> None:
        """Pass on how a call ended; called in a thread of Ray's."""
        self._watched.pop(id(task), None)
        if task.cancel_event.is_set() or self._closed.is_set():
            return
        try:
            reply: Reply = done.result()
        except TaskCancelledError:
            task.was_cancelled()
            return
        except RayError as error:
            if deaths < WORKER_RETRIES:
                task.will_retry()
                self._submit(task, attempt, deaths + 1)
                return
            reason = str(error).strip().split("\n")[0]
            message = f"its worker died {deaths + 1} times ({type(error).__name__}: {reason})"
            task.failed(NodeFailure(ErrorInfo("WorkerDied", message)))
            return
        task.started_at = reply.started_at
        if reply.outcome is not None:
            for line in reply.outcome.lines:
                task.board.add_line(line)
            task.succeeded(reply.outcome)
            return
        assert reply.failure is not None, "a reply has one of the two"
        for line in reply.failure.lines:
            task.board.add_line(line)
        if attempt <= task.retries and not reply.failure.platform:
            task.will_retry()
            self._submit(task, attempt + 1, deaths)
        else:
            task.failed(reply.failure)

    def _collect_points(self) -> None:
        mailbox = self._mailbox
        while not self._closed.is_set():
            try:
                taken = ray.get(mailbox.take.remote())
            except RayError:
                return
            for call_id, point in taken:
                task = self._watched.get(call_id)
                if task is not None:
                    task.board.add_point(task, point)


def _cancel(reference: Any) -> None:
    with contextlib.suppress(RayError, ValueError):
        ray.cancel(reference, force=False)


@contextlib.contextmanager
def attached(address: str) -> Iterator[None]:
    """Be attached to a cluster, or have one, while this lasts; a worker begins at once.

    Nothing happens where this process is attached already.

    Raises:
        ServerError: the address does not answer in time.
    """
    if ray.is_initialized():
        yield
        return
    connect(address)
    try:
        # A worker takes longest to start: one does while the driver loads and reads code. More would take
        # the processors from both; calls start them.
        send_to_worker(ray.remote(load_this))
        yield
    finally:
        ray.shutdown()


def send_to_worker(remote: Any, then: Callable[[], None] = lambda: None) -> None:
    """Have something run in a worker, which makes it ready for calls."""

    def note(done: Any) -> None:
        # Calls will say what is wrong; errors that nobody reads would be printed.
        done.exception()
        then()

    remote.remote().future().add_done_callback(note)


def connect(address: str) -> None:
    """Attach to a cluster, or start one on this machine.

    Raises:
        ServerError: the address does not answer in time.
    """
    silence = explain_silence(address, CONNECT_S)
    if silence is not None:
        raise ServerError(
            f"FLOWLEARNER_RAY_ADDRESS: nothing answers at {address} ({silence}). Start the cluster, or leave "
            "the variable empty to use this machine"
        )
    # It says at each start that only who has its token may connect to a cluster of one's own.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    options: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "configure_logging": False,
    }
    if not address:
        options |= {"include_dashboard": False, "_temp_dir": find_ray_folder()}
    try:
        ray.init(address=address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError, GetTimeoutError) as error:
        where = f"the Ray cluster at {address}" if address else "a Ray cluster on this machine"
        raise ServerError(f"{where} does not start or answer: {error}") from error
