"""What used a value: the nodes that took it, what they gave to others, and the models among that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flowlearner.catalog.provenance import RunSketch
from flowlearner.explaining.bindings import iter_leaves
from flowlearner.lineage.records import Records
from flowlearner.records import ArtifactUse, NodeRun

MODEL = "model"


@dataclass(frozen=True)
class Use:
    """A node that took a value, or something that was made of it.

    Attributes:
        is_direct: it took the value itself.
        readers: nodes of its run that read its outputs.
    """

    run: RunSketch
    node: NodeRun
    is_direct: bool
    readers: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "run_id": self.run.id,
            "workflow": self.run.workflow,
            "sweep_id": self.run.sweep_id,
            "trial_number": self.run.trial_number,
            "node": self.node.name,
            "operator": self.node.operator,
            "status": self.node.status.value,
            "cached": self.node.cached,
            "is_direct": self.is_direct,
            "outputs": {o.name: o.hash for o in self.node.outputs},
        }


@dataclass(frozen=True)
class ModelUse:
    """A model that was made of a value.

    Attributes:
        saw: for a column: "declared" where the operator that made it names the column among those that it
            takes; "possible" where it got something with the column in it and does not say what it takes;
            "derived" where at most what was computed from it reached the model; "no" where nothing did.
            Without a column "possible".
        why: for "derived" and "no", in words.
    """

    run: RunSketch
    node: str
    operator: str
    output: str
    hash: str
    saw: str = "possible"
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "run_id": self.run.id,
            "workflow": self.run.workflow,
            "sweep_id": self.run.sweep_id,
            "node": self.node,
            "operator": self.operator,
            "output": self.output,
            "hash": self.hash,
            "saw": self.saw,
            "why": self.why or None,
        }


def list_uses(records: Records, hashes: Iterable[str], only_run: str | None = None) -> list[Use]:
    """Return the nodes that took artifacts or what was made of them, in all kept runs, the newest runs first.

    What one run made and another took as a parameter is followed. That another run came to an equal value is
    no use of it, but for the artifacts themselves.

    Args:
        only_run: look at what this run did with them alone.
    """
    waiting = list(dict.fromkeys(hashes))
    first = frozenset(waiting)
    seen = set(waiting)
    direct: set[tuple[str, str]] = set()
    found: set[tuple[str, str]] = set()
    while waiting:
        batch, waiting = waiting, []
        uses = [
            (hash_, use)
            for hash_, use in records.catalog.list_uses(batch)
            if only_run in (None, use.run_id) and (hash_ in first or use.role in ("param", "part"))
        ]
        taken = {(hash_, use.run_id) for hash_, use in uses if use.role in ("param", "input")}
        # Whatever was stored for a run is a part of it, too.
        uses = [(h, use) for h, use in uses if use.role != "part" or (h, use.run_id) not in taken]
        records.load_runs(use.run_id for _, use in uses)
        records.load_nodes(use.run_id for _, use in uses)
        for hash_, use in uses:
            if use.run_id not in records.runs:
                continue
            takers = _list_takers(records, use, hash_)
            if hash_ in first:
                direct |= {(use.run_id, name) for name in takers}
            for name in close_over(records, use.run_id, takers):
                if (use.run_id, name) in found:
                    continue
                found.add((use.run_id, name))
                node = records.get_nodes(use.run_id).get(name)
                new = [o.hash for o in node.outputs if o.hash not in seen] if node else []
                seen.update(new)
                waiting.extend(new)
    return _sort(records, found, direct)


def _sort(
    records: Records, found: Collection[tuple[str, str]], direct: Collection[tuple[str, str]]
) -> list[Use]:
    by_run: dict[str, set[str]] = {}
    for run_id, name in found:
        by_run.setdefault(run_id, set()).add(name)
    result = []
    runs = sorted((records.runs[i] for i in by_run), key=lambda r: str(r.created_at), reverse=True)
    for run in runs:
        for name, node in records.get_nodes(run.id).items():
            if name in by_run[run.id]:
                readers = tuple(records.find_readers(run.id, name))
                result.append(Use(run, node, (run.id, name) in direct, readers))
    return result


def _list_takers(records: Records, use: ArtifactUse, hash_: str) -> list[str]:
    """Return the nodes of a run that take an artifact, by how the run had it."""
    if use.role == "input" and use.node is not None:
        return [use.node]
    if use.role == "output" and use.node is not None:
        return records.find_readers(use.run_id, use.node, use.name)
    if use.role == "param":
        return _list_readers(records, use.run_id, lambda leaf: leaf.get("param") == use.name)
    if use.role == "part":
        # One of several files that a parameter, or the workflow's body, names in a list or dict.
        params = records.runs[use.run_id].params
        names = {n for n, v in params.items() if isinstance(v, (list, dict)) and _may_hold(v, hash_)}
        return _list_readers(
            records,
            use.run_id,
            lambda leaf: (
                leaf.get("param") in names
                or (isinstance(leaf.get("literal"), (list, dict)) and _may_hold(leaf["literal"], hash_))
            ),
        )
    return []


def _may_hold(value: Any, hash_: str) -> bool:
    """Tell whether a recorded value holds an artifact, or a text that may be the name of its file."""
    if isinstance(value, Mapping):
        return value.get("hash") == hash_ if "hash" in value else _may_hold(list(value.values()), hash_)
    if isinstance(value, list):
        return any(_may_hold(item, hash_) for item in value)
    return isinstance(value, str)


def _list_readers(records: Records, run_id: str, is_taken: Callable[[Mapping[str, Any]], bool]) -> list[str]:
    """Return the nodes that have an input of which some part is taken."""
    return [
        node["name"]
        for node in records.get_graph(run_id).get("nodes", ())
        if any(is_taken(leaf) for binding in node["inputs"].values() for leaf in iter_leaves(binding))
    ]


def close_over(records: Records, run_id: str, names: Iterable[str]) -> set[str]:
    """Return nodes with all that read them, directly or not."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += records.find_readers(run_id, name)
    return found


def list_models(records: Records, uses: Iterable[Use]) -> list[ModelUse]:
    """Return the models among what nodes gave."""
    uses = list(uses)
    artifacts = records.find_artifacts({o.hash for use in uses for o in use.node.outputs})
    found = []
    for use in uses:
        declared = _list_declared(records, use)
        for output in use.node.outputs:
            artifact = artifacts.get(output.hash)
            codec = artifact.codec.partition("/")[0] if artifact else ""
            if codec == MODEL or declared.get(output.name) == "Model":
                model = ModelUse(use.run, use.node.name, use.node.operator, output.name, output.hash)
                found.append(model)
    return found


def _list_declared(records: Records, use: Use) -> Mapping[str, str]:
    nodes = records.get_graph(use.run.id).get("nodes", ())
    return next((n.get("outputs", {}) for n in nodes if n["name"] == use.node.name), {})
