"""The Prefect flows of all schedules and of all launches: they run a workflow or a sweep as that flow run.

A deployment names them by module and function, so that nothing of the user's has to be shipped: what is to be
run are their parameters.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import prefect
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flowlearner.config import Settings, get_settings
from flowlearner.engine.prefect_executor import run_body, run_prepared
from flowlearner.engine.submit import is_run_id, new_run_id, opened
from flowlearner.errors import FlowLearnerError, UsageError
from flowlearner.records import Status
from flowlearner.schedule.environment import forget_environment, name_launch, restore_environment
from flowlearner.schedule.job import Job, load_run, prepare_sweep_job
from flowlearner.schedule.launch import Launch, opened_run_launch, opened_sweep_launch
from flowlearner.schedule.runner import RunnerFiles, marked_running
from flowlearner.sweep.listener import SweepListener
from flowlearner.sweep.resume import resume_sweep, retry_sweep
from flowlearner.sweep.submit import SweepSubmission, execute_sweep

ENTRYPOINT = f"{__name__}.run_scheduled"
LAUNCHED_ENTRYPOINT = f"{__name__}.run_launched"
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
            linker = _Linker(settings, str(context.flow_run.id))
            return _run_sweep(prepare_sweep_job(job, settings, linker), settings, context.flow_run)
        definition, options, values = load_run(job)
        return run_body(definition, options, None, values)


# Its flow run has its name from whoever launches it: the id of the run or sweep.
@prefect.flow(
    name="launched",
    task_runner=_runner,
    validate_parameters=False,
    persist_result=False,
    log_prints=False,
)
def run_launched(launch: dict[str, Any]) -> Any:
    """Run what was launched, with the settings that it was launched with.

    Args:
        launch: the fields of a Launch.
    """
    context = FlowRunContext.get()
    assert context is not None, "a deployment's flow is run by Prefect"
    assert context.flow_run is not None, "the server knows it"
    note = name_launch(context.flow_run.name)
    secrets = restore_environment(get_settings(), note)
    forget_environment(get_settings(), note)
    settings = get_settings()
    asked = Launch(**{**launch, "params": {**launch["params"], **secrets}})
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with marked_running(settings, str(context.flow_run.id)):
        _print_to_log(settings)
        try:
            if asked.folder:
                os.chdir(asked.folder)
            linker = _Linker(settings, str(context.flow_run.id))
            if asked.sweep_id is not None:
                go_on = retry_sweep if asked.retries else resume_sweep
                secrets = dict(asked.params)
                return _end_sweep(
                    lambda: go_on(asked.sweep_id or "", settings, linker, secrets=secrets), settings
                )
            if asked.sweep is None:
                with opened_run_launch(asked, settings) as submission:
                    return run_prepared(submission)
            with opened_sweep_launch(asked, settings, linker) as prepared:
                return _run_sweep(prepared, settings, context.flow_run)
        except (FlowLearnerError, OSError) as error:
            # The only place where whoever waits for it can read it.
            return Failed(message=str(error))


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


def _run_sweep(submission: SweepSubmission, settings: Settings, flow_run: Any) -> Any:
    # One that is retried by hand is another sweep.
    name = flow_run.name if is_run_id(flow_run.name) and flow_run.run_count <= 1 else None
    return _end_sweep(lambda: execute_sweep(submission, sweep_id=name), settings)


def _end_sweep(execute: Callable[[], str], settings: Settings) -> Any:
    """Run a sweep, and end its flow run as the sweep ends."""
    try:
        sweep_id = execute()
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
