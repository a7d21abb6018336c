"""Why each node of a run ran, and which run made what the others took from the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from flowlearner.artifacts import ArtifactStore
from flowlearner.catalog import Catalog
from flowlearner.catalog.provenance import EarlierNode
from flowlearner.errors import NotFoundError, shorten, suggest
from flowlearner.explaining.comparing import Comparer
from flowlearner.explaining.difference import Difference, summarise
from flowlearner.explaining.sources import Sources
from flowlearner.records import NodeRun, RunRecord, Status

LOOKED_AT = 1000
"""Among how many earlier runs of an operator, the latest, the nearest is sought."""
_FIRST = "first run of this node"


@dataclass(frozen=True)
class NodePlace:
    """A node of a run, and when it ended there."""

    run_id: str
    node: str
    at: datetime | None

    def to_json(self) -> dict[str, Any]:
        at = None if self.at is None else self.at.astimezone(UTC).isoformat(timespec="microseconds")
        return {"run_id": self.run_id, "node": self.node, "at": at}


@dataclass(frozen=True)
class NodeExplanation:
    """Why a node ran, or did not.

    Attributes:
        action: "ran", "cached", or "none" for one that did not begin.
        summary: in one line.
        reason: why it missed, as it was stored at that time.
        made_by: for what was cached, who computed it; None where that run is gone.
        compared_with: the nearest earlier node run: most inputs and code in common; of those one in a run
            that another node was compared with, else the latest.
        differences: from that one.
    """

    name: str
    operator: str
    status: Status
    action: str
    summary: str
    reason: str | None = None
    made_by: NodePlace | None = None
    compared_with: NodePlace | None = None
    differences: tuple[Difference, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "operator": self.operator,
            "status": self.status.value,
            "action": self.action,
            "summary": self.summary,
            "reason": self.reason,
            "made_by": self.made_by.to_json() if self.made_by else None,
            "compared_with": self.compared_with.to_json() if self.compared_with else None,
            "differences": [d.to_json() for d in self.differences],
        }


@dataclass(frozen=True)
class RunExplanation:
    """A run's nodes in compiled order, each explained."""

    run_id: str
    workflow: str
    nodes: tuple[NodeExplanation, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "workflow": self.workflow,
            "nodes": [n.to_json() for n in self.nodes],
        }


def explain_run(
    catalog: Catalog, store: ArtifactStore, record: RunRecord, node: str | None = None
) -> RunExplanation:
    """Explain the nodes of a run, or one of them. Only reads; no user code is loaded.

    Raises:
        NotFoundError: the run has no such node.
    """
    names = [n.name for n in record.nodes]
    if node is not None and node not in names:
        raise NotFoundError(
            f"run {record.id} has no node '{node}'; it has {shorten(names)}.{suggest(node, names)}"
        )
    explainer = _Explainer(Sources(catalog, store), record)
    nodes = [explainer.explain(n) for n in record.nodes if node in (None, n.name)]
    return RunExplanation(record.id, record.workflow, tuple(nodes))


