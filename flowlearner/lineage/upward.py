"""What made a value: the node, its inputs, and so on up to the files and parameters at the roots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flowlearner.explaining.bindings import COLLECTIONS, kind_of
from flowlearner.lineage.records import Records

DEEPEST = 100
"""How many steps an answer goes up. Nobody reads further, nor do parsers of JSON."""


@dataclass(frozen=True)
class Origin:
    """Where a value came from.

    Attributes:
        kind: "node", "param", "file" (a parameter that names one), "literal" (given in the workflow), "seed",
            "collection" (of its inputs), or "unknown".
        name: of the node and output ("split.train"), or of the parameter.
        value: of a parameter, a literal or a seed, as JSON; None for a secret.
        hash: of the artifact, where there is one.
        run_id: the run in which it is; `made_by` where a node's result was cached: the run that computed it.
        inputs: of a node, by name.
        is_repeated: its inputs stand where it is met first.
        is_cut: its inputs are left out, for they lie too deep.
    """

    kind: str
    name: str
    value: Any = None
    hash: str | None = None
    type: str | None = None
    operator: str | None = None
    fingerprint: str | None = None
    run_id: str | None = None
    made_by: str | None = None
    at: datetime | None = None
    inputs: Mapping[str, Origin] = field(default_factory=dict)
    is_repeated: bool = False
    is_cut: bool = False

    def to_json(self) -> dict[str, Any]:
        at = None if self.at is None else self.at.astimezone(UTC).isoformat(timespec="microseconds")
        return {
            "kind": self.kind,
            "name": self.name,
            "value": self.value,
            "hash": self.hash,
            "type": self.type,
            "operator": self.operator,
            "fingerprint": self.fingerprint,
            "run_id": self.run_id,
            "made_by": self.made_by,
            "at": at,
            "is_repeated": self.is_repeated,
            "is_cut": self.is_cut,
            "inputs": {name: origin.to_json() for name, origin in self.inputs.items()},
        }


class Upward:
    """Walks up within one run.

    Args:
        records: where it is read; the run is loaded.
        run_id: the run.
    """

    def __init__(self, records: Records, run_id: str) -> None:
        self._records = records
        self._run_id = run_id
        self._met: set[str] = set()
        self._depth = 0

    def trace(self, binding: Any, hash_: str | None = None) -> Origin:
        """Return where the value of a binding came from."""
        kind = kind_of(binding)
        if kind == "node":
            return self._trace_node(binding["node"], binding["output"])
        if kind == "param":
            return self._trace_param(binding["param"], hash_)
        if kind == "literal":
            return Origin("literal", "", binding["literal"], hash_, run_id=self._run_id)
        if kind == "run_seed":
            return Origin("seed", "run seed", self._records.runs[self._run_id].run_seed, run_id=self._run_id)
        if kind in COLLECTIONS:
            items = binding[kind]
            pairs = items.items() if isinstance(items, Mapping) else enumerate(items)
            inputs = {str(key): self.trace(item) for key, item in pairs}
            return Origin("collection", kind, hash=hash_, run_id=self._run_id, inputs=inputs)
        return Origin("unknown", "", hash=hash_, run_id=self._run_id)

    def _trace_param(self, name: str, hash_: str | None) -> Origin:
        return self._trace_value(name, self._records.runs[self._run_id].params.get(name), hash_)

    def _trace_value(self, name: str, value: Any, hash_: str | None) -> Origin:
        if isinstance(value, Mapping) and value.get("hash"):
            source = value.get("source")
            kind = "file" if source and not str(source).startswith("artifact:") else "param"
            return Origin(kind, name, source, value["hash"], value.get("type"), run_id=self._run_id)
        if isinstance(value, list) and any(isinstance(v, Mapping) and v.get("hash") for v in value):
            items = {str(i): self._trace_value(name, item, None) for i, item in enumerate(value)}
            return Origin("collection", "list", hash=hash_, run_id=self._run_id, inputs=items)
        return Origin("param", name, value, hash_, run_id=self._run_id)

    def _trace_node(self, name: str, output: str) -> Origin:
        node = self._records.get_nodes(self._run_id).get(name)
        label = name if output == "result" else f"{name}.{output}"
        if node is None:
            return Origin("unknown", label, run_id=self._run_id)
        is_repeated = name in self._met
        self._met.add(name)
        found = next((o for o in node.outputs if o.name == output), None)
        inputs: dict[str, Origin] = {}
        bindings = self._records.get_inputs(self._run_id, name)
        is_cut = self._depth >= DEEPEST
        if not is_repeated and not is_cut:
            self._depth += 1
            inputs = {n: self.trace(b, node.inputs.get(n)) for n, b in bindings.items()}
            self._depth -= 1
        return Origin(
            kind="node",
            name=label,
            value=found.value if found else None,
            hash=found.hash if found else None,
            type=found.type if found else None,
            operator=node.operator,
            fingerprint=node.fingerprint,
            run_id=self._run_id,
            made_by=node.cached_from if node.cached else self._run_id,
            at=node.finished_at,
            inputs=inputs,
            is_repeated=is_repeated and bool(bindings),
            is_cut=is_cut and bool(bindings),
        )


def trace_artifact(records: Records, hash_: str) -> tuple[Origin | None, int]:
    """Return where an artifact came from, in the first run that computed it, and in how many runs it is.

    An artifact that only was a parameter came from a file, or from nowhere that is known.
    """
    uses = [use for _, use in records.catalog.list_uses([hash_])]
    made = [u for u in uses if u.role == "output"]
    count = len({u.run_id for u in made})
    first = next((u for u in made if not u.cached), made[0] if made else None)
    if first is not None and first.node is not None:
        records.load_runs([first.run_id])
        binding = {"node": first.node, "output": first.name}
        return Upward(records, first.run_id).trace(binding), count
    for use in uses:
        records.load_runs([use.run_id])
        if use.role == "result":
            binding = records.get_graph(use.run_id).get("outputs", {}).get(use.name)
            return Upward(records, use.run_id).trace(binding, hash_), len(uses)
        if use.role == "param":
            return Upward(records, use.run_id).trace({"param": use.name}, hash_), 0
    return None, 0
