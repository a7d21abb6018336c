"""Which runs would no longer hit if a file or an operator changed.

An upper bound. A node is named where its inputs or its code come from what would change; what is behind it
runs only where that gives another result. Where the code of a run cannot be read, the run is named. Not seen
are files whose names code puts together from pieces, and those that a workflow reads while it compiles
besides giving them to a step.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowlearner.artifacts import ArtifactStore
from flowlearner.catalog import Catalog
from flowlearner.catalog.provenance import RunSketch
from flowlearner.errors import NotFoundError, UsageError
from flowlearner.explaining.bindings import iter_leaves, kind_of
from flowlearner.explaining.reach import Reach
from flowlearner.explaining.sources import Snapshots
from flowlearner.lineage.downward import close_over
from flowlearner.lineage.records import Records
from flowlearner.lineage.trace import find_path, is_named, list_contents
from flowlearner.records import NodeRun, WorkflowVersion

UNREADABLE = "its code cannot be read"
BOUND = (
    "An upper bound: a change may turn out not to matter, what is behind a step runs only where that gives "
    "another result, and a run whose code cannot be read is listed."
)


@dataclass(frozen=True)
class StaleRun:
    """A run that would not be all hits any more.

    Attributes:
        nodes: those that would run, each with the reason.
        behind: those that may run, since they take what these give.
    """

    run: RunSketch
    nodes: dict[str, str]
    behind: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "run_id": self.run.id,
            "workflow": self.run.workflow,
            "sweep_id": self.run.sweep_id,
            "trial_number": self.run.trial_number,
            "nodes": self.nodes,
            "behind": list(self.behind),
        }


@dataclass(frozen=True)
class Staleness:
    """The runs that would no longer hit, the newest first.

    Attributes:
        kind: "operator", "file" (that runs read), or "code" (a Python file that runs reach).
        checked: how many runs were looked at.
    """

    kind: str
    name: str
    runs: tuple[StaleRun, ...]
    checked: int

    def to_json(self) -> dict[str, Any]:
        return {
            "if": {"kind": self.kind, "name": self.name},
            "is_upper_bound": True,
            "note": BOUND,
            "checked": self.checked,
            "runs": [r.to_json() for r in self.runs],
        }


def list_stale(catalog: Catalog, store: ArtifactStore, changed: str) -> Staleness:
    """Return the runs that would no longer hit if a file's content or an operator's code changed.

    Args:
        changed: an operator by its name, or a file: one that runs were given, or a module of their code.

    Raises:
        NotFoundError: there is no such operator or file.
    """
    records = Records(catalog)
    records.load_runs()
    records.load_nodes(records.runs)
    codes = Codes(catalog, store, records)
    kind, name, find = _choose(codes, records, changed)
    found = []
    for run in records.runs.values():
        nodes = find(run)
        if nodes:
            behind = close_over(records, run.id, nodes) - nodes.keys()
            ordered = [n for n in records.get_nodes(run.id) if n in behind]
            found.append(StaleRun(run, nodes, tuple(ordered)))
    return Staleness(kind, name, tuple(found), len(records.runs))


def _choose(
    codes: Codes, records: Records, changed: str
) -> tuple[str, str, Callable[[RunSketch], dict[str, str]]]:
    """Return what would change, its name, and what finds the nodes of a run that it touches."""
    is_path = os.sep in changed or os.path.isfile(changed)
    if not is_path:
        try:
            operator = records.catalog.get_operator(changed)
        except NotFoundError as error:
            if not Path(changed).suffix:
                raise NotFoundError(f"{error} Nor is there a file {find_path(changed)}") from None
        else:
            name = operator.summary.name
            return "operator", name, lambda run: _touch_operator(codes, records, run, name)
    path = find_path(changed)
    if os.path.isdir(path):
        raise UsageError(f"{path} is a folder; expected a file or the name of an operator")
    if path.endswith(".py"):
        return "code", path, lambda run: _touch_code(codes, records, run, path)
    contents = frozenset(list_contents(records.catalog, path))
    if not contents and not any(is_named(run.params, path) for run in records.runs.values()):
        raise NotFoundError(f"there is no file {path}, and no run that is kept was given it")
    return "file", path, lambda run: _touch_file(codes, records, run, path, contents)


# Operators


def _touch_operator(codes: Codes, records: Records, run: RunSketch, name: str) -> dict[str, str]:
    found = {}
    for node in records.get_nodes(run.id).values():
        if node.operator == name:
            found[node.name] = f"calls operator '{name}'"
        elif _takes_operator(records, run, node.name, name):
            found[node.name] = f"is given operator '{name}'"
        else:
            reach = codes.find_reach(run, node)
            if reach is None:
                found[node.name] = UNREADABLE
            elif any(d.name == name for d in reach.definitions):
                found[node.name] = f"its code uses operator '{name}'"
    return found


def _takes_operator(records: Records, run: RunSketch, node: str, name: str) -> bool:
    """Tell whether an input may be the operator, which stands in graphs and parameters by its name."""
    for binding in records.get_inputs(run.id, node).values():
        for leaf in iter_leaves(binding):
            value = leaf.get("literal") if kind_of(leaf) == "literal" else None
            if kind_of(leaf) == "param":
                value = run.params.get(leaf["param"])
            if _holds(value, name):
                return True
    return False


def _holds(value: Any, text: str) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_holds(v, text) for v in value)
    if isinstance(value, dict):
        return any(_holds(v, text) for v in value.values())
    return bool(value == text)


# Files


def _touch_file(
    codes: Codes, records: Records, run: RunSketch, path: str, contents: frozenset[str]
) -> dict[str, str]:
    found = {}
    nodes = records.get_nodes(run.id)
    params = {n for n, v in run.params.items() if is_named(v, path) or _is_given(v, contents)}
    for node in nodes.values():
        bindings = records.get_inputs(run.id, node.name).values()
        leaves = [leaf for binding in bindings for leaf in iter_leaves(binding)]
        names = {leaf["param"] for leaf in leaves if kind_of(leaf) == "param"} & params
        reach = codes.find_reach(run, node)
        if names:
            found[node.name] = f"takes it as parameter {', '.join(map(repr, sorted(names)))}"
        elif any(kind_of(leaf) == "literal" and is_named(leaf["literal"], path) for leaf in leaves):
            found[node.name] = "is given it by the workflow"
        elif reach is None:
            found[node.name] = UNREADABLE
        elif any(is_named(text, path) for text in reach.texts):
            found[node.name] = "its code names it"
    own = codes.find_workflow_reach(run)
    if own is None:
        return {**dict.fromkeys(nodes, UNREADABLE), **found}
    is_given = is_named(_list_literals(records, run), path)
    if not is_given and any(is_named(text, path) for text in own.texts):
        # What the workflow reads while it compiles decides about any node.
        return {**dict.fromkeys(nodes, "the workflow's code names it"), **found}
    return found


def _is_given(value: Any, contents: frozenset[str]) -> bool:
    """Tell whether a parameter is a value in memory that equals a file: it may have been read from it."""
    return isinstance(value, Mapping) and value.get("source") is None and value.get("hash") in contents


def _list_literals(records: Records, run: RunSketch) -> list[Any]:
    """Return what a workflow gives to its nodes itself, and the defaults of its parameters."""
    graph = records.get_graph(run.id)
    bindings = [b for node in graph.get("nodes", ()) for b in node["inputs"].values()]
    values = [leaf["literal"] for b in bindings for leaf in iter_leaves(b) if kind_of(leaf) == "literal"]
    return [*values, *(p["default"] for p in graph.get("interface", {}).get("params", ()))]


# Code


def _touch_code(codes: Codes, records: Records, run: RunSketch, path: str) -> dict[str, str]:
    """Return the nodes whose code reaches a file; all where the workflow itself does."""
    nodes = records.get_nodes(run.id)
    own = codes.find_workflow_reach(run)
    if own is None:
        return dict.fromkeys(nodes, UNREADABLE)
    if any(codes.is_of(run, module, path) for module in own.modules):
        return dict.fromkeys(nodes, "the workflow is written in it, or uses it")
    found = {}
    for node in nodes.values():
        reach = codes.find_reach(run, node)
        if reach is None:
            found[node.name] = UNREADABLE
        elif any(codes.is_of(run, module, path) for module in reach.modules):
            found[node.name] = "its code reaches it"
    return found


class Codes:
    """What the code of runs reaches.

    Args:
        catalog, store: where their snapshots are.
        records: the runs.
    """

    def __init__(self, catalog: Catalog, store: ArtifactStore, records: Records) -> None:
        self._catalog = catalog
        self._snapshots = Snapshots(catalog, store)
        self._records = records
        self._workflows: dict[tuple[str, str], WorkflowVersion] = {}

    def find_reach(self, run: RunSketch, node: NodeRun) -> Reach | None:
        """Return what a node's operator reaches; None where that cannot be read."""
        return self._snapshots.find_reach(run.snapshot, self._records.find_version(node))

    def find_workflow_reach(self, run: RunSketch) -> Reach | None:
        """Return what composes a run's operators; None where that cannot be read."""
        key = (run.workflow, run.workflow_fingerprint)
        if key not in self._workflows:
            self._workflows |= self._catalog.find_workflow_versions([run.workflow_fingerprint])
        return self._snapshots.find_reach(run.snapshot, self._workflows.get(key))

    def is_of(self, run: RunSketch, module: str, path: str) -> bool:
        """Tell whether a module may have been this file: the path ends with its name; no more is known."""
        file = Path(path)
        if module == "__main__":
            # Its file is known by the command alone that started it, or the run that it was first.
            commands = [r.command for r in self._list_ancestry(run)]
            return any(file.name in c for c in commands) or self._is_text_of(run, module, file)
        parts = [*file.parent.parts, file.stem]
        if file.stem == "__init__":
            parts.pop()
        names = module.split(".")
        return parts[-len(names) :] == names

    def _list_ancestry(self, run: RunSketch) -> list[RunSketch]:
        """Return a run and those that it repeats, as far as they are kept."""
        found = [run]
        while (parent := self._records.runs.get(found[-1].parent_id or "")) is not None:
            found.append(parent)
        return found

    def _is_text_of(self, run: RunSketch, module: str, file: Path) -> bool:
        code = self._snapshots.find_code(run.snapshot)
        tree = code.find_tree(module) if code else None
        try:
            return tree is not None and file.read_text(encoding="utf-8") == tree.text
        except (OSError, UnicodeDecodeError):
            return False
