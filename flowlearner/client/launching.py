"""The part of the client that starts runs and sweeps outside of its process, and manages schedules."""

from __future__ import annotations

import importlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowlearner.client.forms import Field, read_fields
from flowlearner.config import Settings
from flowlearner.engine.logs import hide_secrets
from flowlearner.engine.server import get_server
from flowlearner.engine.submit import new_run_id
from flowlearner.errors import NotFoundError, ParameterError, ServerError, StorageError, UsageError
from flowlearner.loading import load_workflow
from flowlearner.records import Artifact, RunRecord, SweepRecord, WorkflowDetail
from flowlearner.replay.again import check_unfinished
from flowlearner.schedule.launch import Launch, aim, check_launch
from flowlearner.schedule.records import LaunchState, Schedule
from flowlearner.schedule.runner import get_runner
from flowlearner.secrecy import holds_secret

if TYPE_CHECKING:
    from flowlearner.catalog import Catalog

# Of so many runs of a workflow, the latest that has its code is taken.
SEARCHED = 20
UPLOADS = "uploads"
SERVES = ("running", "starting")


@dataclass(frozen=True)
class LaunchForm:
    """What may be said of a run that is to be launched, with what it would be if nothing is said.

    Attributes:
        run_id: the run whose code it has, and which it is once more where it is a clone.
        metrics: what a sweep may search for.
        seed: of the run; None where nothing says it.
    """

    workflow: str
    run_id: str
    is_clone: bool
    doc: str
    fields: tuple[Field, ...]
    metrics: tuple[str, ...]
    experiment: str
    tags: Mapping[str, str]
    notes: str
    seed: int | None