class _Explainer:
    def __init__(self, sources: Sources, record: RunRecord) -> None:
        self._sources = sources
        self._record = record
        self._comparer = Comparer(sources)
        # Runs that nodes were compared with: one for all of them reads best.
        self._bases: set[str] = set()
        self._earlier: dict[str, list[EarlierNode]] = {}

    def explain(self, node: NodeRun) -> NodeExplanation:
        if node.cached:
            return self._explain_hit(node)
        if node.started_at is None:
            return self._explain_none(node)
        forced = _read_forced(node)
        if forced is not None and forced.kind in ("lost", "uncacheable"):
            # An equal result was there, or none could be: what differs from others says nothing.
            return _make(node, "ran", (forced,))
        nearest = self._find_nearest(node)
        if nearest is None:
            return _make(node, "ran", (forced or self._tell_first(node),))
        found = self._comparer.compare(self._record.id, node, nearest.run_id, nearest.node)
        if forced is None:
            differences = tuple(found or [_tell_not_stored(node, nearest)])
        elif found:
            differences = (forced, *found)
        else:
            differences = (replace(forced, text=f"{forced.text}; nothing else differs"),)
        place = NodePlace(nearest.run_id, nearest.node.name, nearest.node.finished_at)
        return _make(node, "ran", differences, place)

    def _explain_hit(self, node: NodeRun) -> NodeExplanation:
        source = node.cached_from or self._record.id
        where = "another node of this run" if source == self._record.id else f"run {source[:8]}"
        try:
            run = self._sources.get_run(source)
        except NotFoundError:
            summary = f"cached: {where} made it, which is not in the catalog any more"
            return NodeExplanation(node.name, node.operator, node.status, "cached", summary)
        key = node.cache_key
        made = [n for n in run.nodes if not n.cached]
        maker = next((n for n in made if (n.cache_key == key if key else n.name == node.name)), None)
        name, at = (maker.name, maker.finished_at) if maker else (node.name, run.finished_at)
        if source == self._record.id:
            where = f"node '{name}' of this run"
        elif name != node.name:
            where = f"node '{name}' of {where}"
        return NodeExplanation(
            node.name,
            node.operator,
            node.status,
            "cached",
            f"cached: {where} made it",
            made_by=NodePlace(source, name, at),
        )

    def _explain_none(self, node: NodeRun) -> NodeExplanation:
        why = {
            Status.SKIPPED: f"did not run: {self._find_failed(node)} failed before it",
            Status.CANCELLED: "did not run: the run was stopped before it",
            Status.CRASHED: "did not run: the process of the run ended before it",
            Status.FAILED: "did not begin: " + (node.error.message if node.error else "its inputs failed"),
        }
        summary = why.get(node.status, "has not run yet")
        return NodeExplanation(node.name, node.operator, node.status, "none", summary)

    def _find_failed(self, node: NodeRun) -> str:
        """Return which node made that this one was skipped."""
        waiting, seen = [node.name], {node.name}
        while waiting:
            name = waiting.pop()
            found = self._sources.find_node(self._record.id, name)
            if found is not None and found.status is Status.FAILED:
                return f"'{name}'"
            for upstream in self._comparer.list_upstream(self._record.id, name):
                if upstream not in seen:
                    seen.add(upstream)
                    waiting.append(upstream)
        return "a node"

    def _find_nearest(self, node: NodeRun) -> EarlierNode | None:
        began = node.started_at or self._record.created_at
        earlier = [
            e for e in self._list_earlier(node.operator) if e.node.finished_at and e.node.finished_at <= began
        ]

        def rank(item: tuple[int, EarlierNode]) -> tuple[int, bool, bool, int]:
            position, found = item
            known = found.node.inputs
            common = sum(hash_ is not None and known.get(n) == hash_ for n, hash_ in node.inputs.items())
            common += found.node.fingerprint == node.fingerprint
            is_same = found.workflow == self._record.workflow and found.node.name == node.name
            return common, is_same, found.run_id in self._bases, -position

        best = max(enumerate(earlier), key=rank, default=None)
        if best is None:
            return None
        self._bases.add(best[1].run_id)
        return best[1]

    def _list_earlier(self, operator: str) -> list[EarlierNode]:
        """Return what any node of an operator in this run may be compared with, the latest first."""
        if operator not in self._earlier:
            began = [n.started_at for n in self._record.nodes if n.operator == operator and n.started_at]
            before = max(began, default=self._record.created_at)
            self._earlier[operator] = self._sources.catalog.list_earlier_nodes(
                operator, before, self._record.id, LOOKED_AT
            )
        return self._earlier[operator]

    def _tell_first(self, node: NodeRun) -> Difference:
        if node.miss_reason in (None, "", _FIRST):
            text = _FIRST
        else:
            text = f"{node.miss_reason}; the run that it was compared with is not kept any more"
        return Difference("first", node.name, text, node.name)


def _make(
    node: NodeRun,
    action: str,
    differences: Sequence[Difference],
    compared_with: NodePlace | None = None,
) -> NodeExplanation:
    return NodeExplanation(
        node.name,
        node.operator,
        node.status,
        action,
        summarise(differences),
        node.miss_reason,
        None,
        compared_with,
        tuple(differences),
    )


_FORCED: Mapping[str, tuple[str, str]] = {
    "--no-cache": ("no-cache", "the run was asked to use no cached results (--no-cache)"),
    "--refresh": ("refresh", "the run was asked to run this node again (--refresh)"),
}


def _read_forced(node: NodeRun) -> Difference | None:
    """Return why a node ran whatever its code and inputs are, as it was stored at that time."""
    reason = node.miss_reason or ""
    if reason in _FORCED:
        kind, text = _FORCED[reason]
        return Difference(kind, node.name, text, node.name)
    if reason.startswith("artifact lost: "):
        lost = reason.removeprefix("artifact lost: ")
        return Difference("lost", node.name, f"artifact lost: {lost}", node.name)
    if node.cache_key is None and reason:
        return Difference("uncacheable", node.name, f"never cached: {reason}", node.name)
    return None


def _tell_not_stored(node: NodeRun, nearest: EarlierNode) -> Difference:
    text = (
        f"nothing differs from run {nearest.run_id[:8]}, but no result was stored that could be used: it has "
        "been removed, or that run did not share it"
    )
    return Difference("not-stored", node.name, text, node.name)
