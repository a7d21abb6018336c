"""The `prefect` executor: a run is a Prefect flow run, each node that runs a Prefect task.

It alone imports Prefect, with `connection`. Keys, results and liveness are ours: Prefect's cache,
result persistence and flow heartbeats are off.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import inspect
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

# Prefect reads its logging set-up once, at import; a user's own choice in the environment wins.
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")

import prefect
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import RunInput, State, TaskRunResult
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import Abort
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Crashed, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task

from flowlearner.config import get_settings
from flowlearner.definition import Definition
from flowlearner.engine.base import RunListener, RunOptions
from flowlearner.engine.connection import connected
from flowlearner.engine.logs import FORWARDED, outside_node
from flowlearner.engine.node import NodeCancelled, NodeFailure, describe_error
from flowlearner.engine.server import ensure_server
from flowlearner.engine.submit import Submission, is_run_id, new_run_id, prepare, run_submission
from flowlearner.engine.task import Board, NodeTask
from flowlearner.errors import LeaseLost, ParameterError, ServerError
from flowlearner.interface import MISSING, Param
from flowlearner.params import conform_given, parse_param
from flowlearner.records import ErrorInfo, LogLine, Status
from flowlearner.secrecy import conceal
from flowlearner.spec import Mismatch

CANCEL_POLL_S = 2.0


@dataclass
class _Call:
    """A run that was prepared for a flow, and its outcome: what a flow returns belongs to Prefect."""

    submission: Submission
    run_id: str | None = None
    error: BaseException | None = None


_call: contextvars.ContextVar[_Call | None] = contextvars.ContextVar("flowlearner_call", default=None)


class OperatorFailed(Exception):
    """What Prefect sees of a failed node: the user's error, without this package's frames."""


class PrefectLauncher:
    """Submits each node as a task of the current flow run."""

    def __init__(self, tags: tuple[str, ...]) -> None:
        self._futures: dict[str, PrefectFuture[Any]] = {}
        self._body: Task[..., Any] = Task(
            fn=_call_node, tags=set(tags), cache_policy=NO_CACHE, persist_result=False
        )
        self._watched = False
        self._ended = threading.Event()

    def __enter__(self) -> PrefectLauncher:
        return self

    def __exit__(self, *ignored: object) -> None:
        self._ended.set()

    def launch(self, task: NodeTask) -> None:
        if not self._watched:
            self._watched = True
            watch = contextvars.copy_context().run
            threading.Thread(target=watch, args=(self._watch_cancel, task.board), daemon=True).start()
        node = task.node
        # A copy: to make a task Prefect reads and hashes the source of its function, the same for every node.
        body = copy.copy(self._body)
        body.name = body.task_run_name = node.name
        body.description = node.operator.interface.doc or None
        body.retries = task.retries
        # All of these have ended. Prefect is told of them for its picture of the run; to wait for them would
        # cost it a look at each one.
        upstream: set[RunInput] = {
            TaskRunResult(id=self._futures[n].task_run_id) for n in node.upstream if n in self._futures
        }
        context = FlowRunContext.get()
        assert context is not None, "nodes are launched in a flow run"
        future = context.task_runner.submit(
            body, {"opaque": _Opaque(task)}, dependencies={"opaque": upstream}
        )
        self._futures[node.name] = future
        future.add_done_callback(lambda done: _report_lost(task, done))

    def _watch_cancel(self, board: Board) -> None:
        """Stop the run when somebody cancels it on Prefect's pages or by its command line."""
        context = FlowRunContext.get()
        if context is None or context.flow_run is None:
            return
        client = get_client(sync_client=True)
        while not self._ended.wait(CANCEL_POLL_S):
            # A server that is away for a while is no reason to stop.
            with contextlib.suppress(Exception):
                state = client.read_flow_run(context.flow_run.id).state
                if state is not None and (state.is_cancelling() or state.is_cancelled()):
                    board.cancel()
                    return


class _Opaque:
    """Hides a task from Prefect, which would otherwise search its arguments for futures."""

    __slots__ = ("task",)

    def __init__(self, task: NodeTask) -> None:
        self.task = task

    def __repr__(self) -> str:
        return f"<node {self.task.node.name}>"


def _call_node(opaque: _Opaque) -> Any:
    """Body of every Prefect task: one attempt at a node."""
    task = opaque.task
    context = TaskRunContext.get()
    attempt = context.task_run.run_count if context else 1
    logger = get_run_logger()

    def forward(line: LogLine) -> None:
        level = logging.getLevelNamesMapping().get(line.level, logging.INFO)
        logger.log(level, line.message, extra={FORWARDED: True})

    result = _call_detached(task, attempt, forward)
    if isinstance(result, NodeFailure):
        if attempt > task.retries or result.platform:
            task.failed(result)
            return Failed(message=str(result)) if result.platform else _raise(result)
        task.will_retry()
        _raise(result)
    if isinstance(result, NodeCancelled):
        task.was_cancelled()
        return Cancelled(message="the run was cancelled")
    task.succeeded(result)
    return None


