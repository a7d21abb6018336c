"""The command that searches: `sweep`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from flowlearner.cli.detach import Detach, launch_and_print, show_texts
from flowlearner.cli.options import AsJson, make_command, read_assignments
from flowlearner.cli.output import complain, emit, get_out
from flowlearner.cli.parameters import META, Call, WorkflowCommand, read_parameters
from flowlearner.cli.run import EPILOG, INTERRUPTED, Assignments, show_command
from flowlearner.cli.sweep_display import Heading, SweepDisplay
from flowlearner.cli.sweep_show import print_sweep_result
from flowlearner.cli.text import count_of
from flowlearner.client import Client, Sweep
from flowlearner.config import get_settings
from flowlearner.definition import Definition
from flowlearner.engine.logs import hide_secrets
from flowlearner.errors import FlowLearnerError, NotFoundError, UsageError
from flowlearner.facade import Workflow
from flowlearner.loading import load_workflow
from flowlearner.records import Status, find_curve
from flowlearner.secrecy import conceal, list_spellings
from flowlearner.sweep.search import SEARCHES, STOPS
from flowlearner.sweep.specfile import NONE, BoundSpec, SweepSpec, bind_spec, read_spec
from flowlearner.sweep.submit import (
    EXECUTORS,
    SweepOptions,
    SweepSubmission,
    execute_sweep,
    prepare_sweep,
)

SPEC = "flowlearner.sweep_spec"
SUMMARY = "Run a workflow at many points of a space, and find the best."


class SweepCommand(WorkflowCommand):
    """A command that finds its workflow in a spec file where none is named."""

    def load_default(self, ctx: Any, args: Sequence[str]) -> Definition | None:
        path = _find_option(args, "--spec")
        if path is None:
            return None
        spec = ctx.meta[SPEC] = read_spec(path)
        if spec.workflow is None:
            if "--help" in args or "-h" in args:
                return None
            raise UsageError(f"{path} names no workflow; add a line 'workflow: flights.py:delays'")
        try:
            return load_workflow(spec.workflow)
        except NotFoundError as error:
            raise NotFoundError(f"{spec.place('workflow')}: workflow: {error}") from None


def _find_option(args: Sequence[str], name: str) -> str | None:
    for i, token in enumerate(args):
        if token.startswith(f"{name}="):
            return token.partition("=")[2]
        if token == name and i + 1 < len(args):
            return args[i + 1]
    return None


def _sweep(
    ctx: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE:WORKFLOW",
            help="A Python file or module and the workflow in it, such as flights.py:delays.",
            show_default=False,
        ),
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DOMAIN",
            help="Vary a parameter: 2..10, 2..10:2 (step), 0.1..0.9, log(0.01,0.5), {a,b,c}; NAME alone "
            "takes the range that the workflow declares. May be repeated; all declared ranges if left out.",
            show_default=False,
        ),
    ] = None,
    param: Assignments = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="What to search for; may be repeated.", show_default=False),
    ] = None,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            metavar="max|min", help="max (default) or min; one for each metric.", show_default=False
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(metavar="N", help="How many points; 32, or all of a grid.", show_default=False),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"{', '.join(SEARCHES)}; {SweepOptions.search} if left out.",
            show_default=False,
        ),
    ] = None,
    stop: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help=f"Stop poor trials early: {' or '.join(STOPS)}.", show_default=False
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of the search; else 0.", show_default=False)
    ] = None,
    run_seed: Annotated[
        int | None,
        typer.Option("--run-seed", metavar="N", help="Seed of every trial; else 0.", show_default=False),
    ] = None,
    parallel: Annotated[
        int | None,
        typer.Option(metavar="N", help="How many trials are in flight at once.", show_default=False),
    ] = None,
    max_failures: Annotated[
        int | None,
        typer.Option(
            "--max-failures", metavar="N", help="Stop once more trials than this failed.", show_default=False
        ),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="ray (default) or local: threads of this process.", show_default=False
        ),
    ] = None,
    spec: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Read these words from a YAML file; options win.", show_default=False
        ),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Group that the sweep belongs to.", show_default=False),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Tag the sweep; may be repeated.", show_default=False),
    ] = None,
    note: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Free text about the sweep.", show_default=False)
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Take nothing from the cache; trials still share their work.")
    ] = False,
    detach: Detach = False,
    json: AsJson = False,
) -> None:
    call: Call = ctx.meta[META]
    if not isinstance(call.workflow, Workflow):
        raise UsageError("expected FILE:WORKFLOW, for example flights.py:delays, or --spec FILE")
    workflow = call.workflow
    read = ctx.meta.get(SPEC) or (read_spec(spec) if spec is not None else SweepSpec(Path()))
    fixed, domains = _merge(workflow, read, read_parameters(call, param or []), space or [])
    mine = workflow.options
    chosen = _first(search, read.search, SweepOptions.search)
    options = SweepOptions(
        metric=tuple(metric or read.metric),
        mode=tuple(mode or read.mode or ("max",)),
        trials=_first(trials, read.trials),
        search=chosen,
        stop=_drop_none(_first(stop, read.stop)),
        seed=_first(seed, read.seed, 0),
        run_seed=_first(run_seed, read.run_seed, mine.seed),
        parallel=_first(parallel, read.parallel),
        max_failures=_first(max_failures, read.max_failures),
        executor=_first(executor, read.executor, "local" if mine.executor == "local" else EXECUTORS[0]),
        cache=mine.cache and not no_cache,
        experiment=_first(experiment, read.experiment, mine.experiment),
        tags={**mine.tags, **read.tags, **read_assignments(tag or [], "--tag")},
        notes=_first(note, read.notes, mine.notes),
        command=hide_secrets(show_command(), _list_secrets(workflow, fixed)),
    )
    if detach:
        _launch(
            prepare_sweep(workflow, domains, fixed, options, get_settings()), target or read.workflow, json
        )
        return
    sweep_and_print(workflow, domains, fixed, options, json, target or read.workflow)


def _launch(submission: SweepSubmission, target: str | None, as_json: bool) -> None:
    options = submission.options
    names = ("trials", "search", "stop", "seed", "parallel", "max_failures", "executor")
    launch_and_print(
        "sweep",
        as_json,
        target,
        params=show_texts(submission.fixed),
        sweep={
            "space": submission.space.describe(),
            "metric": submission.objective.metrics,
            "mode": submission.objective.modes,
            **{name: getattr(options, name) for name in names},
        },
        experiment=options.experiment,
        tags=options.tags,
        notes=options.notes,
        seed=options.run_seed,
        cache=options.cache,
        command=options.command,
    )


sweep = make_command("sweep", SUMMARY, _sweep, cls=SweepCommand, epilog=EPILOG)


def sweep_and_print(
    workflow: Workflow[..., Any],
    domains: Mapping[str, Any] | None,
    fixed: Mapping[str, Any],
    options: SweepOptions,
    as_json: bool,
    target: str | None,
) -> None:
    """Run a sweep, follow it, print what came out, and end with the contract's exit status."""
    display = SweepDisplay(live=not as_json and sys.stdout.isatty())
    submission = prepare_sweep(workflow, domains, fixed, options, get_settings(), display)
    display.announce(_describe(submission))
    for sentence in _explain_counts(submission):
        display.say(sentence)
    say_executor(display, options.executor)
    finish(display, lambda: execute_sweep(submission), as_json, target)


