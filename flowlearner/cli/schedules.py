"""The commands about schedules: add, list, pause, resume, trigger, remove."""

from __future__ import annotations

import importlib
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from flowlearner.cli.options import AsJson, make_group, read_assignments
from flowlearner.cli.output import emit, get_out, say
from flowlearner.cli.parameters import Call, read_parameters
from flowlearner.cli.run import Assignments
from flowlearner.cli.show import make_table, show_when
from flowlearner.cli.text import clean_line
from flowlearner.client.run import time_json
from flowlearner.config import get_settings
from flowlearner.engine.endpoint import find_configured_url
from flowlearner.errors import NotFoundError, UsageError
from flowlearner.loading import load_workflow
from flowlearner.schedule.job import Job, check_job, check_name, make_run_job, make_sweep_job
from flowlearner.schedule.runner import get_runner
from flowlearner.schedule.timing import make_timing

app = make_group("Run workflows and sweeps again and again, at certain times.")
STYLES = {"COMPLETED": "green", "RUNNING": "cyan", "PENDING": "cyan", "CANCELLED": "yellow"}

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of a schedule.", show_default=False)]


def _prefect() -> Any:
    """Load what talks to Prefect, which takes over a second: not for a mistake that shows before."""
    return importlib.import_module("flowlearner.schedule.deployments")


