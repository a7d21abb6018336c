"""Goes on with a sweep whose driver is gone, or runs its failed trials again, from the catalog alone."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from flowlearner.artifacts import ArtifactStore
from flowlearner.catalog import Catalog
from flowlearner.config import Settings
from flowlearner.definition import Definition
from flowlearner.engine.base import Origin
from flowlearner.engine.crashes import take_over
from flowlearner.engine.submit import opened
from flowlearner.errors import UsageError, shorten
from flowlearner.params import ARTIFACT_PREFIX
from flowlearner.records import Artifact, Status, SweepRecord, TrialRecord, find_curve
from flowlearner.restoring import encode_again, loaded_definition, read_modules
from flowlearner.sweep.listener import Best, SweepListener, Tally
from flowlearner.sweep.search import Searcher
from flowlearner.sweep.space import Point, Space
from flowlearner.sweep.stored import read_point, read_space
from flowlearner.sweep.submit import (
    History,
    SweepOptions,
    SweepSubmission,
    execute_sweep,
    prepare_sweep,
)

SNAPSHOTS = "code"


def resume_sweep(
    sweep_id: str,
    settings: Settings,
    listener: SweepListener | None = None,
    *,
    definition: Definition | None = None,
    secrets: Mapping[str, str] | None = None,
) -> str:
    """Run the trials of a sweep that have no end yet, under their numbers; return the sweep's id.

    Args:
        definition: the workflow, if it is at hand; else it is loaded from the sweep's snapshot.
        secrets: values of Secret parameters, which are stored nowhere.

    Raises:
        NotFoundError: no such sweep.
        UsageError: it still runs, or it has nothing left to do.
    """
    return _go_on(sweep_id, settings, listener, definition, secrets, again=())


def retry_sweep(
    sweep_id: str,
    settings: Settings,
    listener: SweepListener | None = None,
    *,
    definition: Definition | None = None,
    secrets: Mapping[str, str] | None = None,
) -> str:
    """Run the failed trials of a sweep again, under their numbers, and those that have no end yet.

    Raises:
        NotFoundError: no such sweep.
        UsageError: it still runs, or none of its trials has failed.
    """
    return _go_on(sweep_id, settings, listener, definition, secrets, again=(Status.FAILED,))


def _go_on(
    sweep_id: str,
    settings: Settings,
    listener: SweepListener | None,
    definition: Definition | None,
    secrets: Mapping[str, str] | None,
    again: tuple[Status, ...],
) -> str:
    with contextlib.ExitStack() as code:
        with opened(settings) as (catalog, store):
            sweep = catalog.get_sweep(sweep_id)
            if not sweep.status.is_final:
                take_over(catalog, sweep, (listener or SweepListener()).say)
                sweep = catalog.get_sweep(sweep.id)
            if not sweep.status.is_final:
                raise UsageError(
                    f"sweep {sweep.id} still runs: `flowlearner sweeps stop {sweep.id[:8]}` stops it"
                )
            trials = catalog.list_trials(sweep.id)
            _check_work(sweep, trials, again)
            found = definition or code.enter_context(_loaded(sweep, catalog, store, settings))
            space = read_space(sweep.spec["dimensions"], found)
            submission = _prepare(sweep, found, space, settings, listener, secrets or {})
            if definition is None:
                origin = Origin(code=sweep.code, snapshot=encode_again(_find_snapshot(sweep, catalog), store))
                submission = replace(submission, first=replace(submission.first, origin=origin))
            curves = _read_curves(sweep, trials, catalog) if submission.searcher.stops_early else {}
        history = make_history(trials, curves, space, found, submission.searcher, sweep, again)
        return execute_sweep(submission, sweep_id=sweep.id, history=history)


def _check_work(sweep: SweepRecord, trials: list[TrialRecord], again: tuple[Status, ...]) -> None:
    if again and not any(t.status in again for t in trials):
        raise UsageError(f"sweep {sweep.id} has no failed trial to run again")
    total = sweep.spec.get("trials")
    ended = sum(t.status in (Status.COMPLETED, Status.PRUNED, Status.FAILED) for t in trials)
    if not again and total is not None and ended >= total:
        failed = sum(t.status is Status.FAILED for t in trials)
        cure = (
            f"; `flowlearner sweeps retry {sweep.id[:8]}` runs the {failed} failed ones again"
            if failed
            else ""
        )
        raise UsageError(f"sweep {sweep.id}: each of its {total} trials has ended{cure}")


def _loaded(
    sweep: SweepRecord, catalog: Catalog, store: ArtifactStore, settings: Settings
) -> AbstractContextManager[Definition]:
    artifact = _find_snapshot(sweep, catalog)
    versions = catalog.get_workflow(sweep.workflow).versions
    module = next(v.module for v in versions if v.fingerprint == sweep.workflow_fingerprint)
    modules = read_modules(artifact, store)
    base = settings.home_path / SNAPSHOTS
    return loaded_definition(artifact.hash, modules, base, module, sweep.workflow)


def _find_snapshot(sweep: SweepRecord, catalog: Catalog) -> Artifact:
    if sweep.code.snapshot is None:
        raise UsageError(f"sweep {sweep.id} has no snapshot of its code")
    return catalog.get_artifact(sweep.code.snapshot)


def _prepare(
    sweep: SweepRecord,
    definition: Definition,
    space: Space,
    settings: Settings,
    listener: SweepListener | None,
    secrets: Mapping[str, str],
) -> SweepSubmission:
    spec = sweep.spec
    missing = [n for n in spec["secret_params"] if n not in secrets]
    if missing:
        raise UsageError(
            f"sweep {sweep.id}: its Secret parameters are stored nowhere; give {shorten(missing)} again"
        )
    options = SweepOptions(
        metric=sweep.metrics,
        mode=sweep.modes,
        trials=spec["trials"],
        search=spec["search"],
        stop=spec["stop"],
        seed=spec["seed"],
        run_seed=spec["run_seed"],
        parallel=spec["parallel"],
        max_failures=spec["max_failures"],
        executor=spec["executor"],
        cache=spec["cache"],
        experiment=sweep.experiment,
        tags=sweep.tags,
        notes=sweep.notes,
        command=sweep.command,
    )
    fixed = {name: _read_fixed(value) for name, value in spec["params"].items()} | dict(secrets)
    return prepare_sweep(definition, space, fixed, options, settings, listener)


def _read_fixed(value: Any) -> Any:
    """Return a recorded parameter as it may be given: a table or file by the content that it had."""
    if isinstance(value, Mapping) and value.get("hash"):
        return f"{ARTIFACT_PREFIX}{value['hash']}"
    if isinstance(value, list):
        return [_read_fixed(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _read_fixed(item) for name, item in value.items()}
    return value


def _list_sources(spec: Mapping[str, Any]) -> dict[str, str | None]:
    """Return where tables and files of a sweep came from, by their hashes."""
    stored = [*spec["params"].values(), *(v for d in spec["dimensions"] for v in d.get("values", ()))]
    return {v["hash"]: v["source"] for v in stored if isinstance(v, Mapping) and v.get("hash")}


def _read_curves(
    sweep: SweepRecord, trials: list[TrialRecord], catalog: Catalog
) -> dict[int, list[tuple[int, float]]]:
    """Return by trial number what was reported of the metric, step by step."""
    return {t.number: find_curve(catalog.list_metric_points(t.run_id), sweep.metrics[0]) for t in trials}


def make_history(
    trials: list[TrialRecord],
    curves: Mapping[int, list[tuple[int, float]]],
    space: Space,
    definition: Definition,
    searcher: Searcher,
    sweep: SweepRecord,
    again: tuple[Status, ...],
) -> History:
    """Tell the searcher of earlier trials; return what is left to do."""
    tally = Tally(executed=Counter(sweep.node_executions))
    points: dict[int, Point] = {}
    run_ids: dict[int, str] = {}
    ended: set[int] = set()
    for trial in trials:
        point = read_point(trial.point, space, definition)
        values = [v for v in trial.values if v is not None]
        stays = trial.status in (Status.COMPLETED, Status.PRUNED, Status.FAILED) and trial.status not in again
        whole = values if trial.status is Status.COMPLETED and len(values) == len(sweep.metrics) else None
        status, curve = (trial.status, curves.get(trial.number, [])) if stays else (Status.RUNNING, [])
        searcher.restore(trial.number, point, status, whole, curve)
        if not stays:
            points[trial.number], run_ids[trial.number] = point, trial.run_id
            continue
        ended.add(trial.number)
        tally.counts[trial.status] += 1
        if whole is not None and len(whole) == 1:
            is_better = sweep.modes[0] == "max"
            best = tally.best
            if best is None or (whole[0] > best.value if is_better else whole[0] < best.value):
                tally.best = Best(trial.number, trial.run_id, point, whole[0])
    return History(tally, points, run_ids, frozenset(ended), sweep.process, _list_sources(sweep.spec))
