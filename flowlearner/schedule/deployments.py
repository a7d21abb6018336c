"""Schedules as Prefect deployments: made, listed, paused, triggered and removed on the Prefect server.

All that is known of a schedule is in its deployment, in the server's database: when it fires, and as the
flow's parameters what it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

# Prefect reads its logging set-up once, at import; a user's own choice in the environment wins.
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterName,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import (
    ConcurrencyLimitStrategy,
    ConcurrencyOptions,
    StateType,
)
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.client.schemas.sorting import DeploymentSort, FlowRunSort
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.server.schemas import schedules as firing
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Cancelling, Scheduled
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from flowlearner.config import Settings
from flowlearner.engine.background import send_signal
from flowlearner.engine.server import ensure_server, get_server
from flowlearner.engine.submit import is_run_id
from flowlearner.errors import NotFoundError, ServerError, UsageError, shorten, suggest
from flowlearner.schedule.environment import forget_environment, keep_environment, name_launch
from flowlearner.schedule.flows import ENTRYPOINT, LAUNCHED_ENTRYPOINT, run_launched, run_scheduled
from flowlearner.schedule.job import Job
from flowlearner.schedule.launch import Launch
from flowlearner.schedule.records import LaunchState, Schedule
from flowlearner.schedule.runner import RunnerFiles, choose_pool
from flowlearner.schedule.timing import DEFAULT_ZONE, Timing

TAG = "flowlearner"
PAGE = 200
# How far back a cancelled run is looked for among firings that were skipped.
SEARCHED = 50
OPEN = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)


def add_schedule(
    settings: Settings,
    timing: Timing,
    job: Job,
    workflow: str,
    *,
    replace: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Schedule:
    """Store a schedule, whose job was checked.

    Args:
        workflow: name of the job's workflow, under which Prefect lists it.
        replace: take the place of a schedule of that name.

    Raises:
        UsageError: the name is taken, or the time never comes.
        ServerError: the Prefect server does not answer.
    """
    if find_next(timing, datetime.now(UTC)) is None:
        raise UsageError(f"--cron '{timing.cron}': that day never comes; correct day of month and month")
    with _connected(settings, say) as (client, pool):
        known = {d.name: d for d in _read_deployments(client, pool)}.get(job.schedule)
        if known is not None and not replace:
            raise UsageError(
                f"there is a schedule '{job.schedule}' already. Put the new one in its place by "
                f"--replace, or remove it first: flowlearner schedules remove {job.schedule}"
            )
        _refuse_foreign(client, workflow, job.schedule, known)
        if known is not None:
            _refuse_while_going(client, known, "is replaced once nothing runs")
        make_pool(client, pool)
        keep_environment(settings, job.schedule)
        schema = parameter_schema(run_scheduled.fn)
        made = client.create_deployment(
            flow_id=client.create_flow_from_name(workflow),
            name=job.schedule,
            description=f"Does: `{job.command}`",
            schedules=[DeploymentScheduleCreate(schedule=_make_schedule(timing), active=True)],
            paused=False,
            parameters=job.to_parameters(),
            parameter_openapi_schema=schema.model_dump(mode="json"),
            enforce_parameter_schema=False,
            entrypoint=ENTRYPOINT,
            tags=[TAG, *(f"{name}:{value}" for name, value in job.all_tags.items())],
            work_pool_name=pool,
            concurrency_limit=1,
            concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        )
        if known is not None and known.id != made:
            # It was of another workflow, so it was not overwritten.
            client.delete_deployment(known.id)
        return _describe(client, client.read_deployment(made), workflow)


def _refuse_foreign(client: Any, workflow: str, name: str, known: Any) -> None:
    with contextlib.suppress(ObjectNotFound):
        found = client.read_deployment_by_name(f"{workflow}/{name}")
        if known is None or found.id != known.id:
            raise UsageError(
                f"the Prefect server has a deployment '{workflow}/{name}' that is no schedule of this home. "
                "Choose another name"
            )


def make_pool(client: Any, pool: str, *, updates: bool = False) -> None:
    """Make the work pool where it is missing.

    Args:
        updates: let it start runs with the Python of this process in any case.
    """
    template = ProcessWorker.get_default_base_job_template()
    command = shlex.join([sys.executable, "-m", "prefect.engine"])
    template["variables"]["properties"]["command"]["default"] = command
    try:
        client.read_work_pool(pool)
    except ObjectNotFound:
        with contextlib.suppress(ObjectAlreadyExists):
            client.create_work_pool(
                WorkPoolCreate(
                    name=pool,
                    type=ProcessWorker.type,
                    description="Schedules of flowlearner; `flowlearner up` serves them.",
                    base_job_template=template,
                )
            )
        return
    if updates:
        client.update_work_pool(pool, WorkPoolUpdate(base_job_template=template))


def list_schedules(settings: Settings, say: Callable[[str], None] = lambda _: None) -> list[Schedule]:
    """Return all schedules by name.

    Raises:
        ServerError: the Prefect server does not answer.
    """
    with _connected(settings, say) as (client, pool):
        found = _read_deployments(client, pool)
        flows = {d.flow_id: "" for d in found}
        for flow_id in flows:
            flows[flow_id] = client.read_flow(flow_id).name
        return [_describe(client, d, flows[d.flow_id]) for d in found]


def set_paused(
    settings: Settings, name: str, paused: bool, say: Callable[[str], None] = lambda _: None
) -> Schedule:
    """Pause a schedule, or let it fire again; what runs goes on.

    Raises:
        NotFoundError: there is no such schedule.
        ServerError: the Prefect server does not answer.
    """
    with _connected(settings, say) as (client, pool):
        found = _find(client, pool, name)
        (client.pause_deployment if paused else client.resume_deployment)(found.id)
        return _describe(client, client.read_deployment(found.id), client.read_flow(found.flow_id).name)


def trigger_schedule(settings: Settings, name: str, say: Callable[[str], None] = lambda _: None) -> str:
    """Let a schedule run now, also while it is paused; return the id of Prefect's flow run.

    Raises:
        NotFoundError: there is no such schedule.
        UsageError: what it ran before is still going.
        ServerError: the Prefect server does not answer.
    """
    with _connected(settings, say) as (client, pool):
        found = _find(client, pool, name)
        _refuse_while_going(client, found, "runs one at a time")
        return str(client.create_flow_run_from_deployment(found.id, state=Scheduled()).id)


def _refuse_while_going(client: Any, deployment: Any, why: str) -> None:
    going = _read_flow_runs(client, deployment.id, OPEN)
    if going:
        raise UsageError(
            f"schedule '{deployment.name}' {why}, and one is still going. Wait for it, or stop it: "
            f"{_how_to_stop(deployment, going[0].name)}"
        )


def _how_to_stop(deployment: Any, name: str) -> str:
    command, word = ("sweeps stop", "SWEEP") if deployment.parameters.get("spec") else ("runs cancel", "RUN")
    return f"flowlearner {command} {name[:8] if is_run_id(name) else word}"


def remove_schedule(settings: Settings, name: str, say: Callable[[str], None] = lambda _: None) -> None:
    """Remove a schedule; what it has run stays in the catalog.

    Raises:
        NotFoundError: there is no such schedule.
        UsageError: what it ran is still going.
        ServerError: the Prefect server does not answer.
    """
    with _connected(settings, say) as (client, pool):
        found = _find(client, pool, name)
        # None begins any more. One that goes on could not tell the server its end: its slot is deleted too.
        client.pause_deployment(found.id)
        _refuse_while_going(client, found, "is paused now and is removed once nothing runs")
        client.delete_deployment(found.id)
        forget_environment(settings, name)


def submit_launch(settings: Settings, run_id: str, launch: Launch, secrets: Mapping[str, str]) -> None:
    """Let the runner make a run or a sweep, under an id that is new.

    Args:
        secrets: parameters of the launch that no server is told of.

    Raises:
        ServerError: the Prefect server does not answer.
    """
    with _connected(settings, lambda _: None) as (client, pool):
        make_pool(client, pool)
        keep_environment(settings, name_launch(run_id), secrets)
        deployment = client.create_deployment(
            flow_id=client.create_flow_from_name(run_launched.name),
            # Several homes may share a server.
            name=pool,
            description="Makes runs and sweeps that are launched by hand.",
            parameter_openapi_schema=parameter_schema(run_launched.fn).model_dump(mode="json"),
            enforce_parameter_schema=False,
            entrypoint=LAUNCHED_ENTRYPOINT,
            tags=[TAG],
            work_pool_name=pool,
        )
        client.create_flow_run_from_deployment(
            deployment,
            parameters={"launch": launch.to_parameters()},
            name=run_id,
            tags=[f"{name}:{value}" for name, value in (launch.tags or {}).items()],
            state=Scheduled(),
        )


def find_launch(settings: Settings, run_id: str) -> LaunchState | None:
    """Return how far a launch is; None where there is none of this id.

    Raises:
        ServerError: the Prefect server does not answer.
    """
    with _connected(settings, lambda _: None) as (client, _):
        found = _find_launched(client, run_id)
    if found is None:
        return None
    return LaunchState(
        run_id,
        "SCHEDULED" if found.state_type is None else found.state_type.value,
        any(found.parameters.get("launch", {}).get(n) is not None for n in ("sweep", "sweep_id")),
        (found.state.message if found.state else None) or "",
    )


def cancel_launch(settings: Settings, run_id: str) -> None:
    """Take a launch back that has not begun to run, or stop its process.

    Raises:
        NotFoundError: there is none of this id.
        ServerError: the Prefect server does not answer.
    """
    with _connected(settings, lambda _: None) as (client, _):
        found = _find_launched(client, run_id)
        if found is None:
            raise NotFoundError(f"nothing was launched as '{run_id}'")
        pid = dict(RunnerFiles(settings).list_running()).get(str(found.id))
        # Nobody ends one that waits for its end and has no process: whose process begins yet finds its end.
        state: Any = Cancelled() if pid is None else Cancelling()
        client.set_flow_run_state(found.id, state, force=pid is None)
        if pid is None:
            forget_environment(settings, name_launch(run_id))
        else:
            send_signal(pid, signal.SIGTERM)


def _find_launched(client: Any, run_id: str) -> Any:
    found = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[run_id])),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=1,
        offset=0,
    )
    return found[0] if found else None


@contextlib.contextmanager
def _connected(settings: Settings, say: Callable[[str], None]) -> Iterator[tuple[Any, str]]:
    """Return a client of the Prefect server, and the name of our work pool."""
    url = ensure_server(settings, say)
    try:
        with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
            yield client, choose_pool(settings, get_server(settings))
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise ServerError(
            f"The Prefect server at {url} fails or does not answer ({type(error).__name__}: {error})."
        ) from error


def _read_deployments(client: Any, pool: str) -> list[Any]:
    found: list[Any] = []
    while True:
        page = client.read_deployments(
            deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG])),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
            sort=DeploymentSort.NAME_ASC,
            limit=PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < PAGE:
            # Somebody may tag deployments of other flows like ours.
            return [d for d in found if d.entrypoint == ENTRYPOINT]


def _find(client: Any, pool: str, name: str) -> Any:
    known = {d.name: d for d in _read_deployments(client, pool)}
    if name not in known:
        listed = f"there are {shorten(known)}.{suggest(name, known)}" if known else "there is none"
        raise NotFoundError(f"no schedule '{name}'; {listed}")
    return known[name]


def _read_flow_runs(
    client: Any, deployment_id: Any, states: Sequence[StateType], limit: int = 1
) -> Sequence[Any]:
    """Return a deployment's flow runs that are in one of some states, those that were due last first."""
    found: Sequence[Any] = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states)))
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=limit,
        offset=0,
    )
    return found


