"""In what two runs of one workflow differ, each difference so that a run can have it or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowlearner.bisecting.mixing import Place
from flowlearner.explaining.bindings import iter_leaves, kind_of
from flowlearner.explaining.changes import compare_reaches
from flowlearner.explaining.comparing import Comparer
from flowlearner.explaining.difference import (
    describe_change,
    describe_param,
    list_texts,
)
from flowlearner.explaining.reach import Reach
from flowlearner.explaining.sources import Snapshots, Sources
from flowlearner.params import ARTIFACT_PREFIX
from flowlearner.records import NodeRun, RunRecord, WorkflowVersion
from flowlearner.secrecy import HIDDEN

WORKFLOW, OPERATOR, NODE, PARAM, INPUT, SEED = "workflow", "operator", "node", "param", "input", "seed"
_CODE = ("operator", "function", "class", "value", "module", "renamed", "import", "version", "undetermined")


@dataclass(frozen=True)
class Difference:
    """One thing in which run B differs from run A.

    Attributes:
        kind: "workflow" (its body and what composes its nodes), "operator" (its code with its helpers),
            "node" (another operator takes its place), "param", "input" (a file or table that the workflow
            names itself) or "seed".
        name: of the operator, node, parameter or input.
        text: what it is, in words.
        before, after: JSON values, where it has some.
        nodes: which nodes it concerns.
        details: of code what changed in it, as `runs explain` has it.
        places: of an operator, where it is in the code of A and of B; None where the source does not tell.
        reached: what else it reaches there.
        hashes: of an input the content in A and in B, by node and name of the input.
    """

    kind: str
    name: str
    text: str
    before: Any = None
    after: Any = None
    nodes: tuple[str, ...] = ()
    details: tuple[Mapping[str, Any], ...] = ()
    places: tuple[Place, Place] | None = None
    reached: tuple[frozenset[Place], frozenset[Place]] = (frozenset(), frozenset())
    hashes: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return {
            WORKFLOW: "workflow",
            OPERATOR: f"code of {self.name}",
            NODE: f"operator of {self.name}",
            PARAM: f"parameter {self.name}",
            INPUT: f"content of {self.name}",
            SEED: "seed",
        }[self.kind]

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "label": self.label,
            "text": self.text,
            "before": self.before,
            "after": self.after,
            "nodes": list(self.nodes),
            "details": [dict(d) for d in self.details],
        }


class Differ:
    """Compares two runs.

    Args:
        sources: where runs and their graphs are read.
        snapshots: where their code is read.
        first, second: the runs as they are run again: what code they have.
        recorded: the runs themselves: what they were given.
    """

    def __init__(
        self,
        sources: Sources,
        snapshots: Snapshots,
        first: RunRecord,
        second: RunRecord,
        recorded: tuple[RunRecord, RunRecord],
    ) -> None:
        self._sources = sources
        self._snapshots = snapshots
        self._first, self._second = first, second
        self._recorded = recorded
        self._comparer = Comparer(sources)
        graphs = [sources.catalog.get_graph(r.id).get("nodes", ()) for r in (first, second)]
        nodes = {n["name"]: n for graph in graphs for n in graph}
        self._bindings: dict[str, Mapping[str, Any]] = {name: n["inputs"] for name, n in nodes.items()}
        self._order = {
            name: i for i, name in enumerate(_merge_orders(*([n["name"] for n in g] for g in graphs)))
        }

    def list_differences(self) -> list[Difference]:
        """Return what differs, in the order of the nodes concerned, the workflow first."""
        workflow = list(self._compare_workflow())
        found = [*workflow, *self._compare_params(), *self._compare_seeds(), *self._compare_inputs()]
        found += self._compare_operators()
        if not workflow:
            found += [*self._compare_nodes(), *self._compare_uncalled()]
        ranks = (WORKFLOW, INPUT, PARAM, SEED, NODE, OPERATOR)
        last = len(self._order)

        def rank(difference: Difference) -> tuple[bool, int, int, str]:
            first = min((self._order.get(n, last) for n in difference.nodes), default=last)
            return difference.kind != WORKFLOW, first, ranks.index(difference.kind), difference.name

        return sorted(found, key=rank)

    # Values

    def _compare_params(self) -> Iterator[Difference]:
        before, after = self._first.params, self._second.params
        for name in before:
            if name not in after or _is_hidden(before[name]) or _is_hidden(after[name]):
                continue
            old, new = _read_content(before[name]), _read_content(after[name])
            if type(old) is type(new) and old == new:
                continue
            text = describe_param("", name, before[name], after[name]).text
            nodes = self._find_readers("param", name) or self._find_shaped()
            yield Difference(PARAM, name, text, before[name], after[name], nodes)

    def _compare_seeds(self) -> Iterator[Difference]:
        before, after = self._first.run_seed, self._second.run_seed
        if before != after:
            text = f"the run's seed: {before} → {after}"
            yield Difference(SEED, "seed", text, before, after, self._find_readers("run_seed"))

    def _find_readers(self, kind: str, name: str | None = None) -> tuple[str, ...]:
        return tuple(
            node
            for node, inputs in self._bindings.items()
            if any(
                kind_of(leaf) == kind and name in (None, leaf[kind])
                for binding in inputs.values()
                for leaf in iter_leaves(binding)
            )
        )

    def _find_shaped(self) -> tuple[str, ...]:
        """Return the nodes that only one of the graphs has: what compiles another graph decides on them."""
        names = [{n.name for n in r.nodes} for r in self._pair]
        return tuple(n for n in self._order if n in names[0] ^ names[1])

    def _compare_inputs(self) -> Iterator[Difference]:
        """Yield the files and tables that the workflow names itself, by the text that names them."""
        first, second = self._recorded
        found: dict[str, dict[tuple[str, str], tuple[str, str]]] = {}
        for node in first.nodes:
            other = self._sources.find_node(second.id, node.name)
            for name, before in node.inputs.items():
                after = other.inputs.get(name) if other is not None else None
                if before is None or after is None or before == after:
                    continue
                texts = [self._find_named(r.id, node.name, name) for r in self._recorded]
                # A run that was run again has the content itself in the place of the name.
                named = [t for t in texts if t and not t.startswith(ARTIFACT_PREFIX)]
                if all(texts) and len(set(named)) <= 1:
                    place = named[0] if named else f"{node.name}.{name}"
                    found.setdefault(place, {})[node.name, name] = before, after
        for text, hashes in found.items():
            before, after = next(iter(hashes.values()))
            nodes = tuple(dict.fromkeys(node for node, _ in hashes))
            told = f"the content of {text}: {before[:8]} → {after[:8]}"
            yield Difference(INPUT, text, told, before, after, nodes, hashes=hashes)

    def _find_named(self, run_id: str, node: str, name: str) -> str | None:
        """Return the text that the workflow gives to an input."""
        binding = self._sources.find_binding(run_id, node, name)
        text = binding["literal"] if kind_of(binding) == "literal" else None
        return text if isinstance(text, str) else None

    @property
    def _pair(self) -> tuple[RunRecord, RunRecord]:
        return self._first, self._second

    # Code

    def _compare_workflow(self) -> Iterator[Difference]:
        if self._first.workflow_fingerprint == self._second.workflow_fingerprint:
            return
        versions = self._sources.catalog.find_workflow_versions({r.workflow_fingerprint for r in self._pair})
        name = self._first.workflow
        known: list[WorkflowVersion | None] = [
            versions.get((name, r.workflow_fingerprint)) for r in self._pair
        ]
        before, after = (
            self._snapshots.find_reach(r.code.snapshot, v) for r, v in zip(self._pair, known, strict=True)
        )
        if before is None or after is None:
            sources = [v.source if v else None for v in known]
            if sources[0] != sources[1] or sources[0] is None:
                yield Difference(WORKFLOW, name, "its code changed", nodes=tuple(self._order))
            return
        # An operator that is made without a decorator is a function for those who only read.
        own = {n.operator for r in self._pair for n in r.nodes}
        found = [c for c in compare_reaches(before, after) if c.kind != "function" or c.name not in own]
        changes = [describe_change(c, name) for c in found]
        if changes:
            text = "; ".join(list_texts(changes))
            details = tuple(c.to_json() for c in changes)
            yield Difference(WORKFLOW, name, text, nodes=tuple(self._order), details=details)

    def _compare_operators(self) -> Iterator[Difference]:
        """Yield the operators that both runs call, and whose code is not the same."""
        for operator, (node, other) in self._pair_operators().items():
            if node.fingerprint == other.fingerprint:
                continue
            found = self._comparer.compare(self._second.id, other, self._first.id, node)
            changes = [d for d in found if d.kind in _CODE]
            text = "; ".join(list_texts(changes)) or f"the code of '{operator}' changed"
            reaches = [
                self._sources.find_reach(r.id, n) for r, n in zip(self._pair, (node, other), strict=True)
            ]
            yield Difference(
                OPERATOR,
                operator,
                text,
                nodes=tuple(
                    dict.fromkeys(n.name for r in self._pair for n in r.nodes if n.operator == operator)
                ),
                details=tuple(d.to_json() for d in changes),
                places=_find_places(operator, reaches),
                reached=_list_reached(reaches),
            )

    def _compare_uncalled(self) -> Iterator[Difference]:
        """Yield the operators that only one of the runs calls, and of which the other has other code."""
        called = [{n.operator: n for n in r.nodes} for r in self._pair]
        for side, run in enumerate(self._pair):
            other = self._snapshots.find_code(self._pair[1 - side].code.snapshot)
            for name in called[side].keys() - called[1 - side].keys():
                node = called[side][name]
                version = self._sources.find_version(name, node.fingerprint)
                here = self._sources.find_reach(run.id, node)
                if version is None or here is None or other is None:
                    continue
                there = other.find_reach(version.module, name, version.source)
                reaches = (here, there) if side == 0 else (there, here)
                if reaches[0] is None or reaches[1] is None:
                    continue
                changes = [describe_change(c, node.name) for c in compare_reaches(*reaches)]
                if changes:
                    nodes = tuple(n.name for n in run.nodes if n.operator == name)
                    details = tuple(c.to_json() for c in changes)
                    yield Difference(
                        OPERATOR,
                        name,
                        "; ".join(list_texts(changes)),
                        nodes=nodes,
                        details=details,
                        places=_find_places(name, reaches),
                        reached=_list_reached(reaches),
                    )

    def _pair_operators(self) -> dict[str, tuple[NodeRun, NodeRun]]:
        """Return by operator a node of each run that calls it: of the same name, if there is one."""
        found: dict[str, tuple[NodeRun, NodeRun]] = {}
        for node in self._first.nodes:
            calls = [n for n in self._second.nodes if n.operator == node.operator]
            if calls and node.fingerprint:
                other = next((n for n in calls if n.name == node.name), calls[0])
                if node.operator not in found or other.name == node.name:
                    found.setdefault(node.operator, (node, other))
        return found

    def _compare_nodes(self) -> Iterator[Difference]:
        """Yield the nodes for which a run has another operator than the other one."""
        for node in self._first.nodes:
            other = self._sources.find_node(self._second.id, node.name)
            if other is not None and other.operator != node.operator:
                text = f"node '{node.name}': operator {node.operator} → {other.operator}"
                yield Difference(NODE, node.name, text, node.operator, other.operator, (node.name,))


def _merge_orders(first: Iterable[str], second: Iterable[str]) -> list[str]:
    """Return the names of both, in the order of the first; what only the second has stays behind the same."""
    merged = list(first)
    position = 0
    for name in second:
        if name in merged:
            position = merged.index(name) + 1
        else:
            merged.insert(position, name)
            position += 1
    return merged


def _find_places(operator: str, reaches: Iterable[Reach | None]) -> tuple[Place, Place] | None:
    first, second = (None if r is None else Place(r.root.module, operator) for r in reaches)
    return (first, second) if first is not None and second is not None else None


def _list_reached(reaches: Iterable[Reach | None]) -> tuple[frozenset[Place], frozenset[Place]]:
    first, second = (
        frozenset(Place(d.module, d.name) for d in r.definitions) if r else frozenset() for r in reaches
    )
    return first, second


def _read_content(recorded: Any) -> Any:
    """Return a recorded parameter without where its files and tables were."""
    if isinstance(recorded, Mapping):
        if {"type", "hash", "source"} == recorded.keys():
            return recorded["hash"]
        return {k: _read_content(v) for k, v in recorded.items()}
    if isinstance(recorded, list):
        return [_read_content(v) for v in recorded]
    return recorded


def _is_hidden(recorded: Any) -> bool:
    if isinstance(recorded, (Mapping, list)):
        items = recorded.values() if isinstance(recorded, Mapping) else recorded
        return any(_is_hidden(v) for v in items)
    return isinstance(recorded, str) and HIDDEN in recorded
