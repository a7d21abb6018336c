"""From a workflow and a space to a finished, recorded sweep."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import shlex
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from flowlearner.artifacts import ArtifactStore
from flowlearner.capture import read_environment
from flowlearner.catalog import Catalog
from flowlearner.config import Settings
from flowlearner.definition import Definition
from flowlearner.engine.base import Budget, RunListener, RunOptions, check_resources, utc_now
from flowlearner.engine.crashes import settle_crashes
from flowlearner.engine.interruption import Interruption
from flowlearner.engine.local import LocalLauncher
from flowlearner.engine.logs import captured, hide_secrets
from flowlearner.engine.node import describe_error
from flowlearner.engine.server import ensure_server
from flowlearner.engine.submit import (
    Submission,
    capture_code,
    check_secrets,
    choose_end,
    get_user,
    new_run_id,
    opened,
)
from flowlearner.errors import FlowLearnerError, UsageError, make_lease_lost, shorten, suggest
from flowlearner.heartbeat import beating, may_take_over
from flowlearner.inputs import InputResolver
from flowlearner.lease import get_process_owner
from flowlearner.params import bind_params, check_limits
from flowlearner.records import ErrorInfo, Owner, RunRecord, Status, SweepRecord
from flowlearner.sweep.beside import FlowBeside, FlowLink, find_current_flow
from flowlearner.sweep.driver import Driver, Limits
from flowlearner.sweep.listener import SweepListener, Tally
from flowlearner.sweep.making import TrialMaker, check_graphs
from flowlearner.sweep.search import SEARCHES, Objective, Searcher, make_searcher
from flowlearner.sweep.space import Point, Space, make_space
from flowlearner.sweep.stored import write_space
from flowlearner.sweep.warm import attached_where_warm

EXECUTORS = ("ray", "local")
MODES = ("max", "min")
DEFAULT_TRIALS = 32
# What does not depend on results may be prepared ahead, so that a worker never waits for the driver.
AHEAD = 2


@dataclass(frozen=True)
class SweepOptions:
    """How a sweep is made.

    Attributes:
        trials: how many points are tried; None: every point of a grid, else 32.
        parallel: how many trials are in flight at once; None: as many as there are processors, twice as many
            where points do not depend on results.
        max_failures: the sweep ends FAILED once more trials than this have failed; None: never.
    """

    metric: str | tuple[str, ...] = ""
    mode: str | tuple[str, ...] = "max"
    trials: int | None = None
    search: str = "tpe"
    stop: str | None = None
    seed: int = 0
    run_seed: int = 0
    parallel: int | None = None
    max_failures: int | None = None
    executor: str = "ray"
    cache: bool = True
    experiment: str = "default"
    tags: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""
    command: str = ""


@dataclass(frozen=True)
class SweepSubmission:
    """A sweep that was checked and has not begun.

    Attributes:
        fixed: what every trial is given; the first trial's parameters stand for the others' in `graph`.
        total: how many trials there will be; None where nobody knows.
    """

    definition: Definition
    space: Space
    fixed: Mapping[str, Any]
    objective: Objective
    options: SweepOptions
    settings: Settings
    listener: SweepListener
    searcher: Searcher
    first: Submission
    total: int | None


def prepare_sweep(
    definition: Definition,
    space: Any,
    fixed: Mapping[str, Any],
    options: SweepOptions,
    settings: Settings,
    listener: SweepListener | None = None,
) -> SweepSubmission:
    """Check everything that can be checked before a sweep begins; nothing is written.

    Raises:
        ParameterError: the space or a fixed parameter does not fit the workflow.
        UsageError: an option is not what it takes.
        CompileError: the workflow does not compile.
        ResourceError: a node asks for more than this machine has.
    """
    problems = list(_explain_options(options))
    if problems:
        raise UsageError(f"sweep of workflow '{definition.name}': {'; '.join(problems)}")
    objective = _make_objective(definition, options)
    made = space if isinstance(space, Space) else make_space(definition, space, fixed)
    total = _count_trials(made, options)
    searcher = make_searcher(
        made,
        objective,
        search=options.search,
        stop=options.stop,
        seed=options.seed,
        trials=total,
    )
    probe = made.point_of([0.0] * len(made.dimensions))
    bound = bind_params(definition, {**fixed, **probe}, options.run_seed)
    graph = definition.compile(**bound.static)
    check_limits(graph, bound.values)
    check_resources(graph)
    check_graphs(definition, made, bound.static)
    for name, value in bound.values.items():
        InputResolver.check_exists(definition.interface.by_name[name], value)
    run_options = RunOptions(
        experiment=options.experiment,
        executor=options.executor,
        seed=options.run_seed,
        cache=options.cache,
        command=options.command or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    )
    first = Submission(definition, graph, bound, run_options, settings, _Quiet())
    check_secrets(first)
    return SweepSubmission(
        definition,
        made,
        dict(fixed),
        objective,
        options,
        settings,
        listener or SweepListener(),
        searcher,
        first,
        total,
    )


class _Quiet(RunListener):
    """Trials say nothing by themselves: hundreds of them would say it at once."""

    echo_prints = False


def _explain_options(options: SweepOptions) -> Iterator[str]:
    for name in ("trials", "parallel"):
        value = getattr(options, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            yield f"{name}: expected a whole number of at least 1, found {value!r}"
    failures: Any = options.max_failures
    if failures is not None and (isinstance(failures, bool) or not isinstance(failures, int) or failures < 0):
        yield f"max_failures: expected a whole number of at least 0, found {failures!r}"
    for name in ("seed", "run_seed"):
        value = getattr(options, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
            yield f"{name}: expected a whole number from 0 to 2**63 - 1, found {value!r}"
    for name, known in (("executor", EXECUTORS), ("search", SEARCHES)):
        value = getattr(options, name)
        if value not in known:
            yield f"no {name} '{value}'; there are {shorten(known)}.{suggest(str(value), known)}"


def _make_objective(definition: Definition, options: SweepOptions) -> Objective:
    """Check the metrics that are searched for against what the workflow returns.

    Raises:
        UsageError: it returns no such metric, or the directions do not fit.
    """
    known = [o.name for o in definition.interface.outputs if o.type.kind == "metric"]
    metrics = _as_tuple(options.metric)
    if not metrics and len(known) == 1:
        metrics = (known[0],)
    where = f"sweep of workflow '{definition.name}'"
    if not known:
        raise UsageError(f"{where}: it returns no metric to search for; annotate an output as Metric")
    if not metrics:
        raise UsageError(f"{where}: say which metric to search for; it returns {shorten(known)}")
    for name in metrics:
        if name not in known:
            raise UsageError(
                f"{where}: it returns no metric '{name}'; it returns {shorten(known)}.{suggest(name, known)}"
            )
    modes = _as_tuple(options.mode)
    if len(modes) == 1:
        modes *= len(metrics)
    strange = [m for m in modes if m not in MODES]
    if strange:
        raise UsageError(f"{where}: mode: expected max or min, found '{strange[0]}'")
    if len(modes) != len(metrics):
        raise UsageError(
            f"{where}: {len(metrics)} metrics and {len(modes)} modes; give one mode for all, or one for each"
        )
    return Objective(metrics, modes)


def _as_tuple(value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value)
    return tuple(n for n in names if n)


def _count_trials(space: Space, options: SweepOptions) -> int | None:
    points = space.count_points() if options.search in ("grid", "random") else None
    wanted = options.trials
    if wanted is None:
        if options.search == "grid":
            return points
        wanted = DEFAULT_TRIALS
    return wanted if points is None else min(points, wanted)


@dataclass(frozen=True)
class History:
    """What is known of a sweep that goes on: numbers that are left, with their points and runs.

    Attributes:
        points: of trials that had begun and have not completed, by number.
        run_ids: of those trials.
        ended: numbers that stay as they are.
        driver: the process that drove the sweep when all this was read.
        sources: where the tables and files came from, by hash.
    """

    tally: Tally
    points: Mapping[int, Point] = field(default_factory=dict)
    run_ids: Mapping[int, str] = field(default_factory=dict)
    ended: frozenset[int] = frozenset()
    driver: Owner | None = None
    sources: Mapping[str, str | None] = field(default_factory=dict)


def execute_sweep(
    submission: SweepSubmission, *, sweep_id: str | None = None, history: History | None = None
) -> str:
    """Run a sweep to its end on the executor of its options; return its id.

    Args:
        sweep_id, history: of a sweep that goes on.

    Raises:
        UserError, PlatformError: before the sweep began, or the platform failed in it.
        KeyboardInterrupt: Ctrl-C; the sweep is recorded as CANCELLED.
    """
    if submission.options.executor == "local":
        with LocalLauncher() as launcher:
            budget = Budget.of_machine()
            return run_sweep(submission, launcher, budget, sweep_id=sweep_id, history=history)[0]
    settings, module = submission.settings, submission.definition.fn.__module__
    link = find_current_flow()
    with attached_where_warm(settings) as address, ThreadPoolExecutor(1) as helper:
        # Prefect's server, where there is none yet, takes seconds to start, and so does Ray.
        getting_url = helper.submit(lambda: "" if link else ensure_server(settings, submission.listener.say))
        # Loaded only now: Ray takes its settings from the environment.
        cluster = importlib.import_module("flowlearner.sweep.cluster").Cluster(
            address,
            module,
            settings.snapshot_limit_bytes,
            takes_points=submission.searcher.stops_early,
        )
        with cluster as launcher:
            url = getting_url.result()
            return run_sweep(
                submission,
                launcher,
                launcher.budget,
                sweep_id=sweep_id,
                history=history,
                link=link,
                beside=None if link else FlowBeside(submission, url, launcher.is_warm),
            )[0]


def run_sweep(
    submission: SweepSubmission,
    launcher: Any,
    budget: Budget,
    *,
    sweep_id: str | None = None,
    history: History | None = None,
    link: FlowLink | None = None,
    beside: FlowBeside | None = None,
) -> tuple[str, Status]:
    """Record a sweep, drive it with a launcher, and record how it ended; return its id and status.

    Args:
        budget: what calls in flight may take together.
        history: where the sweep goes on, under the id that is given.
        link: the flow run that it is.
        beside: keeps a flow run while it goes on.
    """
    resumes = history is not None
    history = history or History(Tally())
    sweep_id = sweep_id or (link.name if link else None) or new_run_id()
    with (
        opened(submission.settings) as (catalog, store),
        beating(catalog),
        captured(),
        Interruption() as interruption,
    ):
        maker, sweep = _begin(submission, sweep_id, catalog, store, history)
        assert sweep.process is not None, "it is this one"
        if resumes:
            # At once: its trials are run again by who has it.
            with catalog.batch():
                catalog.claim_sweep(sweep_id, sweep.process, history.driver, partial(may_take_over, catalog))
                catalog.reopen_trials(list(history.run_ids.values()), sweep.process)
        else:
            settle_crashes(catalog)
            catalog.begin_sweep(sweep, read_environment(), maker.take_artifacts())
        note_flow = partial(_note_flow, catalog, sweep_id, sweep.process)
        if link is not None:
            note_flow(link)
        driver = Driver(
            sweep_id,
            catalog,
            submission.searcher,
            submission.objective,
            maker,
            _iter_numbers(submission, history),
            launcher,
            budget,
            Limits(_choose_parallel(submission, budget), submission.options.max_failures),
            cache=submission.options.cache,
            listener=submission.listener,
            tally=history.tally,
            known=frozenset(history.run_ids.values()),
        )
        interruption.steps = (driver.drain, driver.stop)
        submission.listener.sweep_started(sweep_id, submission.total)
        if beside is not None:
            beside.begin(sweep_id, note_flow)
        status, error = Status.FAILED, None
        try:
            driver.run()
            status, error = _choose_end(driver, interruption, catalog.is_stop_requested(sweep_id))
            if not catalog.finish_sweep(sweep_id, sweep.process, status, utc_now(), error):
                raise make_lease_lost("sweep", sweep_id)
        except BaseException as broken:
            status, error = choose_end(broken), describe_error(broken, submission.first.secrets)
            with contextlib.suppress(FlowLearnerError):
                catalog.finish_sweep(sweep_id, sweep.process, status, utc_now(), error)
            raise
        finally:
            submission.listener.sweep_finished(sweep_id, status)
            if beside is not None:
                beside.end(status, error.type if error else "stopped")
        if interruption.count:
            raise KeyboardInterrupt
        if driver.platform_error is not None:
            raise driver.platform_error
    return sweep_id, status


def _note_flow(catalog: Catalog, sweep_id: str, process: Owner, link: FlowLink) -> None:
    catalog.link_sweep(sweep_id, process, link.flow_run_id, link.api_url)


def _begin(
    submission: SweepSubmission, sweep_id: str, catalog: Catalog, store: ArtifactStore, history: History
) -> tuple[TrialMaker, SweepRecord]:
    definition, options, first = submission.definition, submission.options, submission.first
    code, captured_code = capture_code(first)
    now, process, user = utc_now(), get_process_owner(), get_user()
    fingerprint = definition.fingerprint().digest
    template = RunRecord(
        id="",
        workflow=definition.name,
        experiment=options.experiment,
        status=Status.RUNNING,
        owner=user,
        created_at=now,
        workflow_fingerprint=fingerprint,
        executor=options.executor,
        run_seed=options.run_seed,
        sweep_id=sweep_id,
        code=code,
        environment=read_environment(),
        process=process,
        command=hide_secrets(first.options.command, first.secrets),
    )
    maker = TrialMaker(submission.space, first, template, catalog, store, history.run_ids, history.sources)
    maker.artifacts += [store.put(encoded) for encoded in captured_code]
    # Whoever goes on with the sweep finds its workflow by what is recorded here.
    maker.compile(first.bound.static)
    sweep = SweepRecord(
        id=sweep_id,
        workflow=definition.name,
        experiment=options.experiment,
        status=Status.RUNNING,
        owner=user,
        created_at=now,
        metrics=submission.objective.metrics,
        modes=submission.objective.modes,
        spec=describe_spec(submission, maker),
        started_at=now,
        workflow_fingerprint=fingerprint,
        tags=dict(options.tags),
        notes=options.notes,
        code=code,
        process=process,
        command=hide_secrets(first.options.command, first.secrets),
    )
    return maker, sweep


def describe_spec(submission: SweepSubmission, maker: TrialMaker) -> dict[str, Any]:
    """Return how a sweep was asked for, as JSON; tables and files are stored and named by their content."""
    options = submission.options
    secrets = submission.first.bound.secrets
    return {
        "space": submission.space.describe(),
        "dimensions": write_space(submission.space, submission.definition, maker.find_stored),
        "params": {n: v for n, v in maker.recorded.items() if n in submission.fixed and n not in secrets},
        "secret_params": [n for n in submission.fixed if n in secrets],
        "trials": submission.total,
        "search": options.search,
        "stop": options.stop,
        "seed": options.seed,
        "run_seed": options.run_seed,
        "parallel": options.parallel,
        "max_failures": options.max_failures,
        "executor": options.executor,
        "cache": options.cache,
    }


def _iter_numbers(submission: SweepSubmission, history: History) -> Iterator[tuple[int, Point | None]]:
    numbers = itertools.count() if submission.total is None else range(submission.total)
    for number in numbers:
        if number not in history.ended:
            yield number, history.points.get(number)


def _choose_parallel(submission: SweepSubmission, budget: Budget) -> int:
    if submission.options.parallel is not None:
        return submission.options.parallel
    cpus = max(1, int(budget.cpus))
    return cpus if submission.searcher.is_adaptive else cpus * AHEAD


def _choose_end(
    driver: Driver, interruption: Interruption, was_stopped: bool
) -> tuple[Status, ErrorInfo | None]:
    if driver.failure is not None:
        return Status.FAILED, driver.failure
    if driver.platform_error is not None:
        return Status.FAILED, describe_error(driver.platform_error)
    if interruption.count or was_stopped:
        return Status.CANCELLED, None
    counts = driver.tally.counts
    if counts[Status.FAILED] and not counts[Status.COMPLETED] and not counts[Status.PRUNED]:
        message = f"each of its {counts[Status.FAILED]} trials failed; the last: {driver.last_error}"
        return Status.FAILED, ErrorInfo("AllTrialsFailed", message)
    return Status.COMPLETED, None
