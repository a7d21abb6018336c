"""The one Prefect flow of all schedules: it runs a schedule's workflow or sweep as that flow run.

A deployment names it by module and function, so that nothing of the user's has to be shipped: what is to be
run are its parameters.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import prefect
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flowlearner.config import Settings, get_settings
from flowlearner.engine.prefect_executor import run_body
from flowlearner.engine.submit import is_run_id, new_run_id, opened
from flowlearner.errors import UsageError
from flowlearner.records import Status
from flowlearner.schedule.environment import restore_environment
from flowlearner.schedule.job import Job, load_run, prepare_sweep_job
from flowlearner.schedule.runner import RunnerFiles, marked_running
from flowlearner.sweep.listener import SweepListener
from flowlearner.sweep.submit import execute_sweep

ENTRYPOINT = f"{__name__}.run_scheduled"
_runner: Any = ThreadPoolTaskRunner(max_workers=256)


@prefect.flow(
    name="scheduled",
    flow_run_name=new_run_id,
    task_runner=_runner,
    validate_parameters=False,
    persist_result=False,
    log_prints=False,
)
def run_scheduled(
    schedule: str,
    target: str | None = None,
    spec: str | None = None,
    folder: str = "",
    params: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
    experiment: str | None = None,
    notes: str | None = None,
    seed: int | None = None,
    cache: bool | None = None,
) -> Any:
    """Run what a schedule asks for, as its files are now, with the settings that it was added with.

    Args:
        schedule: its name.
        target: FILE:WORKFLOW of a run.
        spec: the spec file of a sweep.
        folder: the current folder while it runs.
        params: the workflow's parameters by name; a text is read as on the command line.
        tags: of the run or sweep, beside that of the schedule.
        experiment: as the workflow or spec file says if left out; so are notes, seed and cache.
        notes: free text.
        seed: what an unbound Seed parameter receives.
        cache: False looks nothing up.
    """
    context = FlowRunContext.get()
    assert context is not None, "a deployment's flow is run by Prefect"
    assert context.flow_run is not None, "the server knows it"
    job = Job(schedule, target, spec, folder, params or {}, experiment, tags or {}, notes, seed, cache)
    restore_environment(get_settings(), schedule)
    settings = get_settings()
    # Its line for every request would fill the runner's log.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with marked_running(settings, str(context.flow_run.id)):
        _print_to_log(settings)
        try:
            os.chdir(folder)
        except OSError as error:
            raise UsageError(
                f"schedule '{schedule}': the folder '{folder}' that it runs in: {error.strerror}. "
                "Add it again from another one: flowlearner schedules add --replace"
            ) from error
        if job.spec is not None:
            return _run_sweep(job, settings, context.flow_run)
        definition, options, values = load_run(job)
        return run_body(definition, options, None, values)


def _print_to_log(settings: Settings) -> None:
    """Write what is printed to the runner's log without the runner.

    Through its pipe nothing could be printed any more once it was killed, and whatever prints would fail.
    """
    log = os.open(RunnerFiles(settings).log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    sys.stdout.flush()
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)


class _Linker(SweepListener):
    """Notes in the catalog which flow run a sweep is."""

    def __init__(self, settings: Settings, flow_run_id: str) -> None:
        self._settings = settings
        self._flow_run_id = flow_run_id

    def say(self, message: str) -> None:
        print(message)

    def sweep_started(self, sweep_id: str, trials: int | None) -> None:
        del trials
        with opened(self._settings) as (catalog, _):
            catalog.update_sweep(
                sweep_id, prefect_flow_run_id=self._flow_run_id, prefect_api_url=PREFECT_API_URL.value()
            )


def _run_sweep(job: Job, settings: Settings, flow_run: Any) -> Any:
    submission = prepare_sweep_job(job, settings, _Linker(settings, str(flow_run.id)))
    # One that is retried by hand is another sweep.
    name = flow_run.name if is_run_id(flow_run.name) and flow_run.run_count <= 1 else None
    try:
        sweep_id = execute_sweep(submission, sweep_id=name)
    except KeyboardInterrupt:
        return Cancelled(message="the sweep was cancelled")
    with opened(settings) as (catalog, _):
        sweep = catalog.get_sweep(sweep_id)
    if sweep.status is Status.CANCELLED:
        return Cancelled(message=f"sweep {sweep_id} was stopped")
    if sweep.status is not Status.COMPLETED:
        error = sweep.error
        return Failed(message=f"sweep {sweep_id}: {error.message if error else sweep.status}")
    return sweep_id