def _due_at(flow_run: Any) -> datetime:
    at: datetime = flow_run.expected_start_time
    return at


def _describe(client: Any, deployment: Any, workflow: str) -> Schedule:
    timing = _read_timing(deployment)
    states = (
        StateType.RUNNING,
        StateType.CANCELLING,
        StateType.COMPLETED,
        StateType.FAILED,
        StateType.CRASHED,
    )
    # A firing that was skipped is cancelled too, but has never run.
    cancelled = _read_flow_runs(client, deployment.id, [StateType.CANCELLED], SEARCHED)
    began = [*_read_flow_runs(client, deployment.id, states), *(f for f in cancelled if f.run_count)]
    last = max(began, key=_due_at, default=None)
    skipped = max((f for f in cancelled if not f.run_count), key=_due_at, default=None)
    if skipped is not None and last is not None and _due_at(skipped) < _due_at(last):
        skipped = None
    names = inspect.signature(run_scheduled.fn).parameters
    job = Job(**{n: v for n, v in deployment.parameters.items() if n in names})
    return Schedule(
        name=deployment.name,
        workflow=workflow,
        timing=timing,
        job=job,
        paused=deployment.paused,
        next_at=None if deployment.paused else find_next(timing, datetime.now(UTC)),
        last_at=None if last is None else last.start_time or _due_at(last),
        last_status=None if last is None or last.state_type is None else last.state_type.value,
        last_run_id=last.name if last is not None and is_run_id(last.name) else None,
        skipped_at=None if skipped is None else _due_at(skipped),
    )