class Launching:
    """Runs and sweeps that are made by the process that `flowlearner up` keeps, at once or by schedules."""

    if TYPE_CHECKING:
        settings: Settings

        @property
        def catalog(self) -> Catalog: ...

        def get_record(self, run_id: str) -> RunRecord: ...

        def get_sweep_record(self, sweep_id: str) -> SweepRecord: ...

        def get_workflow(self, name_or_fingerprint: str) -> WorkflowDetail: ...

    def make_form(self, workflow: str | None = None, *, clone: str | None = None) -> LaunchForm:
        """Return what `launch` may be given for a workflow of the catalog, or to clone a run.

        Nothing of the workflow's code is loaded.

        Raises:
            NotFoundError: no such workflow or run.
            UsageError: the code of none of its runs is kept.

        Example:
            form = client.make_form("delays")
            {field.name: field.check("4") for field in form.fields}
        """
        record = self.get_record(clone) if clone else self._find_latest(workflow or "")
        if record.code.snapshot is None:
            raise UsageError(
                f"run {record.id} has no snapshot of its code, since it ended before its code was stored. "
                f"Run it once more from its file: flowlearner run FILE:{record.workflow}"
            )
        versions = self.get_workflow(record.workflow).versions
        version = next((v for v in versions if v.fingerprint == record.workflow_fingerprint), versions[0])
        return LaunchForm(
            workflow=record.workflow,
            run_id=record.id,
            is_clone=bool(clone),
            doc=version.doc,
            fields=read_fields(version.interface, record.params, is_clone=bool(clone)),
            metrics=tuple(o["name"] for o in version.interface.get("outputs", ()) if o["kind"] == "metric"),
            experiment=record.experiment if clone else "default",
            tags=dict(record.tags) if clone else {},
            notes=record.notes if clone else "",
            seed=record.run_seed if clone else None,
        )

    def _find_latest(self, workflow: str) -> RunRecord:
        name = self.get_workflow(workflow).summary.name
        for record in self.catalog.list_runs(workflow=name, include_trials=True, limit=SEARCHED):
            if record.code.snapshot is not None:
                return record
        raise UsageError(
            f"the code of workflow '{name}' is not kept with any of its latest runs. Run it once from its "
            f"file: flowlearner run FILE:{name}"
        )

    def launch(
        self,
        workflow: str | None = None,
        params: Mapping[str, Any] | None = None,
        *,
        clone: str | None = None,
        sweep: Mapping[str, Any] | None = None,
        experiment: str | None = None,
        tags: Mapping[str, str] | None = None,
        notes: str | None = None,
        seed: int | None = None,
        cache: bool | None = None,
        command: str = "",
    ) -> str:
        """Start a run or a sweep outside of this process, which need not wait for it, and return its id.

        The process that `flowlearner up` keeps makes it. By its id it is in the catalog once it has begun;
        until then, and where it never begins, `find_launch` says how it fares.

        Args:
            workflow: its name in the catalog, of which the code of the latest run counts; or FILE:WORKFLOW.
            params: values by name, or texts as on the command line.
            clone: instead of a workflow a run, which is run once more with `params` in the place of its own.
            sweep: makes it a sweep, by the words of a spec file: space, metric, mode, trials, search, stop,
                seed, parallel, max_failures, executor. A space of None is every range that is declared.
            seed: of the run, or of every trial.

        Raises:
            NotFoundError: no such workflow or run.
            ParameterError: a value does not fit; what only the workflow's code can say shows later.
            ServerError: `flowlearner up` does not run.

        Example:
            run_id = client.launch("delays", {"max_depth": 8}, experiment="deeper")
            sweep_id = client.launch("delays", sweep={"space": {"max_depth": "2..10"}, "metric": "auc"})
        """
        if (workflow is None) == (clone is None):
            raise UsageError("say what to launch, one of the two: a workflow, or a run to clone")
        launch = Launch(
            folder=os.getcwd(),
            params=dict(params or {}),
            sweep=None if sweep is None else dict(sweep),
            experiment=experiment,
            tags=None if tags is None else dict(tags),
            notes=notes,
            seed=seed,
            cache=cache,
            command=command,
        )
        check_launch(launch)
        self.check_launching()
        if workflow is not None and _is_target(workflow):
            launch = aim(launch, workflow, self.settings)
            by_name = load_workflow(workflow).interface.by_name
            private = {n for n in launch.params if n in by_name and holds_secret(by_name[n].type)}
        else:
            form = self.make_form(workflow, clone=clone)
            _check_params(form, launch)
            launch = replace(launch, run_id=form.run_id, is_clone=form.is_clone)
            private = {f.name for f in form.fields if f.is_private}
        return self._submit(launch, private)

    def launch_resume(
        self,
        run_id: str,
        *,
        retry: bool = False,
        secrets: Mapping[str, Any] | None = None,
        command: str = "",
    ) -> str:
        """Go on with a run or sweep that did not complete, outside of this process: what is missing runs.

        Args:
            run_id: of a run, which goes on as a new one; or of a sweep, which goes on under its own id.
            retry: the failed trials of a sweep run again.
            secrets: values of Secret parameters, which are stored nowhere.

        Returns:
            the id of the launch, for `find_launch`; a new run has it, too.

        Raises:
            NotFoundError: no such run or sweep.
            UsageError: it still runs, or nothing of it is missing.
            ServerError: `flowlearner up` does not run.
        """
        given = dict(secrets or {})
        launch = Launch(folder=os.getcwd(), params=given, goes_on=True, retries=retry, command=command)
        try:
            record = self.get_record(run_id)
        except NotFoundError:
            launch = replace(launch, sweep_id=self._find_unfinished(run_id).id)
        else:
            check_unfinished(record)
            launch = replace(launch, run_id=record.id, is_clone=True)
        self.check_launching()
        return self._submit(launch, set(given))

    def _find_unfinished(self, sweep_id: str) -> SweepRecord:
        sweep = self.get_sweep_record(sweep_id)
        if not sweep.status.is_final:
            raise UsageError(f"sweep {sweep.id} still runs: it is {sweep.status}")
        return sweep

    def _submit(self, launch: Launch, private: Collection[str]) -> str:
        # What the server knows its pages show.
        secrets = {n: v for n, v in launch.params.items() if n in private}
        public = {n: v for n, v in launch.params.items() if n not in private}
        command = hide_secrets(launch.command, [str(v) for v in secrets.values() if v not in (None, "")])
        run_id = new_run_id()
        told = replace(launch, params=public, command=command)
        _prefect().submit_launch(self.settings, run_id, told, secrets)
        return run_id

    def find_launch(self, run_id: str) -> LaunchState | None:
        """Return how a launched run or sweep fares, as Prefect knows it; None where none has this id.

        Raises:
            ServerError: the server does not answer.
        """
        self._check_server()
        found: LaunchState | None = _prefect().find_launch(self.settings, run_id)
        return found

    def cancel_launch(self, run_id: str) -> None:
        """Take a launch back that has not begun; one that has begun is stopped by `cancel_run`.

        Raises:
            NotFoundError: nothing was launched under this id.
            ServerError: the server does not answer.
        """
        self._check_server()
        _prefect().cancel_launch(self.settings, run_id)

    def keep_upload(self, name: str, data: bytes) -> Path:
        """Keep bytes as a file under the home, where runs can read it; the same bytes are kept once.

        Args:
            name: of the file, whose suffix says how it is read.

        Raises:
            StorageError: the disk refuses.
        """
        folder = self.settings.home_path / UPLOADS / blake2b(data, digest_size=16).hexdigest()
        path = folder / (Path(name.replace("\\", "/")).name or "file")
        new = path.with_name(f".{os.getpid()}.new")
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            new.write_bytes(data)
            new.replace(path)
        except OSError as error:
            raise StorageError(f"{folder} cannot be written: {error.strerror}") from error
        return path

    def list_artifacts(self, codec: str | None = None, limit: int | None = 50) -> list[Artifact]:
        """Return what is stored, newest first, such as with codec="table/1"."""
        return self.catalog.list_artifacts(codec=codec, limit=limit)

    # Schedules

    def list_schedules(self) -> list[Schedule]:
        """Return all schedules by name, each with when it fires next and what it did last.

        Raises:
            ServerError: the Prefect server does not run.
        """
        self._check_server()
        found: list[Schedule] = _prefect().list_schedules(self.settings)
        return found

    def pause_schedule(self, name: str) -> Schedule:
        """Let a schedule fire no more until it is resumed; what runs goes on.

        Raises:
            NotFoundError: there is no such schedule.
            ServerError: the Prefect server does not run.
        """
        return self._set_paused(name, True)

    def resume_schedule(self, name: str) -> Schedule:
        """Let a paused schedule fire again; see `pause_schedule`."""
        return self._set_paused(name, False)

    def trigger_schedule(self, name: str) -> None:
        """Let a schedule run now, also while it is paused.

        Raises:
            NotFoundError: there is no such schedule.
            UsageError: what it ran before is still going.
            ServerError: `flowlearner up` does not run.
        """
        self.check_launching()
        _prefect().trigger_schedule(self.settings, name)

    def _set_paused(self, name: str, paused: bool) -> Schedule:
        self._check_server()
        changed: Schedule = _prefect().set_paused(self.settings, name, paused)
        return changed

    def _check_server(self) -> None:
        """Refuse what needs the server where none runs: who only looks starts none."""
        server = get_server(self.settings)
        # One that is configured elsewhere is asked once more, and says better what is wrong.
        if server.state == "stopped" or (server.state == "unhealthy" and server.pid is not None):
            raise ServerError(
                f"The Prefect server is {server.state}. `flowlearner up` starts it with all services."
            )

    def check_launching(self) -> None:
        """Raise ServerError where nothing that is launched would begin."""
        state = get_runner(self.settings).state
        if state not in SERVES:
            raise ServerError(
                f"The process that makes what is launched is {state}. "
                "`flowlearner up` starts it with all services."
            )
        self._check_server()


