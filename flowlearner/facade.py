"""The workflow that users hold: compile, run, and the Prefect flow."""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, ParamSpec, TypeVar, overload

from flowlearner.client import Client, Run
from flowlearner.config import get_settings
from flowlearner.definition import Definition
from flowlearner.engine.base import RunListener, RunOptions
from flowlearner.engine.submit import PlanRow, execute, plan
from flowlearner.errors import RunFailed
from flowlearner.operation import collect_locals
from flowlearner.records import Status

P = ParamSpec("P")
R = TypeVar("R")


class Workflow(Definition, Generic[P, R]):
    """A typed workflow.

    Called inside another workflow it is inlined; called outside a compile it is plain Python.
    """

    _options = RunOptions()
    _listener: RunListener | None = None
    _flow: Any = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = self.call(*args, **kwargs)
        return result

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"

    @property
    def options(self) -> RunOptions:
        return self._options

    def with_options(
        self,
        *,
        experiment: str | None = None,
        tags: Mapping[str, str] | None = None,
        notes: str | None = None,
        executor: str | None = None,
        seed: int | None = None,
        cache: bool | None = None,
        refresh: Sequence[str] | None = None,
        parent_id: str | None = None,
        command: str | None = None,
        listener: RunListener | None = None,
    ) -> Workflow[P, R]:
        """Return the same workflow with other options for its runs; what is left out stays.

        Args:
            experiment: name of the group that its runs belong to.
            tags: added to the tags so far.
            notes: free text.
            executor: "prefect" (default) or "local" (in this process, without Prefect).
            seed: what an unbound Seed parameter receives.
            cache: False looks nothing up.
            refresh: names of nodes that run even where they would hit.
            parent_id: id of the run that this one repeats or changes.
            command: the command line, for the record.
            listener: is told what happens to the run.
        """
        changes: dict[str, Any] = {
            "experiment": experiment,
            "tags": None if tags is None else {**self._options.tags, **{k: str(v) for k, v in tags.items()}},
            "notes": notes,
            "executor": executor,
            "seed": seed,
            "cache": cache,
            "refresh": None if refresh is None else tuple(refresh),
            "parent_id": parent_id,
            "command": command,
        }
        other = copy.copy(self)
        other._options = replace(self._options, **{k: v for k, v in changes.items() if v is not None})
        other._flow = None
        if listener is not None:
            other._listener = listener
        return other

    def run(self, **params: Any) -> Run:
        """Run the workflow and wait for it.

        Args:
            params: the workflow's parameters; a table or file may be a path, a URL or "artifact:HASH".

        Raises:
            RunFailed: a node failed or the run was cancelled; the exception holds the run.
            UsageError, InputError: nothing has run.

        Example:
            run = delays.with_options(experiment="delays").run(rows="flights.parquet", max_depth=4)
            run.outputs.auc
        """
        run = self.submit(**params)
        if run.status is not Status.COMPLETED:
            reason = run.error.message if run.error else f"it is {run.status}"
            raise RunFailed(f"run {run.id} of workflow '{self.name}': {reason}", run)
        return run

    def submit(self, **params: Any) -> Run:
        """Run the workflow and return the run whatever its status."""
        settings = get_settings()
        run_id = execute(self, params, self._options, settings, self._listener, self._pick_flow_runner())
        return Client(settings).get_run(run_id)

    def plan(self, **params: Any) -> list[PlanRow]:
        """Say which nodes would hit and which would run; nothing runs."""
        return plan(self, params, self._options, get_settings())

    @property
    def flow(self) -> Any:
        """The workflow as a genuine `prefect.Flow`, to serve, deploy or call."""
        if self._flow is None:
            self._flow = _load_prefect().make_flow(self, self._options, self._listener)
        return self._flow

    def _pick_flow_runner(self) -> Any:
        return _load_prefect().run_flow if self._options.executor == "prefect" else None


def _load_prefect() -> Any:
    """Load the module that wraps Prefect; a run on the local executor never pays for its import."""
    return importlib.import_module("flowlearner.engine.prefect_executor")


@overload
def workflow(fn: Callable[P, R], /) -> Workflow[P, R]: ...


@overload
def workflow(
    *, experiment: str = "default", tags: Mapping[str, str] | None = None, executor: str = "prefect"
) -> Callable[[Callable[P, R]], Workflow[P, R]]: ...


def workflow(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    experiment: str = "default",
    tags: Mapping[str, str] | None = None,
    executor: str = "prefect",
) -> Any:
    """Make a function that composes operators a workflow.

    Args:
        fn: the function, when used without parentheses.
        experiment: name of the group that its runs belong to, unless a run says otherwise.
        tags: tags of its runs.
        executor: "prefect" or "local".

    Raises:
        DefinitionError: the signature is not fully typed, or a default does not fit its type or range.

    Example:
        @workflow
        def delays(rows: pd.DataFrame, max_depth: Annotated[int, Range(1, 12)] = 6) -> Delays: ...
    """
    localns = collect_locals(sys._getframe(1))

    def decorate(function: Callable[..., Any]) -> Workflow[Any, Any]:
        made: Workflow[Any, Any] = Workflow(function, localns)
        made._options = RunOptions(experiment=experiment, tags=dict(tags or {}), executor=executor)
        return made

    return decorate if fn is None else decorate(fn)