def _read_timing(deployment: Any) -> Timing:
    schedule = next((s.schedule for s in deployment.schedules if s.active), None)
    zone = getattr(schedule, "timezone", None) or DEFAULT_ZONE
    if isinstance(schedule, CronSchedule):
        return Timing(schedule.cron, None, zone)
    if isinstance(schedule, IntervalSchedule):
        return Timing(None, schedule.interval.total_seconds(), zone, schedule.anchor_date)
    return Timing(timezone=zone)


def _make_schedule(timing: Timing) -> CronSchedule | IntervalSchedule:
    if timing.cron is not None:
        return CronSchedule(cron=timing.cron, timezone=timing.timezone)
    assert timing.every_s is not None, "it is one of the two"
    return IntervalSchedule(
        interval=timedelta(seconds=timing.every_s),
        timezone=timing.timezone,
        anchor_date=timing.since or datetime.now(UTC),
    )


def find_next(timing: Timing, after: datetime) -> datetime | None:
    """Return when a schedule fires first after a moment, by the rules of Prefect's own scheduler.

    None where it never does: 30 February.
    """
    if timing.cron is None and timing.every_s is None:
        return None
    made = _make_schedule(timing)
    kind: Any = firing.CronSchedule if isinstance(made, CronSchedule) else firing.IntervalSchedule
    rule = kind.model_validate(made.model_dump())
    try:
        found = asyncio.run(rule.get_dates(n=1, start=after))
    except ValueError:
        # How its cron reader says that no such day comes within 50 years.
        return None
    return found[0].astimezone(UTC) if found else None