def _list_secrets(workflow: Definition, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the texts among given parameters that are recorded nowhere."""
    texts: list[str] = []
    for name, value in given.items():
        conceal(value, workflow.interface.by_name[name].type, texts)
    return list_spellings(texts)


def _first(*values: Any) -> Any:
    return next((v for v in values if v is not None), None)


def _drop_none(stop: str | None) -> str | None:
    return None if stop == NONE else stop


def _merge(
    workflow: Workflow[..., Any], spec: SweepSpec, given: Mapping[str, Any], texts: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return fixed parameters and domains; what the command line says of a parameter wins over the spec.

    Raises:
        UsageError: a name is given twice, or a value of the spec does not fit.
    """
    domains = _read_space(workflow, texts)
    bound: BoundSpec = bind_spec(spec, workflow, without=(*given, *domains))
    if bound.space is None and not texts:
        return {**bound.params, **given}, None
    return {**bound.params, **given}, {**(bound.space or {}), **domains}


def _read_space(workflow: Workflow[..., Any], texts: Sequence[str]) -> dict[str, str | None]:
    domains: dict[str, str | None] = {}
    params = workflow.interface.by_name
    for text in texts:
        name, equals, domain = text.partition("=")
        name = name.strip()
        if name not in params and name.replace("-", "_") in params:
            name = name.replace("-", "_")
        if name in domains:
            raise UsageError(f"--space {text}: '{name}' is given twice")
        domains[name] = domain.strip() if equals else None
    return domains


def _describe(submission: SweepSubmission) -> Heading:
    options, objective = submission.options, submission.objective
    return Heading(
        submission.definition.name,
        objective.metrics,
        describe_search(options.search, options.stop, objective.metrics, objective.modes),
    )


def describe_search(search: str, stop: str | None, metrics: Sequence[str], modes: Sequence[str]) -> str:
    """Return in words how a sweep searches: "tpe for the highest auc, stop asha"."""
    wanted = " and ".join(
        f"the {'highest' if mode == 'max' else 'lowest'} {name}"
        for name, mode in zip(metrics, modes, strict=True)
    )
    return f"{search} for {wanted}" + (f", stop {stop}" if stop else "")


def _explain_counts(submission: SweepSubmission) -> list[str]:
    """Say where there are fewer points than trials, or more."""
    points, total, wanted = submission.space.count_points(), submission.total, submission.options.trials
    search = submission.options.search
    if points is None or total is None:
        return []
    if search == "grid" and points > total:
        return [
            f"The grid has {count_of(points, 'point')}; {total:,} of them are tried. "
            f"--trials {points} tries all."
        ]
    if search in ("grid", "random") and wanted is not None and points < wanted:
        return [f"There {_are_only(points)}, fewer than the {wanted:,} trials; {_all_of(points)} tried."]
    if points < total:
        return [
            f"There {_are_only(points)}, fewer than the {count_of(total, 'trial')}: some may be tried more "
            "than once, and the sweep ends when each was. --search grid tries each of them once."
        ]
    return []


def _are_only(points: int) -> str:
    return "is only 1 point" if points == 1 else f"are only {points:,} different points"


def _all_of(points: int) -> str:
    return "it is" if points == 1 else "all of them are"


def say_executor(display: SweepDisplay, executor: str) -> None:
    """Say what a person waits for before the first trial."""
    if executor == "ray":
        display.say("Getting Ray ready; the first trial waits for it. --executor local does without.")


def finish(display: SweepDisplay, execute: Callable[[], str], as_json: bool, target: str | None) -> None:
    """Run a sweep, print its result, and end with the contract's exit status.

    Args:
        execute: runs it and returns its id.
        target: FILE:WORKFLOW as it was given; None: as the sweep was called with it.
    """
    try:
        sweep_id = execute()
    except KeyboardInterrupt:
        display.close()
        if display.sweep_id is None:
            raise
        _print(_read(display.sweep_id), as_json, target, display)
        raise typer.Exit(INTERRUPTED) from None
    except FlowLearnerError:
        display.close()
        if display.sweep_id is not None and not as_json:
            with contextlib.suppress(FlowLearnerError):
                _print(_read(display.sweep_id), as_json, target, display)
        raise
    found = _read(sweep_id)
    _print(found, as_json, target, display)
    if found.status is not Status.COMPLETED:
        raise typer.Exit(INTERRUPTED if found.status is Status.CANCELLED else 1)


def _read(sweep_id: str) -> Sweep:
    return Client().get_sweep(sweep_id)


def _print(found: Sweep, as_json: bool, target: str | None, display: SweepDisplay) -> None:
    if as_json:
        emit(found.to_json())
        return
    print_sweep_result(get_out(), found, target, display.took_s)
    _explain_stop(found)


def _explain_stop(found: Sweep) -> None:
    """Say where early stopping could stop nothing, for no trial reports what it goes by."""
    stop, best = found.record.spec.get("stop"), found.find_best()
    if not stop or best is None or found.counts.get(Status.PRUNED):
        return
    metric = found.record.metrics[0]
    with Client() as client:
        if find_curve(client.list_metric_points(best.run_id), metric):
            return
    complain(
        f"stop '{stop}' had nothing to go by: no operator reports '{metric}'. "
        f"Call flowlearner.report(step=..., {metric}=...) where a model is trained",
        "Warning",
    )
