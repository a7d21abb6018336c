"""Makes a sweep one Prefect flow run, which Prefect's pages and command line show. It imports Prefect."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from flowlearner.engine import prefect_executor  # noqa: F401 - it sets what Prefect reads as it is loaded

import prefect  # isort: skip
from prefect.context import FlowRunContext
from prefect.exceptions import Abort
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Crashed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flowlearner.engine.connection import connected
from flowlearner.engine.submit import is_run_id
from flowlearner.errors import ServerError
from flowlearner.records import Status
from flowlearner.sweep.beside import Ending, FlowLink
from flowlearner.sweep.submit import SweepSubmission

STATES = {Status.CANCELLED: Cancelled, Status.CRASHED: Crashed}


def find_current() -> FlowLink | None:
    """Return the flow run in which this is called, such as that of a schedule."""
    context = FlowRunContext.get()
    return None if context is None or context.flow_run is None else _link(context.flow_run)


def keep_flow(
    submission: SweepSubmission,
    url: str,
    sweep_id: str,
    began: Callable[[FlowLink], None],
    ending: Future[Ending],
) -> None:
    """Have a flow run of a sweep's name until the sweep has ended, and let it end as the sweep did.

    Args:
        url: of the server's API.
        began: is told which flow run it is.

    Raises:
        ServerError: the server does not take the flow run.
    """
    with connected(url), prefect.tags(*(f"{n}:{v}" for n, v in submission.options.tags.items())):
        try:
            _make_flow(submission, sweep_id, began, ending)(return_state=True)
        except Abort as error:
            # Where another process has recorded the end of the sweep, that has told the server.
            if not ending.done():
                raise ServerError(str(error)) from error


def _make_flow(
    submission: SweepSubmission, sweep_id: str, began: Callable[[FlowLink], None], ending: Future[Ending]
) -> Any:
    definition = submission.definition

    def body() -> Any:
        context = FlowRunContext.get()
        assert context is not None, "a flow runs in its context"
        began(_link(context.flow_run))
        ended = ending.result()
        if ended.status is Status.COMPLETED:
            return sweep_id
        return STATES.get(ended.status, Failed)(message=ended.message)

    body.__name__ = body.__qualname__ = f"{definition.name}_sweep"
    runner: Any = ThreadPoolTaskRunner(max_workers=1)
    return prefect.Flow(
        body,
        name=f"{definition.name} sweep",
        description=definition.interface.doc or None,
        flow_run_name=sweep_id,
        task_runner=runner,
        validate_parameters=False,
        persist_result=False,
        log_prints=False,
    )


def _link(flow_run: Any) -> FlowLink:
    name = flow_run.name if is_run_id(flow_run.name) and flow_run.run_count <= 1 else None
    return FlowLink(str(flow_run.id), PREFECT_API_URL.value() or "", name)
