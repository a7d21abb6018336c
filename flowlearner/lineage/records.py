"""Reads, in few statements, the runs, nodes and graphs that lineage walks through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flowlearner.catalog import Catalog
from flowlearner.catalog.provenance import RunSketch
from flowlearner.explaining.bindings import iter_upstream
from flowlearner.records import Artifact, NodeRun, OperatorVersion


@dataclass(frozen=True)
class _Index:
    """A graph by its nodes: what their inputs are bound to, and who reads which of their outputs."""

    inputs: Mapping[str, Mapping[str, Any]]
    readers: Mapping[str, list[tuple[str, str]]]


class Records:
    """Runs that are not deleted, with their nodes and graphs; what was read once is kept.

    Args:
        catalog: where they are read.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.runs: dict[str, RunSketch] = {}
        self._nodes: dict[str, dict[str, NodeRun]] = {}
        self._graphs: dict[str, dict[str, Any]] = {}
        self._indexes: dict[str, _Index] = {}
        self._versions: dict[tuple[str, str], OperatorVersion] = {}
        self._artifacts: dict[bool, dict[str, Artifact]] = {True: {}, False: {}}

    def load_runs(self, run_ids: Iterable[str] | None = None) -> None:
        """Read runs with their graphs; all if none are named."""
        wanted = None if run_ids is None else [i for i in run_ids if i not in self.runs]
        if wanted == []:
            return
        self.runs |= self.catalog.sketch_runs(wanted)
        ids = {r.graph_id for r in self.runs.values()} - self._graphs.keys()
        self._graphs |= self.catalog.find_graphs(ids)

    def load_nodes(self, run_ids: Iterable[str]) -> None:
        self._nodes |= self.catalog.list_nodes_of(i for i in run_ids if i not in self._nodes)

    def get_nodes(self, run_id: str) -> Mapping[str, NodeRun]:
        """Return the nodes of a run by name, in compiled order."""
        self.load_nodes([run_id])
        return self._nodes.get(run_id, {})

    def get_graph(self, run_id: str) -> Mapping[str, Any]:
        """Return the graph of a run that was loaded; empty where it has none."""
        return self._graphs.get(self._find_graph_id(run_id), {})

    def _find_graph_id(self, run_id: str) -> str:
        run = self.runs.get(run_id)
        return run.graph_id or "" if run else ""

    def get_inputs(self, run_id: str, node: str) -> Mapping[str, Any]:
        """Return what the inputs of a node are bound to."""
        return self._get_index(run_id).inputs.get(node, {})

    def find_readers(self, run_id: str, node: str, output: str | None = None) -> list[str]:
        """Return the nodes that read a node, or one output of it."""
        readers = self._get_index(run_id).readers.get(node, ())
        return list(dict.fromkeys(name for name, its in readers if output in (None, its)))

    def _get_index(self, run_id: str) -> _Index:
        graph_id = self._find_graph_id(run_id)
        if graph_id not in self._indexes:
            inputs = {n["name"]: n["inputs"] for n in self.get_graph(run_id).get("nodes", ())}
            readers: dict[str, list[tuple[str, str]]] = {}
            for reader, bindings in inputs.items():
                for binding in bindings.values():
                    for name, output in iter_upstream(binding):
                        readers.setdefault(name, []).append((reader, output))
            self._indexes[graph_id] = _Index(inputs, readers)
        return self._indexes[graph_id]

    def find_version(self, node: NodeRun) -> OperatorVersion | None:
        key = (node.operator, node.fingerprint)
        if key not in self._versions:
            self._versions |= self.catalog.find_operator_versions([node.fingerprint])
        return self._versions.get(key)

    def find_artifacts(self, hashes: Iterable[str], *, with_previews: bool = False) -> Mapping[str, Artifact]:
        """Return artifacts by hash; those that are gone are missing."""
        known = self._artifacts[with_previews]
        wanted = [h for h in hashes if h not in known]
        if wanted:
            known |= self.catalog.find_artifacts(wanted, with_previews=with_previews)
        return known
