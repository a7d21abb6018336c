"""A run or a sweep that is made once, outside of the process that asks for it: its stored form and checks.

Its code is that of a file or module as it is then, or that of an earlier run, from its snapshot.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from flowlearner.config import Settings
from flowlearner.definition import Definition
from flowlearner.engine.base import Origin, RunOptions
from flowlearner.engine.submit import Submission, opened, prepare
from flowlearner.errors import ParameterError, UsageError, shorten, suggest
from flowlearner.loading import load_workflow
from flowlearner.replay.again import Request, opened_submission
from flowlearner.replay.code import Code, opened_code
from flowlearner.replay.params import read_params, read_texts
from flowlearner.schedule.job import locate
from flowlearner.sweep.listener import SweepListener
from flowlearner.sweep.specfile import NONE
from flowlearner.sweep.submit import SweepOptions, SweepSubmission, prepare_sweep

SWEEP_WORDS = (
    "space",
    "metric",
    "mode",
    "trials",
    "search",
    "stop",
    "seed",
    "parallel",
    "max_failures",
    "executor",
)


@dataclass(frozen=True)
class Launch:
    """What is to be made.

    Attributes:
        target: FILE:WORKFLOW, its file by its absolute path; None where the code is that of a run.
        run_id: the run whose code it has.
        is_clone: it is that run once more: what is not given here is as it was.
        goes_on: of that run, or of a sweep, only what is missing runs.
        sweep_id: the sweep that goes on, under its own id; `params` are its secrets.
        retries: its failed trials run again, too.
        folder: the current folder of its process.
        params: values by name; a text is read as on the command line.
        sweep: words of a spec file that make it a sweep; its domains are texts, or None for the range that
            the workflow declares.
        experiment, tags, notes, seed, cache: what is None stays as the workflow or run says; the seed is that
            of the run or of every trial.
        command: the command line, for the record.
    """

    target: str | None = None
    run_id: str | None = None
    is_clone: bool = False
    goes_on: bool = False
    sweep_id: str | None = None
    retries: bool = False
    folder: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    sweep: Mapping[str, Any] | None = None
    experiment: str | None = None
    tags: Mapping[str, str] | None = None
    notes: str | None = None
    seed: int | None = None
    cache: bool | None = None
    command: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """What is said of experiment, tags, notes and seed."""
        names = ("experiment", "tags", "notes", "seed")
        return {n: getattr(self, n) for n in names if getattr(self, n) is not None}

    def to_parameters(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def check_launch(launch: Launch) -> None:
    """Refuse what shows without the workflow.

    Raises:
        UsageError: an option is not what it takes.
    """
    if launch.experiment is not None and not launch.experiment.strip():
        raise UsageError("experiment: expected a name, found an empty text")
    if launch.seed is not None and not 0 <= launch.seed < 1 << 63:
        raise UsageError(f"run seed: expected a whole number from 0 to 2**63 - 1, found {launch.seed}")
    unknown = [w for w in launch.sweep or () if w not in SWEEP_WORDS]
    if unknown:
        raise UsageError(
            f"sweep: no '{unknown[0]}'; there are {shorten(SWEEP_WORDS)}.{suggest(unknown[0], SWEEP_WORDS)}"
        )


def aim(launch: Launch, target: str, settings: Settings) -> Launch:
    """Return a launch of what a file or module has, checked as `run` and `sweep` check it; its paths hold
    for every process.

    Raises:
        NotFoundError: no such file or workflow.
        UsageError: the workflow, its parameters or the space cannot be used.
    """
    definition = load_workflow(target)
    place, params = locate(definition, target, launch.params)
    aimed = replace(launch, target=place, params=params, folder=os.getcwd())
    if aimed.sweep is not None:
        _prepare_sweep(aimed, definition, read_texts(definition, aimed.params), settings)
    else:
        _prepare_run(aimed, Code(definition), settings)
    return aimed


@contextlib.contextmanager
def opened_run_launch(launch: Launch, settings: Settings) -> Iterator[Submission]:
    """Give a run, checked and not begun; within the block its code can be imported.

    Raises:
        UsageError, InputError: it cannot be run as it is.
    """
    if launch.is_clone:
        assert launch.run_id is not None, "it is the run that is cloned"
        with opened(settings) as (catalog, _):
            run = catalog.get_run(launch.run_id)
        request = Request(
            launch.params,
            are_texts=True,
            cache=launch.cache is not False,
            executor="prefect",
            command=launch.command,
            options=launch.options,
        )
        with opened_submission(run, request, settings, goes_on=launch.goes_on) as submission:
            yield submission
        return
    with _opened_code(launch, settings) as code:
        yield _prepare_run(launch, code, settings)


def _prepare_run(launch: Launch, code: Code, settings: Settings) -> Submission:
    definition = code.definition
    base: RunOptions = getattr(definition, "options", RunOptions())
    given = {**launch.options, "tags": {**base.tags, **(launch.tags or {})}}
    cache = base.cache if launch.cache is None else launch.cache
    options = replace(base, executor="prefect", cache=cache, command=launch.command, **given)
    origin = Origin(code=code.info, snapshot=code.snapshot)
    return prepare(definition, read_texts(definition, launch.params), options, settings, None, origin)


@contextlib.contextmanager
def opened_sweep_launch(
    launch: Launch, settings: Settings, listener: SweepListener | None = None
) -> Iterator[SweepSubmission]:
    """Give a sweep, checked and not begun; within the block its code can be imported.

    Raises:
        UsageError, InputError: it cannot be run as it is.
    """
    with _opened_code(launch, settings) as code:
        definition = code.definition
        fixed = read_texts(definition, launch.params)
        if launch.is_clone:
            assert launch.run_id is not None, "it is the run that is cloned"
            varying = dict.fromkeys((launch.sweep or {}).get("space") or ())
            with opened(settings) as (catalog, _):
                run = catalog.get_run(launch.run_id)
                found = read_params(run, definition, {**fixed, **varying}, catalog, launch.seed)
            fixed = {n: v for n, v in found.items() if n in definition.interface.by_name and n not in varying}
        yield _prepare_sweep(launch, definition, fixed, settings, listener)


def _prepare_sweep(
    launch: Launch,
    definition: Definition,
    fixed: Mapping[str, Any],
    settings: Settings,
    listener: SweepListener | None = None,
) -> SweepSubmission:
    base: RunOptions = getattr(definition, "options", RunOptions())
    words = {n: v for n, v in (launch.sweep or {}).items() if v is not None}
    space = words.pop("space", None)
    if words.get("stop") == NONE:
        del words["stop"]
    for name in ("metric", "mode"):
        if isinstance(words.get(name), list):
            # JSON has no tuple.
            words[name] = tuple(words[name])
    if base.executor == "local":
        words.setdefault("executor", "local")
    given = {**launch.options, "tags": {**base.tags, **(launch.tags or {})}}
    given["run_seed"] = given.pop("seed", base.seed)
    kept = {"experiment": base.experiment, "notes": base.notes}
    cache = base.cache if launch.cache is None else launch.cache
    options = SweepOptions(cache=cache, command=launch.command, **{**kept, **words, **given})
    return prepare_sweep(definition, space or None, fixed, options, settings, listener)


@contextlib.contextmanager
def _opened_code(launch: Launch, settings: Settings) -> Iterator[Code]:
    if launch.target is not None:
        yield Code(load_workflow(launch.target))
        return
    if launch.run_id is None:
        raise ParameterError("a launch names a workflow's file, or a run that has its code")
    with contextlib.ExitStack() as stack:
        with opened(settings) as (catalog, store):
            run = catalog.get_run(launch.run_id)
            code = stack.enter_context(opened_code(run, catalog, store, settings, current=False))
        yield code
