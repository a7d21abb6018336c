"""Runs the mixtures of two runs that tell which difference moved a metric."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flowlearner.artifacts import ArtifactStore
from flowlearner.bisecting.differing import INPUT, NODE, OPERATOR, PARAM, SEED, WORKFLOW, Differ, Difference
from flowlearner.bisecting.mixing import mix_modules
from flowlearner.bisecting.result import Bisection, Mixture, attribute
from flowlearner.capture import Snapshot
from flowlearner.catalog import Catalog
from flowlearner.config import Settings
from flowlearner.definition import CompileWarning
from flowlearner.engine.base import RunListener
from flowlearner.engine.submit import opened
from flowlearner.errors import (
    ArtifactError,
    CodeError,
    CompileError,
    InputError,
    NotFoundError,
    OperatorError,
    UsageError,
    shorten,
    suggest,
)
from flowlearner.explaining.sources import Snapshots, Sources
from flowlearner.records import RunRecord, Status
from flowlearner.replay.again import Request, run_again
from flowlearner.replay.reproduce import list_package_changes
from flowlearner.restoring import read_modules
from flowlearner.secrecy import HIDDEN

EXPERIMENT = TAG = "bisect"


@dataclass(frozen=True)
class BisectOptions:
    """How mixtures run.

    Attributes:
        secrets: values of Secret parameters, which are stored nowhere; texts where `are_texts`.
        executor: "local" or "prefect".
        command: the command line, for the record.
    """

    secrets: Mapping[str, Any] = field(default_factory=dict)
    are_texts: bool = False
    executor: str = "local"
    cache: bool = True
    command: str = ""


def bisect_runs(
    first: RunRecord,
    second: RunRecord,
    metric: str,
    settings: Settings,
    options: BisectOptions | None = None,
    listener: RunListener | None = None,
) -> Bisection:
    """Say which of the differences between two runs of a workflow moves a metric, and by how much.

    Both are run again, then each difference alone in A, each taken back from B, and one after the other in
    the order of the graph. What the cache has is not run. All runs have the tag "bisect", and the run that
    they begin with as their parent.

    Raises:
        UsageError: the runs are not of one workflow, have not completed, or do not differ; or their code is
            lost.
        NotFoundError: one of them has no such metric.
        OperatorError: one of the two fails when it is run again.
    """
    options = options or BisectOptions()
    _check(first, second, metric, options)
    with opened(settings) as (catalog, store):
        bisecting = _Bisecting(first, second, metric, settings, options, listener, catalog, store)
        return bisecting.run()


def _check(first: RunRecord, second: RunRecord, metric: str, options: BisectOptions) -> None:
    if first.id == second.id:
        raise UsageError(f"both are run {first.id}: give two runs of one workflow")
    if first.workflow != second.workflow:
        raise UsageError(
            f"run {first.id} is of workflow '{first.workflow}' and run {second.id} of '{second.workflow}'; "
            "only runs of one workflow can be mixed"
        )
    for run in (first, second):
        if run.status is not Status.COMPLETED:
            raise UsageError(
                f"run {run.id} is {run.status}: only runs that completed have a result to explain"
            )
        if metric not in run.metrics:
            hint = suggest(metric, run.metrics)
            raise NotFoundError(
                f"run {run.id} has no metric '{metric}'; it has {shorten(run.metrics)}.{hint}"
            )
        if run.code.snapshot is None:
            raise UsageError(f"run {run.id} has no snapshot of its code, without which it cannot be mixed")
    for name in options.secrets:
        for run in (first, second):
            if name in run.params and HIDDEN not in str(run.params[name]):
                raise UsageError(
                    f"parameter '{name}' is no secret: run {run.id} has its value, which stays as it is"
                )


class _Quiet(RunListener):
    """Passes on what the platform says, and nothing of each node."""

    echo_prints = False

    def __init__(self, listener: RunListener | None) -> None:
        self._listener = listener or RunListener()

    def say(self, message: str) -> None:
        self._listener.say(message)


class _Bisecting:
    def __init__(
        self,
        first: RunRecord,
        second: RunRecord,
        metric: str,
        settings: Settings,
        options: BisectOptions,
        listener: RunListener | None,
        catalog: Catalog,
        store: ArtifactStore,
    ) -> None:
        self._recorded = first, second
        self._metric = metric
        self._settings = settings
        self._options = options
        self._listener = _Quiet(listener)
        self._catalog = catalog
        self._store = store
        self._id = secrets.token_hex(4)
        self._modules = [self._read_modules(r) for r in self._recorded]
        # How the two ran today, with what that cannot take from the cache.
        self._runs: tuple[RunRecord, RunRecord] = self._recorded
        self._differences: list[Difference] = []
        self._mixtures: dict[frozenset[int], Mixture] = {}

    def _read_modules(self, run: RunRecord) -> Any:
        assert run.code.snapshot is not None, "it was checked"
        try:
            return read_modules(self._catalog.get_artifact(run.code.snapshot), self._store)
        except (ArtifactError, NotFoundError) as error:
            raise UsageError(
                f"run {run.id}: its code cannot be mixed, since its snapshot is lost: {error}"
            ) from error

    def run(self) -> Bisection:
        first, second = self._recorded
        packages = list_package_changes(first.environment, second.environment) if second.environment else []
        if not self._list_differences():
            self._refuse_equal(packages)
        ends = [self._run_end(r) for r in self._recorded]
        self._runs = ends[0][0], ends[1][0]
        # In today's environment, since all else runs in it: what only another package made differs no more.
        self._differences = self._list_differences()
        if not self._differences:
            self._refuse_equal(packages)
        count = len(self._differences)
        everything = frozenset(range(count))
        self._mixtures = {frozenset(): ends[0][1], everything: replace(ends[1][1], has=everything)}
        wanted = {has: base for has, base in self._list_wanted(count) if has not in self._mixtures}
        if wanted:
            self._listener.say(f"{count} differences; {len(wanted)} further runs tell them apart")
        for number, (has, base) in enumerate(wanted.items(), 1):
            self._mixtures[has] = found = self._run_mixture(has, base)
            value = found.reason if found.value is None else f"{self._metric} {found.value:.10g}"
            self._listener.say(f"{number} of {len(wanted)}: {self._describe(has, base)}: {value}")
        values = ends[0][0].metrics[self._metric], ends[1][0].metrics[self._metric]
        effects, groups = attribute(self._differences, self._mixtures, *values)
        return Bisection(
            id=self._id,
            run_a=first.id,
            run_b=second.id,
            workflow=first.workflow,
            metric=self._metric,
            recorded=(first.metrics[self._metric], second.metrics[self._metric]),
            value_a=values[0],
            value_b=values[1],
            effects=tuple(effects),
            groups=tuple(groups),
            packages=tuple(packages),
            mixtures=tuple(self._mixtures.values()),
        )

    def _list_differences(self) -> list[Difference]:
        sources, snapshots = Sources(self._catalog, self._store), Snapshots(self._catalog, self._store)
        differ = Differ(sources, snapshots, *self._runs, self._recorded)
        return differ.list_differences()

    def _refuse_equal(self, packages: Sequence[Mapping[str, Any]]) -> None:
        first, second = self._recorded
        told = "code, parameters, inputs and seed are the same"
        if packages:
            versions = [f"{p['name']} {p['before'] or 'none'} → {p['now'] or 'none'}" for p in packages]
            told += f". Packages differ, which cannot be mixed in one process: {shorten(versions)}"
        hint = ""
        if first.metrics[self._metric] != second.metrics[self._metric]:
            hint = f". `flowlearner runs reproduce {first.id[:8]}` tells which operator is not deterministic"
        raise UsageError(f"runs {first.id} and {second.id} do not differ in what can be mixed: {told}{hint}")

    @staticmethod
    def _list_wanted(count: int) -> Iterator[tuple[frozenset[int], int]]:
        """Yield the mixtures that are needed: which differences each has, and the run that it begins with.

        Of what is needed twice the last counts.
        """
        everything = frozenset(range(count))
        for index in range(count):
            yield everything - {index}, 1
        for index in range(count):
            yield frozenset(range(index + 1)), 0
        for index in range(count):
            yield frozenset({index}), 0

    def _describe(self, has: frozenset[int], base: int, names: Sequence[str] = "AB") -> str:
        labels = [d.label for i, d in enumerate(self._differences) if (i in has) == (base == 0)]
        return f"{names[base]} with {shorten(labels)} of {names[1 - base]}"

    # Running

    def _run_end(self, run: RunRecord) -> tuple[RunRecord, Mixture]:
        """Run one of the two again, unchanged."""
        name = "A" if run is self._recorded[0] else "B"
        run_id = self._run(run, f"run {run.id[:8]} again")
        again = self._catalog.get_run(run_id)
        value = again.metrics.get(self._metric)
        if again.status is not Status.COMPLETED or value is None:
            raise OperatorError(
                f"run {run.id} cannot be compared, since it does not come to '{self._metric}' when it is run "
                f"again (run {run_id}): {_find_reason(again)}"
            )
        self._listener.say(f"{name} is run {run.id[:8]}: {self._metric} {value:.10g}")
        return again, _make_mixture(frozenset(), name, again, value)

    def _run_mixture(self, has: frozenset[int], base: int) -> Mixture:
        name = "AB"[base]
        try:
            names = [f"run {r.id[:8]}" for r in self._recorded]
            run_id = self._run(self._mix(has, base), self._describe(has, base, names))
        except (UsageError, InputError) as error:
            return Mixture(has, name, reason=_tell(error))
        run = self._catalog.get_run(run_id)
        value = run.metrics.get(self._metric) if run.status is Status.COMPLETED else None
        if value is None:
            return replace(_make_mixture(has, name, run, None), reason=_find_reason(run))
        wrong = self._find_wrong(has, run)
        if wrong:
            reason = (
                f"operator '{wrong}' would reach code of both runs: of what it shares with another operator"
            )
            return replace(_make_mixture(has, name, run, None), reason=reason)
        return _make_mixture(has, name, run, value)

    def _find_wrong(self, has: frozenset[int], run: RunRecord) -> str | None:
        """Return an operator whose code in a mixture is neither that of A nor that of B, as it should be."""
        differ = {d.name: i in has for i, d in enumerate(self._differences) if d.kind == OPERATOR}
        for node in run.nodes:
            name = node.operator
            sides = [self._runs[differ[name]]] if name in differ else self._runs
            known = {n.fingerprint for r in sides for n in r.nodes if n.operator == name}
            if known and node.fingerprint not in known:
                return name
        return None

    def _run(self, run: RunRecord, notes: str) -> str:
        tagged = replace(run, experiment=EXPERIMENT, tags={TAG: self._id}, notes=f"bisect: {notes}")
        options = self._options
        request = Request(
            params={n: v for n, v in options.secrets.items() if n in run.params},
            are_texts=options.are_texts,
            cache=options.cache,
            executor=options.executor,
            command=options.command,
        )
        with warnings.catch_warnings():
            # The runs themselves have warned.
            warnings.simplefilter("ignore", CompileWarning)
            return run_again(tagged, request, self._settings, self._listener)

    def _mix(self, has: frozenset[int], base: int) -> RunRecord:
        """Return a run of the one as if it had been made with differences of the other.

        Raises:
            UsageError: an operator's code cannot be taken from the one run alone.
        """
        chosen: dict[bool, list[Difference]] = {True: [], False: []}
        for index, difference in enumerate(self._differences):
            chosen[index in has].append(difference)
        # The workflow's own code is the base, into which operators are put.
        differs = next((d for d in self._differences if d.kind == WORKFLOW), None)
        side = base if differs is None else int(differs in chosen[True])
        run, other = self._recorded[side], self._recorded[1 - side]
        # What is on the base's own side is there already.
        taken = [d for d in chosen[side == 0] if d.kind != WORKFLOW]
        params = dict(run.params)
        inputs = {n.name: dict(n.inputs) for n in run.nodes}
        operators = {n.name: n.operator for n in run.nodes}
        seed, places = run.run_seed, []
        for difference in taken:
            if difference.kind == PARAM:
                if difference.name in params:
                    params[difference.name] = other.params[difference.name]
            elif difference.kind == SEED:
                seed = other.run_seed
            elif difference.kind == NODE:
                operators[difference.name] = (difference.before, difference.after)[1 - side]
            elif difference.kind == INPUT:
                for (node, name), hashes in difference.hashes.items():
                    inputs[node][name] = hashes[1 - side]
            elif difference.kind == OPERATOR:
                if difference.places is None:
                    raise UsageError(
                        f"where operator '{difference.name}' is defined cannot be told from its source"
                    )
                places.append((difference.places[side], difference.places[1 - side]))
        code = run.code
        if places:
            here = {place for place, _ in places}
            kept = [
                d.places[side]
                for d in chosen[side == 1]
                if d.places is not None and not here.isdisjoint(d.reached[side])
            ]
            mixed = mix_modules(self._modules[side], self._modules[1 - side], places, kept)
            artifact = self._store.put(Snapshot({n: dict(m) for n, m in mixed.items()}, {}).encode())
            self._catalog.add_artifacts([artifact])
            code = replace(code, snapshot=artifact.hash)
        nodes = tuple(replace(n, inputs=inputs[n.name], operator=operators[n.name]) for n in run.nodes)
        parent = self._recorded[base].id
        return replace(run, id=parent, params=params, run_seed=seed, code=code, nodes=nodes)


def _make_mixture(has: frozenset[int], base: str, run: RunRecord, value: float | None) -> Mixture:
    cached = sum(n.cached for n in run.nodes)
    return Mixture(has, base, run.id, value, None, cached, len(run.nodes))


def _tell(error: Exception) -> str:
    """Return in one line why a mixture does not come to a run."""
    if isinstance(error, CodeError):
        # The lines below it are those of files that nobody has.
        return str(error).partition("\n")[0]
    if not isinstance(error, CompileError):
        return " ".join(str(error).split())
    first, *more = error.problems
    where = f"node '{first.node}': " if first.node else ""
    rest = f" and {len(more)} more" if more else ""
    return f"the mixture does not compile: {where}{first.message}{rest}"


def _find_reason(run: RunRecord) -> str:
    if run.status is Status.COMPLETED:
        return "it completes without that metric"
    failed = next((n for n in run.nodes if n.error is not None), None)
    if failed is not None and failed.error is not None:
        return f"'{failed.name}' fails: {failed.error.type}: {failed.error.message}"
    return f"{run.error.type}: {run.error.message}" if run.error else f"it is {run.status}"
