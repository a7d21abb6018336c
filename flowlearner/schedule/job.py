"""What a schedule runs: a workflow with parameters, or a sweep by its spec file; its stored form and checks.

Values of parameters are kept as the texts that the command line was given, and read anew at each firing: the
workflow's file counts as it is then.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from flowlearner.config import Settings
from flowlearner.definition import Definition
from flowlearner.engine.base import RunOptions
from flowlearner.engine.submit import prepare
from flowlearner.errors import NotFoundError, UsageError, shorten, suggest
from flowlearner.loading import load_workflow, parse_target
from flowlearner.params import ARTIFACT_PREFIX
from flowlearner.replay.params import read_texts
from flowlearner.secrecy import holds_secret
from flowlearner.sweep.listener import SweepListener
from flowlearner.sweep.specfile import NONE, bind_spec, read_spec
from flowlearner.sweep.submit import SweepOptions, SweepSubmission, prepare_sweep

TAG = "schedule"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Job:
    """What a schedule runs.

    Attributes:
        schedule: name of the schedule, which what it runs is tagged with.
        target: FILE:WORKFLOW, its file by its absolute path; None for a sweep.
        spec: absolute path of a sweep's spec file; None for a run.
        folder: the current folder of its process.
        params: values by name; a text is read as on the command line.
        experiment, notes, seed, cache: what is None stays as the workflow or spec file says.
    """

    schedule: str
    target: str | None = None
    spec: str | None = None
    folder: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    experiment: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    notes: str | None = None
    seed: int | None = None
    cache: bool | None = None

    @property
    def command(self) -> str:
        """The command that does by hand what the schedule does."""
        if self.spec is not None:
            return shlex.join(["flowlearner", "sweep", "--spec", self.spec])
        given = [part for name, value in self.params.items() for part in ("-p", f"{name}={value}")]
        return shlex.join(["flowlearner", "run", str(self.target), *given])

    @property
    def all_tags(self) -> dict[str, str]:
        return {**self.tags, TAG: self.schedule}

    def to_parameters(self) -> dict[str, Any]:
        """Return it as JSON: the parameters of the flow that runs it."""
        return asdict(self) | {"params": dict(self.params), "tags": dict(self.tags)}


def check_name(name: str) -> None:
    """Refuse a name that Prefect or a shell could not take.

    Raises:
        UsageError: it is none.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' is no name for a schedule: expected letters, digits, '.', '_' and '-', such as nightly"
        )


def make_run_job(job: Job, target: str, params: Mapping[str, str]) -> Job:
    """Return the job of a recurring run: with absolute paths, so that any process can run it.

    Raises:
        NotFoundError: no such file or workflow.
        UsageError: the file does not import, or a secret parameter is given.
        ParameterError: a name is unknown, or a text is not of its parameter's type.
    """
    definition = load_workflow(target)
    secret = [n for n in params if n in definition.interface.by_name and _is_secret(definition, n)]
    if secret:
        raise UsageError(
            f"parameter {shorten(f'{n!r}' for n in secret)} is secret, and schedules store no secret value. "
            "Give it a default that reads it, such as os.environ['TOKEN'], in the workflow's file"
        )
    place, stored = locate(definition, target, params)
    return replace(job, target=place, folder=os.getcwd(), params=stored)


