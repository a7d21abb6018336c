"""Reads, once each, the runs, graphs and snapshots that an explanation looks at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowlearner.artifacts import ArtifactStore
from flowlearner.catalog import Catalog
from flowlearner.errors import ArtifactError, NotFoundError
from flowlearner.explaining.reach import Code, Reach
from flowlearner.records import NodeRun, OperatorVersion, RunRecord, WorkflowVersion
from flowlearner.restoring import read_modules


class Snapshots:
    """The code of snapshots, read once each.

    Args:
        catalog, store: where they are.
    """

    def __init__(self, catalog: Catalog, store: ArtifactStore) -> None:
        self._catalog = catalog
        self._store = store
        self._codes: dict[str, Code | None] = {}

    def find_code(self, snapshot: str | None) -> Code | None:
        """Return the code of a snapshot; None where it is gone."""
        if snapshot is None:
            return None
        if snapshot not in self._codes:
            try:
                artifact = self._catalog.get_artifact(snapshot)
                self._codes[snapshot] = Code(read_modules(artifact, self._store))
            except (ArtifactError, NotFoundError):
                self._codes[snapshot] = None
        return self._codes[snapshot]

    def find_reach(
        self, snapshot: str | None, version: OperatorVersion | WorkflowVersion | None
    ) -> Reach | None:
        """Return what an operator reaches, or a workflow besides its operators.

        None where the snapshot does not tell.
        """
        code = self.find_code(snapshot)
        if code is None or version is None:
            return None
        is_whole = isinstance(version, OperatorVersion)
        return code.find_reach(version.module, version.name, version.source, with_operators=is_whole)


class Sources:
    """What is known of runs and their code.

    Args:
        catalog, store: where it is read.
    """

    def __init__(self, catalog: Catalog, store: ArtifactStore) -> None:
        self.catalog = catalog
        self._snapshots = Snapshots(catalog, store)
        self._runs: dict[str, RunRecord] = {}
        self._nodes: dict[str, Mapping[str, NodeRun]] = {}
        self._bindings: dict[str, Mapping[str, Mapping[str, Any]]] = {}
        self._versions: dict[tuple[str, str], OperatorVersion] = {}

    def get_run(self, run_id: str) -> RunRecord:
        if run_id not in self._runs:
            self._runs[run_id] = self.catalog.get_run(run_id)
        return self._runs[run_id]

    def find_node(self, run_id: str, name: str) -> NodeRun | None:
        if run_id not in self._nodes:
            self._nodes[run_id] = {n.name: n for n in self.get_run(run_id).nodes}
        return self._nodes[run_id].get(name)

    def find_binding(self, run_id: str, node: str, name: str) -> Any:
        """Return what an input was bound to; None where it is not known."""
        return self.find_inputs(run_id, node).get(name)

    def find_inputs(self, run_id: str, node: str) -> Mapping[str, Any]:
        """Return what each input was bound to, as JSON (see `graph.binding_json`)."""
        if run_id not in self._bindings:
            graph = self.catalog.get_graph(run_id)
            self._bindings[run_id] = {n["name"]: n["inputs"] for n in graph.get("nodes", ())}
        return self._bindings[run_id].get(node, {})

    def find_version(self, operator: str, fingerprint: str) -> OperatorVersion | None:
        key = (operator, fingerprint)
        if key not in self._versions:
            self._versions |= self.catalog.find_operator_versions([fingerprint])
        return self._versions.get(key)

    def find_reach(self, run_id: str, node: NodeRun) -> Reach | None:
        """Return what a node's operator reached in its run; None where the snapshot does not tell."""
        version = self.find_version(node.operator, node.fingerprint)
        return self._snapshots.find_reach(self.get_run(run_id).code.snapshot, version)
