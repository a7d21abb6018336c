"""Makes trials: the parameters of a point, hashed; the graph that they compile to; the record of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flowlearner.artifacts import ArtifactStore
from flowlearner.cache import BoundValue
from flowlearner.catalog import Catalog
from flowlearner.definition import Definition
from flowlearner.engine.base import RunContext, check_resources, utc_now
from flowlearner.engine.binding import Binder, bind_literal
from flowlearner.engine.given import as_json, bind_values, is_stored_alone
from flowlearner.engine.submit import Submission, describe_versions, new_run_id
from flowlearner.graph import Graph
from flowlearner.inputs import InputResolver
from flowlearner.interface import MISSING
from flowlearner.params import BoundParams
from flowlearner.records import Artifact, RunRecord, WorkflowVersion
from flowlearner.sweep.calls import Trial
from flowlearner.sweep.space import Dimension, Point, Space
from flowlearner.types import Choice

# How many graphs of one dimension are compiled before a sweep begins.
MAX_COMPILED = 100


@dataclass(frozen=True)
class Bound:
    """A parameter's value, as it is recorded, and the hashes of what it consists of."""

    value: BoundValue
    recorded: Any
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Compiled:
    """A graph with its version as it is recorded."""

    graph: Graph
    version: WorkflowVersion


class TrialMaker:
    """Makes the trials of one sweep.

    What trials have in common is hashed, stored and compiled once.

    Args:
        run_ids: of trials that run again, by number.
        sources: where tables and files came from that are given by their hashes, by hash.
        first: the submission of some point; what does not vary is taken from it.
        template: the record of every trial's run, but for what differs.

    Raises:
        UserError: a file does not read, or a table lacks a column that the workflow declares.
    """

    def __init__(
        self,
        space: Space,
        first: Submission,
        template: RunRecord,
        catalog: Catalog,
        store: ArtifactStore,
        run_ids: Mapping[int, str],
        sources: Mapping[str, str | None],
    ) -> None:
        self.artifacts: list[Artifact]
        self._space = space
        self._first = first
        self._catalog = catalog
        self._store = store
        self._run_ids = run_ids
        self._sources = sources
        self._resolver = InputResolver(catalog, store, first.settings.file_limit_bytes)
        self._values, self.artifacts, recorded = self._bind_values(first.bound)
        self._parts = _list_parts(self.artifacts, recorded)
        self.recorded = recorded
        self._template = replace(template, params=recorded)
        self._compiled: dict[Any, Compiled] = {}
        self._choices: dict[tuple[str, int], Bound] = {}

    def make(self, number: int, point: Point) -> tuple[RunRecord, WorkflowVersion, Trial]:
        """Make a trial at a point."""
        static = dict(self._first.bound.static)
        values = dict(self._values)
        params = dict(self._template.params)
        parts = self._parts
        for dimension in self._space.dimensions:
            name = dimension.name
            value = point[name] if name in point else self._find_default(name)
            if name in static:
                static[name] = value
                params[name] = as_json(value)
            else:
                bound = self._bind(dimension, value)
                values[name], params[name] = bound.value, bound.recorded
                parts += bound.parts
        compiled = self.compile(static)
        run_id = self._run_ids.get(number) or new_run_id()
        now = utc_now()
        record = replace(
            self._template, id=run_id, params=params, trial_number=number, created_at=now, started_at=now
        )
        first = self._first
        context = RunContext(
            run_id, compiled.graph, first.options, self._catalog, self._store, first.listener, first.secrets
        )
        binder = Binder(values, first.options.seed, self._resolver)
        return record, compiled.version, Trial(number, point, context, binder, now, parts)

    def _find_default(self, name: str) -> Any:
        """Return what a parameter has where its condition does not hold."""
        param = self._first.definition.interface.by_name[name]
        return self._first.options.seed if param.takes_run_seed else param.default

    def compile(self, static: Mapping[str, Any]) -> Compiled:
        """Return the graph of some plain values; each that differs is compiled and recorded once."""
        key = tuple((name, _name_static(value)) for name, value in static.items())
        if key not in self._compiled:
            graph = self._first.graph
            if static != graph.static:
                graph = self._first.definition.compile(**static)
                check_resources(graph)
            version, operators = describe_versions(self._first.definition, graph, self._first.secrets)
            self._catalog.record_versions(version, operators)
            self._compiled[key] = Compiled(graph, version)
        return self._compiled[key]

    def _bind(self, dimension: Dimension, value: Any) -> Bound:
        if not isinstance(dimension.domain, Choice):
            param = self._first.definition.interface.by_name[dimension.name]
            return Bound(bind_literal(value, param), as_json(value))
        # By identity: 1, 1.0 and True are equal, and values of a list live as long as the sweep.
        key = (dimension.name, id(value))
        if key not in self._choices:
            self._choices[key] = self._bind_choice(dimension, value)
        return self._choices[key]

    def _bind_choice(self, dimension: Dimension, value: Any) -> Bound:
        bound = replace(self._first.bound, values={dimension.name: value})
        values, artifacts, recorded = self._bind_values(bound)
        self.artifacts += artifacts
        name = dimension.name
        return Bound(values[name], recorded[name], _list_parts(artifacts, {name: recorded[name]}))

    def _bind_values(
        self, params: BoundParams
    ) -> tuple[dict[str, BoundValue], list[Artifact], dict[str, Any]]:
        values, artifacts, recorded = bind_values(self._first.definition, params, self._resolver, self._store)
        for name, bound in values.items():
            alone, artifact = recorded[name], bound.artifact
            if artifact is not None and isinstance(alone, dict) and artifact.hash in self._sources:
                recorded[name] = {**alone, "source": self._sources[artifact.hash]}
        return values, artifacts, recorded

    def find_stored(self, dimension: Dimension, value: Any) -> Any:
        """Store one value of a list; return how it is recorded, None where it is no artifact of its own."""
        param = self._first.definition.interface.by_name[dimension.name]
        if dimension.name in self._first.bound.static or not is_stored_alone(param, value):
            return None
        return self._bind(dimension, value).recorded

    def take_artifacts(self) -> list[Artifact]:
        """Return what was stored for parameters since the last time; the catalog does not know it yet."""
        taken, self.artifacts = self.artifacts, []
        return taken


def _list_parts(artifacts: Sequence[Artifact], recorded: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the hashes of what was stored for parameters and is none of their values as a whole."""
    whole = {v.get("hash") for v in recorded.values() if isinstance(v, Mapping)}
    return tuple(dict.fromkeys(a.hash for a in artifacts if a.hash not in whole))


def _name_static(value: Any) -> Any:
    fingerprint = getattr(value, "fingerprint", None)
    return fingerprint().digest if callable(fingerprint) else repr(value)


def check_graphs(definition: Definition, space: Space, static: Mapping[str, Any]) -> None:
    """Compile the workflow for every value of a dimension that is plain while compiling, one at a time.

    Raises:
        CompileError, ResourceError: for one of them the workflow does not compile, or can never run here.
    """
    for dimension in space.dimensions:
        if dimension.name in static and dimension.count is not None:
            for index in range(min(dimension.count, MAX_COMPILED)):
                value = dimension.value_at(index)
                check_resources(definition.compile(**{**static, dimension.name: value}))
    assert all(
        definition.interface.by_name[d.name].default is not MISSING for d in space.dimensions if d.when
    ), "a condition asks for a default"