def _raise(failure: NodeFailure) -> Any:
    raise OperatorFailed(f"{failure.info.type}: {failure.info.message}") from None


def _call_detached(task: NodeTask, attempt: int, sink: Callable[[LogLine], None]) -> Any:
    """Make the attempt in a daemon thread: a cancelled run need not wait for code that cannot be stopped."""
    box: list[Any] = []
    task.ended.clear()

    def work() -> None:
        try:
            box.append(task.call(attempt, sink))
        except (NodeFailure, NodeCancelled) as ended:
            box.append(ended)
        except BaseException as error:  # noqa: BLE001 - an empty box would read as cancelled
            box.append(NodeFailure(describe_error(error, task.context.secrets), platform=True))
        finally:
            task.ended.set()

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=task.node.name, daemon=True).start()
    task.ended.wait()
    return box[0] if box else NodeCancelled()


def _report_lost(task: NodeTask, future: PrefectFuture[Any]) -> None:
    """Fail a node whose Prefect task ended without calling it, so that the run never hangs."""
    # What its thread has returned is its state; without this every task is asked for at the server.
    with contextlib.suppress(Exception):
        future.wait(timeout=0)
    state = future.state
    if not state.is_completed():
        message = f"Prefect ended the task in state {state.name}: {state.message}"
        task.failed(NodeFailure(ErrorInfo("ServerError", message), platform=True))


def run_flow(submission: Submission) -> str:
    """Run a submission as a Prefect flow run on the configured or the local server; return the run's id."""
    url = ensure_server(submission.settings, submission.listener.say)
    flow = make_flow(submission.definition, submission.options, submission.listener)
    parameters = {
        name: _as_parameter(v) for name, v in {**submission.bound.static, **submission.bound.values}.items()
    }
    for name in submission.bound.secrets:
        parameters[name] = "***"
    call = _Call(submission)
    token = _call.set(call)
    try:
        with outside_node(), connected(url), prefect.tags(*_name_tags(submission.options)):
            flow(**parameters, return_state=True)
    except (Exception, Abort) as error:
        if call.run_id is None and call.error is None:
            raise _refused(url, error) from error
        # The run has ended and is recorded; only Prefect's picture of it is not whole. Where another process
        # has recorded its end, that has told Prefect, which takes no other end then.
        if not isinstance(call.error, LeaseLost):
            sentence = f"{_refused(url, error)} The run is recorded; Prefect does not know its end."
            submission.listener.say(sentence)
    finally:
        _call.reset(token)
    if call.error is not None:
        raise call.error
    assert call.run_id is not None
    return call.run_id


def _refused(url: str, error: BaseException) -> ServerError:
    return ServerError(
        f"The Prefect server at {url} fails or does not answer ({type(error).__name__}: {error})."
    )


def make_flow(
    definition: Definition, options: RunOptions, listener: RunListener | None
) -> prefect.Flow[..., Any]:
    """Make the Prefect flow of a workflow.

    Called by Prefect (a deployment, `serve`, or a direct call) it makes a run of its own; called by
    `run_flow` it takes the run that was prepared.
    """

    # A runner may send the flow to another process by value: all that the body reaches must be picklable, so
    # what it does is in a function of this module, which goes by its name.
    def body(*args: Any, **kwargs: Any) -> Any:
        parameters = dict(zip((p.name for p in definition.interface.params), args, strict=False))
        return run_body(definition, options, listener, parameters | kwargs)

    body.__name__ = definition.name
    body.__qualname__ = definition.name
    body.__module__ = definition.fn.__module__
    body.__doc__ = definition.interface.doc
    body.__signature__ = make_signature(definition)  # type: ignore[attr-defined]
    body.__annotations__ = {p.name: _plain_type(p) for p in definition.interface.params}
    runner: Any = ThreadPoolTaskRunner(max_workers=256)
    flow: prefect.Flow[..., Any] = prefect.Flow(
        body,
        name=definition.name,
        description=definition.interface.doc or None,
        flow_run_name=new_run_id,
        task_runner=runner,
        validate_parameters=False,
        persist_result=False,
        log_prints=False,
    )
    file = Path(definition.fn.__code__.co_filename)
    place = str(file) if file.exists() else definition.fn.__module__
    flow._entrypoint = f"{place}:{definition.fn.__qualname__}.flow"
    return flow


def run_body(
    definition: Definition, options: RunOptions, listener: RunListener | None, parameters: dict[str, Any]
) -> Any:
    """Do what a flow does: run what was prepared for it, or else what Prefect asks for."""
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    call = _call.get()
    if call is None:
        chosen = replace(options, executor="prefect", tags={**options.tags, **_deployment_tags(flow_run)})
        given = _from_prefect(definition, parameters)
        call = _Call(prepare(definition, given, chosen, get_settings(), listener))
    result = _run_in_flow(call, flow_run)
    flow = context.flow if context else None
    if flow is not None and flow.retries and isinstance(result, State) and result.is_failed():
        # Prefect makes a flow again that raised; one that returned what failed waits for ever.
        raise OperatorFailed(result.message)
    return result


