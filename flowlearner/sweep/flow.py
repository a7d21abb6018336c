"""Makes a sweep one Prefect flow run, which Prefect's pages and command line show. It imports Prefect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flowlearner.engine import prefect_executor  # noqa: F401 - it sets what Prefect reads as it is loaded

import prefect  # isort: skip
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flowlearner.engine.connection import connected
from flowlearner.engine.server import ensure_server
from flowlearner.engine.submit import is_run_id, new_run_id
from flowlearner.errors import FlowLearnerError, ServerError
from flowlearner.records import Status
from flowlearner.sweep.submit import FlowLink, SweepSubmission

Run = Callable[[FlowLink], tuple[str, Status]]


@dataclass
class _Outcome:
    sweep_id: str | None = None
    error: BaseException | None = None


def find_server(submission: SweepSubmission) -> str:
    """Return the URL of the configured or the local server, which is started if need be.

    Raises:
        ServerError: it does not start or answer.
    """
    return ensure_server(submission.settings, submission.listener.say)


def run_in_flow(submission: SweepSubmission, url: str, run: Run, sweep_id: str | None = None) -> str:
    """Run a sweep as a flow run; return the sweep's id.

    Within a flow run, such as that of a schedule, the sweep is that one.

    Args:
        url: of the server's API.
        run: makes the sweep.
        sweep_id: of a sweep that goes on; its flow run is named by it.

    Raises:
        ServerError: the server does not answer; nothing has run.
    """
    context = FlowRunContext.get()
    if context is not None and context.flow_run is not None:
        return run(_link(context.flow_run))[0]
    outcome = _Outcome()
    try:
        with connected(url), prefect.tags(*(f"{n}:{v}" for n, v in submission.options.tags.items())):
            _make_flow(submission, run, outcome, sweep_id)(return_state=True)
    except Exception as error:
        if outcome.sweep_id is None and outcome.error is None:
            raise ServerError(
                f"The Prefect server at {url} fails or does not answer ({type(error).__name__}: {error})."
            ) from error
        submission.listener.say(
            f"The Prefect server at {url} does not answer ({type(error).__name__}: {error}). "
            "The sweep is recorded; Prefect does not know its end."
        )
    if outcome.error is not None:
        raise outcome.error
    assert outcome.sweep_id is not None, "it has run"
    return outcome.sweep_id


def _make_flow(submission: SweepSubmission, run: Run, outcome: _Outcome, sweep_id: str | None) -> Any:
    definition = submission.definition

    def body() -> Any:
        context = FlowRunContext.get()
        assert context is not None, "a flow runs in its context"
        try:
            outcome.sweep_id, status = run(_link(context.flow_run))
        except BaseException as error:  # noqa: BLE001 - whoever called the flow raises it again
            outcome.error = error
            if isinstance(error, KeyboardInterrupt):
                return Cancelled(message="interrupted")
            return Failed(message=str(error) if isinstance(error, FlowLearnerError) else type(error).__name__)
        if status is Status.CANCELLED:
            return Cancelled(message="the sweep was stopped")
        return outcome.sweep_id if status is Status.COMPLETED else Failed(message="the sweep failed")

    body.__name__ = body.__qualname__ = f"{definition.name}_sweep"
    runner: Any = ThreadPoolTaskRunner(max_workers=1)
    return prefect.Flow(
        body,
        name=f"{definition.name} sweep",
        description=definition.interface.doc or None,
        flow_run_name=sweep_id or new_run_id,
        task_runner=runner,
        validate_parameters=False,
        persist_result=False,
        log_prints=False,
    )


def _link(flow_run: Any) -> FlowLink:
    name = flow_run.name if is_run_id(flow_run.name) and flow_run.run_count <= 1 else None
    return FlowLink(str(flow_run.id), PREFECT_API_URL.value() or "", name)
