"""The workflow that users hold: compile, run, and the Prefect flow."""

from __future__ import annotations

import contextlib
import copy
import importlib
import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, Never, ParamSpec, TypeVar, overload

from flowlearner.definition import Definition
from flowlearner.engine.base import EXECUTORS, RunListener, RunOptions
from flowlearner.errors import ParameterError, RunFailed, SweepFailed, UsageError, UserError, shorten, suggest
from flowlearner.operation import active_tracer, collect_scope, is_restoring, refuse_unknown
from flowlearner.records import Status

if TYPE_CHECKING:
    from flowlearner.client import Run, Sweep
    from flowlearner.engine.submit import PlanRow
    from flowlearner.sweep.listener import SweepListener

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger("flowlearner")


class Workflow(Definition, Generic[P, R]):
    """A typed workflow; `workflow` makes it.

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
        **unknown: Never,
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
            unknown: refused, with the nearest option.

        Raises:
            ParameterError: an option is unknown, or its value is not what it takes.

        Example:
            >>> @workflow
            ... def same(n: int = 1) -> int:
            ...     return n
            >>> same.with_options(experiment="tries", tags={"team": "ops"}, seed=7).options.seed
            7
        """
        problems = list(_explain_options({k: v for k, v in locals().items() if v is not None}))
        if problems:
            raise ParameterError(f"workflow '{self.name}', options: {'; '.join(problems)}")
        changes: dict[str, Any] = {
            "experiment": experiment,
            "tags": None if tags is None else {**self._options.tags, **tags},
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

    def run(self, /, *surplus: Never, **params: Any) -> Run:
        """Run the workflow and wait for it. The logger `flowlearner` tells of begin and end at level INFO.

        Args:
            surplus: refused: parameters are given by name.
            params: the workflow's parameters; a table or file may be a path, a URL or "artifact:HASH".

        Raises:
            RunFailed: a node failed or the run was cancelled; the exception holds the run.
            UsageError, InputError: nothing has run.

        Example:
            >>> @operator
            ... def double(n: int) -> int:
            ...     return 2 * n
            >>> @workflow(executor="local")
            ... def twice(n: int) -> int:
            ...     return double(double(n))
            >>> twice.run(n=3).outputs.result
            12
        """
        run = self.submit(*surplus, **params)
        if run.status is not Status.COMPLETED:
            reason = run.error.message if run.error else f"it is {run.status}"
            # The operator's own frames: it may have run in another thread or process, or days ago.
            trace = f"\n\n{run.error.traceback.rstrip()}\n" if run.error and run.error.traceback else ""
            see = f"See all of it: flowlearner runs show {run.id[:8]}"
            raise RunFailed(f"run {run.id} of workflow '{self.name}': {reason}{trace}\n{see}", run)
        return run

    def submit(self, /, *surplus: Never, **params: Any) -> Run:
        """Run the workflow and return the run whatever its status."""
        self._check_start(surplus)
        settings = _load("config").get_settings()
        flow_runner = (
            _load("engine.prefect_executor").run_flow if self._options.executor == "prefect" else None
        )
        execute = _load("engine.submit").execute
        _log.info("workflow '%s' begins on executor '%s'", self.name, self._options.executor)
        try:
            run_id = execute(self, params, self._options, settings, self._listener, flow_runner)
        except (UserError, UsageError) as error:
            raise error.with_traceback(None) from error.__cause__  # what a user mends needs no frames of ours
        run: Run = _load("client").Client(settings).get_run(run_id)
        _log.info("run %s of workflow '%s' is %s", run.id, self.name, run.status)
        return run

    def sweep(
        self,
        space: Any = None,
        /,
        *,
        metric: str | Sequence[str] = "",
        mode: str | Sequence[str] = "max",
        trials: int | None = None,
        search: str = "tpe",
        stop: str | None = None,
        seed: int = 0,
        parallel: int | None = None,
        max_failures: int | None = None,
        executor: str | None = None,
        listener: SweepListener | None = None,
        **params: Any,
    ) -> Sweep:
        """Run the workflow at many points of a space and wait for it; what trials share runs once.

        Experiment, tags, notes, cache and the trials' run seed are those of `with_options`.

        Args:
            space: domains by parameter name: Range, LogRange, Choice, a list of values, or their text forms
                ("2..10", "log(0.01,0.5)", "{a,b}"); names alone, or None, take the ranges that the workflow
                declares.
            metric: the Metric output that is searched for, or several; the only one if left out.
            mode: "max" or "min"; for several metrics one for each, or one for all.
            trials: how many points; every point of a grid, else 32, if left out.
            search: "grid", "random", "qmc", "tpe", "cmaes", "gp" or "nsga2". Grid, random and qmc give the
                same points for the same seed always; the others where `parallel` is 1.
            stop: "asha" or "median" stop trials early by what they `report` of the metric; None: never.
            seed: of the search. The trials' own seed is an option of the workflow.
            parallel: how many trials are in flight at once; by the processors if left out.
            max_failures: the sweep fails once more trials than this have failed; None: never.
            executor: "ray" or "local" (threads of this process); "ray" unless the workflow's is "local".
            listener: is told what happens to the sweep.
            params: parameters that do not vary.

        Raises:
            SweepFailed: every trial failed, or too many; the exception holds the sweep.
            UsageError, InputError: nothing has run.

        Example:
            >>> @operator
            ... def score(x: float) -> Metric:
            ...     return -abs(x - 3)
            >>> @workflow(executor="local")
            ... def guess(x: float = 0.0) -> Metric:
            ...     return score(x)
            >>> guess.sweep({"x": [1.0, 2.0, 3.0]}, search="grid").best.params["x"]
            3.0
        """
        self._check_start(())
        settings = _load("config").get_settings()
        mine = self._options
        executor = executor or ("local" if mine.executor == "local" else "ray")
        with contextlib.ExitStack() as stack:
            if executor == "ray":
                # First of all: a worker loads meanwhile.
                stack.enter_context(_load("sweep.warm").attached_where_warm(settings))
            submit = _load("sweep.submit")
            options = submit.SweepOptions(
                metric=metric if isinstance(metric, str) else tuple(metric),
                mode=mode if isinstance(mode, str) else tuple(mode),
                trials=trials,
                search=search,
                stop=stop,
                seed=seed,
                run_seed=mine.seed,
                parallel=parallel,
                max_failures=max_failures,
                executor=executor,
                cache=mine.cache,
                experiment=mine.experiment,
                tags=mine.tags,
                notes=mine.notes,
                command=mine.command,
            )
            prepared = submit.prepare_sweep(self, space, params, options, settings, listener)
            sweep_id = submit.execute_sweep(prepared)
        sweep: Sweep = _load("client").Client(settings).get_sweep(sweep_id)
        if sweep.status is not Status.COMPLETED:
            reason = sweep.record.error.message if sweep.record.error else f"it is {sweep.status}"
            see = f"See all of it: flowlearner sweeps show {sweep.id[:8]}"
            raise SweepFailed(f"sweep {sweep.id} of workflow '{self.name}': {reason}\n{see}", sweep)
        return sweep

    def plan(self, /, *surplus: Never, **params: Any) -> list[PlanRow]:
        """Say which nodes would hit and which would run; nothing runs."""
        self._check_start(surplus)
        plan = _load("engine.submit").plan
        try:
            rows: list[PlanRow] = plan(self, params, self._options, _load("config").get_settings())
        except (UserError, UsageError) as error:
            raise error.with_traceback(None) from error.__cause__
        return rows

    def _check_start(self, surplus: Sequence[Any]) -> None:
        """Raise UsageError where a run cannot start: in the body of a workflow, or with nameless values."""
        if active_tracer.get() is not None:
            raise UsageError(
                f"nothing runs while a workflow compiles. To have the steps of '{self.name}' in it, call it: "
                f"{self.name}(...)"
            )
        if is_restoring.get():
            raise UsageError(f"'{self.name}' does not run while the code of an earlier run is loaded")
        self.refuse_positional(surplus)

    @property
    def flow(self) -> Any:
        """The workflow as a genuine `prefect.Flow`, to serve, deploy or call."""
        self._check_start(())
        if self._flow is None:
            self._flow = _load("engine.prefect_executor").make_flow(self, self._options, self._listener)
        return self._flow


def _explain_options(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with options that were given."""
    known = list(inspect.signature(Workflow.with_options).parameters)[1:-1]
    for name in options["unknown"]:
        yield f"no option '{name}'; there are {shorten(known, len(known))}.{suggest(name, known)}"
    for name in ("experiment", "notes", "executor", "parent_id", "command"):
        if name in options and not isinstance(options[name], str):
            yield f"{name}: expected text, found {options[name]!r}"
    if options.get("experiment") == "":
        yield "experiment: expected a name, found an empty text"
    executor = options.get("executor", EXECUTORS[0])
    if isinstance(executor, str) and executor not in EXECUTORS:
        yield f"no executor '{executor}'; there are {shorten(EXECUTORS)}.{suggest(executor, EXECUTORS)}"
    tags = options.get("tags", {})
    if not isinstance(tags, Mapping) or not all(isinstance(t, str) for pair in tags.items() for t in pair):
        yield f'tags: expected texts by name, such as {{"team": "ops"}}, found {tags!r}'
    seed = options.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 63:
        yield f"seed: expected a whole number from 0 to 2**63 - 1, found {seed!r}"
    if not isinstance(options.get("cache", True), bool):
        yield f"cache: expected True or False, found {options['cache']!r}"
    refresh = options.get("refresh", ())
    if (
        isinstance(refresh, str)
        or not isinstance(refresh, Sequence)
        or not all(isinstance(n, str) for n in refresh)
    ):
        yield f"refresh: expected a list of names of nodes, found {refresh!r}"


def _load(name: str) -> Any:
    """Load a module at its first use.

    A process that only imports a workflow, such as the child of an isolated node, pays for no catalog; a run
    on the local executor pays for no Prefect.
    """
    return importlib.import_module(f"flowlearner.{name}")


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
    **unknown: Any,
) -> Any:
    """Make a function that composes operators a workflow.

    Args:
        fn: the function, when used without parentheses.
        experiment: name of the group that its runs belong to, unless a run says otherwise.
        tags: tags of its runs.
        executor: "prefect" or "local".
        unknown: refused, with the nearest option.

    Raises:
        DefinitionError: the signature is not fully typed, a default does not fit its type or range, or an
            option is unknown or of another type.

    Example:
        >>> @operator
        ... def double(n: int) -> int:
        ...     return 2 * n
        >>> @workflow
        ... def twice(n: Annotated[int, Range(1, 9)] = 1) -> int:
        ...     return double(double(n))
        >>> [node.name for node in twice.compile().nodes]
        ['double', 'double_2']
    """
    frame = sys._getframe(1)
    refuse_unknown(f"@workflow ({frame.f_code.co_filename}:{frame.f_lineno})", unknown, workflow)

    def decorate(function: Callable[..., Any]) -> Workflow[Any, Any]:
        made: Workflow[Any, Any] = Workflow(function, collect_scope(frame, function))
        return made.with_options(experiment=experiment, tags=tags, executor=executor)

    return decorate if fn is None else decorate(fn)