def locate(definition: Definition, target: str, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return FILE:WORKFLOW and parameters with their paths as every folder sees them."""
    found = parse_target(target)
    name = f":{found.workflow}" if found.workflow else ""
    place = str(found.path) if found.path else found.module
    texts = {n: _find_path(definition, n, v) if isinstance(v, str) else v for n, v in params.items()}
    return f"{place}{name}", texts


def _is_secret(definition: Definition, name: str) -> bool:
    return holds_secret(definition.interface.by_name[name].type)


def _find_path(definition: Definition, name: str, text: str) -> str:
    """Return a file's path as every folder sees it, other texts as they are."""
    param = definition.interface.by_name.get(name)
    if param is None:
        return text
    is_path = param.type.is_table or param.type.kind in ("file", "model") or param.type.base is Path
    if not is_path or "://" in text or text.startswith(ARTIFACT_PREFIX):
        return text
    return str(Path(text).expanduser().absolute())


def make_sweep_job(job: Job, spec: str) -> Job:
    """Return the job of a recurring sweep.

    Raises:
        NotFoundError: there is no such spec file.
    """
    path = Path(spec).expanduser().absolute()
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise NotFoundError(f"--spec: no file '{spec}'.{suggest(path.name, beside)}")
    return replace(job, spec=str(path), folder=os.getcwd())


def check_job(job: Job, settings: Settings) -> str:
    """Check all that can be checked before it runs, as `run --plan` does; return its workflow's name.

    Raises:
        UsageError: the workflow, its parameters or the spec file cannot be used as they are now.
        InputError: a file that is named does not exist.
    """
    if job.experiment == "":
        raise UsageError("experiment: expected a name, found an empty text")
    if job.seed is not None and not 0 <= job.seed < 1 << 63:
        raise UsageError(f"run seed: expected a whole number from 0 to 2**63 - 1, found {job.seed}")
    if job.spec is not None:
        return prepare_sweep_job(job, settings).definition.name
    definition, options, params = load_run(job)
    prepare(definition, params, options, settings)
    return definition.name


def load_run(job: Job) -> tuple[Definition, RunOptions, dict[str, Any]]:
    """Return a job's workflow as its file is now, the options and the parameters of its run."""
    assert job.target is not None, "it is a run"
    definition = load_workflow(job.target)
    values = read_texts(definition, job.params)
    base: RunOptions = getattr(definition, "options", RunOptions())
    changes: dict[str, Any] = {
        "experiment": job.experiment,
        "notes": job.notes,
        "seed": job.seed,
        "cache": job.cache,
    }
    options = replace(
        base,
        executor="prefect",
        tags={**base.tags, **job.all_tags},
        command=job.command,
        **{name: value for name, value in changes.items() if value is not None},
    )
    return definition, options, values


def prepare_sweep_job(job: Job, settings: Settings, listener: SweepListener | None = None) -> SweepSubmission:
    """Check a job's sweep as its spec and workflow files are now.

    Raises:
        UsageError: the spec file, or what it names, is not what it takes.
    """
    assert job.spec is not None, "it is a sweep"
    spec = read_spec(job.spec)
    if spec.workflow is None:
        raise UsageError(f"{job.spec} names no workflow; add a line 'workflow: flights.py:delays'")
    try:
        definition = load_workflow(spec.workflow)
    except NotFoundError as error:
        raise NotFoundError(f"{spec.place('workflow')}: workflow: {error}") from None
    bound = bind_spec(spec, definition)
    base: RunOptions = getattr(definition, "options", RunOptions())
    given: dict[str, Any] = {
        "metric": spec.metric or None,
        "mode": spec.mode or None,
        "trials": spec.trials,
        "search": spec.search or SweepOptions.search,
        "stop": None if spec.stop == NONE else spec.stop,
        "seed": spec.seed,
        "run_seed": next((n for n in (job.seed, spec.run_seed) if n is not None), base.seed),
        "parallel": spec.parallel,
        "max_failures": spec.max_failures,
        "executor": spec.executor or ("local" if base.executor == "local" else None),
        "cache": base.cache if job.cache is None else job.cache,
        "experiment": job.experiment or spec.experiment or base.experiment,
        "notes": job.notes or spec.notes or base.notes,
    }
    options = SweepOptions(
        tags={**base.tags, **spec.tags, **job.all_tags},
        command=job.command,
        **{name: value for name, value in given.items() if value is not None},
    )
    return prepare_sweep(definition, bound.space, bound.params, options, settings, listener)