def run_prepared(submission: Submission) -> Any:
    """Do what a flow does with a run that was prepared in it."""
    context = FlowRunContext.get()
    return _run_in_flow(_Call(submission), context.flow_run if context else None)


def _run_in_flow(call: _Call, flow_run: Any) -> Any:
    submission = call.submission
    ended: list[State[Any]] = []
    # A flow that one of the nodes calls is a run of its own.
    token = _call.set(None)

    def remember(status: Status, error: ErrorInfo | None) -> None:
        if status is Status.FAILED:
            ended.append(Failed(message=error.message if error else "a node failed"))
        elif status is Status.CRASHED:
            ended.append(Crashed(message=error.message if error else "another process has recorded its end"))
        elif status is Status.CANCELLED:
            ended.append(Cancelled(message="the run was cancelled"))

    try:
        with PrefectLauncher(_name_tags(submission.options)) as launcher:
            call.run_id = run_submission(
                submission,
                launcher,
                run_id=_find_run_id(flow_run),
                flow_run_id=str(flow_run.id) if flow_run is not None else None,
                api_url=PREFECT_API_URL.value(),
                on_status=remember,
            )
    except BaseException as error:  # noqa: BLE001 - whoever called the flow raises it again
        call.error = error
        if isinstance(error, KeyboardInterrupt):
            return ended[0] if ended else Cancelled(message="interrupted")
        return ended[0] if ended else Failed(message=f"{type(error).__name__}: {error}")
    finally:
        _call.reset(token)
    return ended[0] if ended else call.run_id


def _find_run_id(flow_run: Any) -> str | None:
    """Return the id that a flow run has as its name, unless somebody gave it another or it is made again."""
    if flow_run is None or flow_run.run_count > 1 or not is_run_id(flow_run.name):
        return None
    name: str = flow_run.name
    return name


def _name_tags(options: RunOptions) -> tuple[str, ...]:
    """Return a run's tags as Prefect has them: texts without a value."""
    return tuple(f"{name}:{value}" for name, value in options.tags.items())


def _deployment_tags(flow_run: Any) -> dict[str, str]:
    if flow_run is None or flow_run.deployment_id is None:
        return {}
    return {"deployment": str(flow_run.deployment_id)}


def make_signature(definition: Definition) -> inspect.Signature:
    """Return the workflow's signature as Prefect's forms and schedules need it: plain types and defaults."""
    params: list[inspect.Parameter] = []
    kind: Any = inspect.Parameter.POSITIONAL_OR_KEYWORD
    for p in definition.interface.params:
        default: Any = inspect.Parameter.empty
        if not p.required:
            default = None if p.default is MISSING else _show_default(p)
        follows_default = bool(params) and params[-1].default is not inspect.Parameter.empty
        if p.keyword_only or (p.required and follows_default):
            kind = inspect.Parameter.KEYWORD_ONLY
        params.append(inspect.Parameter(p.name, kind, default=default, annotation=_plain_type(p)))
    return inspect.Signature(params)


def _plain_type(param: Param) -> Any:
    base = param.type.base
    plain = base if base in (int, float, bool, str, date, datetime) else Any
    if param.type.is_table or param.type.kind in ("file", "secret"):
        plain = str
    return plain | None if (param.type.optional or param.type.kind == "seed") and plain is not Any else plain


def _from_prefect(definition: Definition, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as the workflow takes them: what Prefect has stored is JSON, where a date is a text.

    A default comes back as the text that stands for it, and is left out.
    """
    given: dict[str, Any] = {}
    for name, value in parameters.items():
        param = definition.interface.by_name.get(name)
        is_json = value is None or isinstance(value, (bool, int, float, str, list, dict))
        if param is not None and is_json:
            if param.default is not MISSING and value == _show_default(param):
                continue
            try:
                conform_given(param, value)
            except Mismatch:
                # What is no such text either is refused where all parameters are checked.
                with contextlib.suppress(ParameterError, TypeError):
                    value = parse_param(param, value if isinstance(value, str) else json.dumps(value))
        given[name] = value
    return given


def _show_default(param: Param) -> Any:
    return _as_parameter(conceal(param.default, param.type))


def _as_parameter(value: Any) -> Any:
    """Return a value as Prefect may store it: JSON, or a short text for what only our store holds."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)) and len(value) <= 1000:
        return [_as_parameter(v) for v in value]
    if isinstance(value, (os.PathLike, date)):
        return str(value)
    return str(getattr(value, "name", None) or f"<{type(value).__name__}>")