def _prefect() -> Any:
    """Load what talks to Prefect, which takes over a second, where it is used."""
    return importlib.import_module("flowlearner.schedule.deployments")


def _is_target(text: str) -> bool:
    return ":" in text or text.endswith(".py")


def _check_params(form: LaunchForm, launch: Launch) -> None:
    """Raise what shows of parameters without the code, all of it at once."""
    fields = {f.name: f for f in form.fields}
    space: Mapping[str, Any] | Sequence[str] = (launch.sweep or {}).get("space") or {}
    problems = [
        f"no parameter '{name}'; it takes {', '.join(fields) or 'none'}"
        for name in dict.fromkeys([*launch.params, *space])
        if name not in fields
    ]
    problems += [
        f"parameter '{name}' is fixed and varies; it is one of the two"
        for name in launch.params
        if name in space
    ]
    for name, made in fields.items():
        if name in space:
            text = space[name] if isinstance(space, Mapping) else None
            found = made.check_domain(text or "") if text is None or isinstance(text, str) else ""
        elif name in launch.params:
            value = launch.params[name]
            found = made.check(value) if isinstance(value, str) else ""
        else:
            found = made.check(made.kept)
        if found:
            problems.append(f"parameter '{name}': {found}")
    if problems:
        raise ParameterError(f"workflow '{form.workflow}': " + "; ".join(problems))