@app.command("add")
def add(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="How the schedule is called.", show_default=False)
    ],
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE:WORKFLOW]",
            help="The workflow to run, such as flights.py:delays; or --spec.",
            show_default=False,
        ),
    ] = None,
    cron: Annotated[
        str | None,
        typer.Option(
            "--cron",
            metavar="TEXT",
            help="When: minute, hour, day of month, month, day of week, such as '0 2 * * *'.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[
        float | None,
        typer.Option("--every", metavar="SECONDS", help="Or every so many seconds.", show_default=False),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(
            "--timezone",
            metavar="ZONE",
            help="The zone of --cron, such as Europe/Paris; this machine's if left out.",
            show_default=False,
        ),
    ] = None,
    spec: Annotated[
        str | None,
        typer.Option("--spec", metavar="FILE", help="Run a sweep by this spec file.", show_default=False),
    ] = None,
    param: Assignments = None,
    experiment: Annotated[
        str | None,
        typer.Option("--experiment", metavar="NAME", help="Group of the runs or sweeps.", show_default=False),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="NAME=VALUE", help="Tag them; may be repeated.", show_default=False),
    ] = None,
    note: Annotated[
        str | None, typer.Option("--note", metavar="TEXT", help="Free text about them.", show_default=False)
    ] = None,
    run_seed: Annotated[
        int | None,
        typer.Option(
            "--run-seed", metavar="N", help="Seed of unbound Seed parameters; else 0.", show_default=False
        ),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Take nothing from the cache.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of a schedule of that name.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Run a workflow, or a sweep, at certain times, one at a time. Their files count as they are then.

    The folder, the FLOWLEARNER_ settings and PYTHONPATH are those of now; other variables are those of `up`.

    What is due while `flowlearner up` does not run is made up for once, when it does.
    """
    check_name(name)
    timing = make_timing(cron, every, timezone)
    if (target is None) == (spec is None):
        raise UsageError(
            "say what to run, one of the two: FILE:WORKFLOW, such as flights.py:delays, or --spec FILE"
        )
    if spec is not None and param:
        raise UsageError("-p goes with FILE:WORKFLOW; a sweep's parameters stand in its spec file")
    settings = get_settings()
    job = Job(
        name,
        experiment=experiment,
        tags=read_assignments(tag or [], "--tag"),
        notes=note,
        seed=run_seed,
        cache=False if no_cache else None,
    )
    if spec is not None:
        job = make_sweep_job(job, spec)
    else:
        assert target is not None, "it is one of the two"
        read_parameters(Call(load_workflow(target)), param or [])
        job = make_run_job(job, target, read_assignments(param or [], "-p"))
    workflow = check_job(job, settings)
    made = _prefect().add_schedule(settings, timing, job, workflow, replace=replace, say=say)
    _show_one(made, f"Schedule '{name}' of {workflow} fires next at", json)


@app.command("list")
def list_all(json: AsJson = False) -> None:
    """List all schedules with their next and last times."""
    settings = get_settings()
    # Where no server has ever run nothing was stored, and none need be started to say so.
    is_new = find_configured_url() is None and not (settings.home_path / "prefect" / "prefect.db").exists()
    found = [] if is_new else _prefect().list_schedules(settings, say)
    if json:
        emit([_to_json(s) for s in found])
        return
    console = get_out()
    if not found:
        console.print(Text("No schedules. Add one: flowlearner schedules add --help"))
        return
    table = make_table(console, "Name", "Runs", "When", "Next", "Last", "Status", right=())
    for schedule in found:
        status = schedule.last_status or ""
        last = Text(clean_line(status), style=STYLES.get(status, "red"))
        if schedule.skipped_at is not None:
            last.append(f" skipped {show_when(console, schedule.skipped_at)}: still going", style="yellow")
        table.add_row(
            Text(clean_line(schedule.name)),
            Text(clean_line(schedule.job.spec or schedule.job.target or "")),
            Text(clean_line(_show_timing(schedule))),
            Text("paused", style="yellow") if schedule.paused else Text(_show_next(schedule.next_at)),
            Text(show_when(console, schedule.last_at)),
            last,
        )
    console.print(table)
    _say_whether_served()


@app.command("pause")
def pause(name: Name, json: AsJson = False) -> None:
    """Let a schedule fire no more until it is resumed; what runs goes on."""
    _show_one(_prefect().set_paused(_find_settings(name), name, True, say), "", json)


@app.command("resume")
def resume(name: Name, json: AsJson = False) -> None:
    """Let a paused schedule fire again."""
    made = _prefect().set_paused(_find_settings(name), name, False, say)
    _show_one(made, f"Schedule '{name}' fires next at", json)


@app.command("trigger")
def trigger(name: Name, json: AsJson = False) -> None:
    """Run what a schedule runs now, also while it is paused."""
    flow_run_id = _prefect().trigger_schedule(_find_settings(name), name, say)
    if json:
        emit({"name": name, "flow_run_id": flow_run_id})
    else:
        get_out().print(Text(f"Schedule '{name}' runs now (Prefect's flow run {flow_run_id})."))
        get_out().print(Text(f"See it: flowlearner search \"tag.schedule = '{name}'\""))
    _say_whether_served("It begins once `flowlearner up` runs.")


@app.command("remove")
def remove(name: Name, json: AsJson = False) -> None:
    """Remove a schedule; what it has run stays in the catalog."""
    _prefect().remove_schedule(_find_settings(name), name, say)
    if json:
        emit({"removed": name})
    else:
        get_out().print(Text(f"Removed schedule '{name}'."))


def _find_settings(name: str) -> Any:
    """Return the settings, where there may be a schedule at all."""
    settings = get_settings()
    if find_configured_url() is None and not (settings.home_path / "prefect" / "prefect.db").exists():
        raise NotFoundError(f"no schedule '{name}'; there is none")
    return settings


def _to_json(schedule: Any) -> dict[str, Any]:
    job = schedule.job
    return {
        "name": schedule.name,
        "cron": schedule.timing.cron,
        "every_s": schedule.timing.every_s,
        "timezone": schedule.timing.timezone,
        "paused": schedule.paused,
        "next": time_json(schedule.next_at),
        "last": time_json(schedule.last_at),
        "last_status": schedule.last_status,
        "last_run_id": schedule.last_run_id,
        "skipped": time_json(schedule.skipped_at),
        "workflow": schedule.workflow,
        "target": job.target,
        "spec": job.spec,
        "params": dict(job.params),
        "experiment": job.experiment,
        "tags": job.all_tags,
    }


def _show_one(schedule: Any, text: str, as_json: bool) -> None:
    if as_json:
        emit(_to_json(schedule))
    elif schedule.paused:
        get_out().print(Text(f"Schedule '{schedule.name}' is paused."))
    else:
        get_out().print(Text(f"{text} {_show_next(schedule.next_at)} ({_show_timing(schedule)})."))
    if not schedule.paused:
        _say_whether_served()


def _say_whether_served(
    text: str = "Schedules fire only while `flowlearner up` runs; it does not now.",
) -> None:
    if get_runner(get_settings()).state in ("stopped", "unhealthy"):
        say(text)


def _show_next(at: datetime | None) -> str:
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _show_timing(schedule: Any) -> str:
    timing = schedule.timing
    if timing.cron is None:
        return "" if timing.every_s is None else f"every {timing.every_s:g} s"
    return f"{timing.cron} {timing.timezone}"
