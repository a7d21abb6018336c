"""Owns what a run gives when its nodes have ended: status, error, outputs and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flowlearner.artifacts import ArtifactStore
from flowlearner.engine.base import utc_now
from flowlearner.engine.binding import Binder
from flowlearner.engine.node import receive, store_value
from flowlearner.errors import FlowLearnerError
from flowlearner.graph import Graph, NodeRef, iter_refs
from flowlearner.interface import Param
from flowlearner.records import Artifact, ErrorInfo, MetricPoint, NodeRun, OutputRecord, Status


def choose_status(done: Mapping[str, NodeRun]) -> Status:
    """Return the status of a run whose nodes have all ended."""
    statuses = {r.status for r in done.values()}
    if Status.CANCELLED in statuses:
        return Status.CANCELLED
    return Status.FAILED if Status.FAILED in statuses else Status.COMPLETED


def find_error(graph: Graph, done: Mapping[str, NodeRun]) -> ErrorInfo | None:
    """Return the error of the first failed node, naming it."""
    for node in graph.nodes:
        record = done.get(node.name)
        if record is not None and record.error is not None:
            message = f"node '{node.name}' failed: {record.error.type}: {record.error.message}"
            return ErrorInfo(record.error.type, message, record.error.traceback)
    return None


def collect_outputs(
    graph: Graph, done: Mapping[str, NodeRun], binder: Binder, store: ArtifactStore
) -> tuple[list[OutputRecord], list[Artifact]]:
    """Return the run's outputs as far as their nodes completed, and artifacts that were made for them.

    A node's output is the run's as it is. What the workflow itself put together (a list of metrics, a
    parameter that it hands on) is stored here.
    """
    outputs: list[OutputRecord] = []
    artifacts: list[Artifact] = []
    for output in graph.interface.outputs:
        binding = graph.outputs[output.name]
        producers = [done.get(ref.node) for ref in iter_refs(binding)]
        if any(p is None or p.status is not Status.COMPLETED for p in producers):
            continue
        if isinstance(binding, NodeRef):
            found = next(o for o in done[binding.node].outputs if o.name == binding.output)
            outputs.append(replace(found, name=output.name))
            continue
        param = Param(output.name, output.type)
        bound = binder.bind(binding, param)
        if bound.secret:
            continue
        if bound.artifact is not None:
            outputs.append(OutputRecord(output.name, bound.artifact.hash, bound.artifact.type))
            continue
        try:
            value = receive(bound, param, store, f"output '{output.name}'")
            record, artifact = store_value(output, value, store)
        except FlowLearnerError as error:
            raise type(error)(f"workflow '{graph.workflow}', output '{output.name}': {error}") from error
        outputs.append(record)
        artifacts.append(artifact)
    return outputs, artifacts


def collect_metrics(
    graph: Graph, done: Mapping[str, NodeRun], outputs: list[OutputRecord]
) -> list[MetricPoint]:
    """Return metric outputs by output name, and reported ones, prefixed by the node where two collide."""
    declared = {o.name for o in graph.interface.outputs if o.type.kind == "metric"}
    points = [
        MetricPoint(o.name, float(o.value), None, utc_now())
        for o in outputs
        if o.name in declared and o.value is not None
    ]
    reporters: dict[str, set[str]] = {}
    for record in done.values():
        for point in record.metrics:
            reporters.setdefault(point.name, set()).add(record.name)
    for node in graph.nodes:
        for point in done[node.name].metrics:
            shared = len(reporters[point.name]) > 1 or point.name in declared
            points.append(replace(point, name=f"{node.name}.{point.name}") if shared else point)
    return points
