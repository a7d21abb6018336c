"""Records for the tests of the catalog, and a process that writes them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowlearner.catalog import Catalog
from flowlearner.records import (
    Artifact,
    CacheEntry,
    CodeInfo,
    Environment,
    ErrorInfo,
    MetricPoint,
    NodeRun,
    OperatorVersion,
    OutputRecord,
    Owner,
    RunRecord,
    Status,
    SweepRecord,
    TrialBatch,
    TrialEnd,
    WorkflowVersion,
)

sqlite_only = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""For a test that looks into what SQLite alone has."""

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
ENVIRONMENT = Environment(
    "e" * 64, "3.11.2", {"pandas": "3.0.1", "numpy": "2.1.0"}, {"cpus": 2, "os": "Linux"}
)
PROCESS = Owner("host", 4711, 1234.5, "boot")
CODE = CodeInfo("c0ffee" + "0" * 34, "main", True, "5" * 64)


def make_hash(number: int) -> str:
    return f"{number:064x}"


def make_workflow(
    name: str = "delays", version: int = 1, graph: Mapping[str, Any] | None = None
) -> WorkflowVersion:
    fingerprint = f"{version:02x}" + name.encode().hex().ljust(62, "0")[:62]
    return WorkflowVersion(
        name,
        fingerprint,
        "flights",
        f"def {name}(): ...",
        f"Doc {version}.",
        {"params": []},
        graph or {"nodes": []},
    )


def make_operator(name: str = "train", version: int = 1) -> OperatorVersion:
    fingerprint = f"{version:02x}" + name.encode().hex().ljust(62, "0")[:62]
    return OperatorVersion(
        name, fingerprint, "flights", f"def {name}(): ...", f"Doc {version}.", {"params": []}
    )


def make_run(run_id: str, minute: int = 0, **fields: Any) -> RunRecord:
    fields.setdefault("workflow", "delays")
    fields.setdefault("experiment", "default")
    fields.setdefault("status", Status.RUNNING)
    fields.setdefault("owner", "ada")
    return RunRecord(id=run_id, created_at=NOW + timedelta(minutes=minute), **fields)


def make_node(name: str, position: int = 0, **fields: Any) -> NodeRun:
    fields.setdefault("operator", "train")
    fields.setdefault("status", Status.COMPLETED)
    fields.setdefault("started_at", NOW)
    fields.setdefault("finished_at", NOW + timedelta(seconds=2))
    return NodeRun(name=name, position=position, **fields)


def make_artifact(number: int, **fields: Any) -> Artifact:
    fields.setdefault("inline", b"bytes")
    return Artifact(make_hash(number), "json/1", "int", 5, make_hash(number + 10**9), **fields)


def make_output(number: int, name: str = "result", value: Any = None) -> OutputRecord:
    return OutputRecord(name, make_hash(number), "int", value)


def begin(catalog: Catalog, run_id: str, minute: int = 0, **fields: Any) -> None:
    """Begin a run of a workflow with one operator."""
    run = make_run(run_id, minute, **fields)
    workflow = make_workflow(run.workflow)
    catalog.begin_run(run, workflow, [make_operator()])


def complete(
    catalog: Catalog,
    run_id: str,
    minute: int = 0,
    metrics: Mapping[str, float] | None = None,
    nodes: Sequence[NodeRun] = (),
    status: Status = Status.COMPLETED,
    error: ErrorInfo | None = None,
    seconds: float = 60.0,
    **fields: Any,
) -> None:
    """Record a whole run that took a minute."""
    at = NOW + timedelta(minutes=minute)
    begin(catalog, run_id, minute, started_at=at, **fields)
    if nodes:
        catalog.record_nodes(run_id, nodes)
    points = [MetricPoint(n, v, None, at) for n, v in (metrics or {}).items()]
    catalog.finish_run(run_id, status, at + timedelta(seconds=seconds), (), points, error)


def begin_sweep(catalog: Catalog, sweep_id: str, minute: int = 0, **fields: Any) -> SweepRecord:
    """Begin a sweep over depth that maximises auc."""
    fields.setdefault("spec", {"space": {"depth": "1..9"}, "trials": 2})
    sweep = SweepRecord(
        sweep_id, "delays", "default", Status.RUNNING, "ada", NOW + timedelta(minutes=minute),
        ("auc",), ("max",), process=PROCESS, **fields,
    )  # fmt: skip
    catalog.record_versions(make_workflow(), [make_operator()])
    catalog.begin_sweep(sweep, ENVIRONMENT)
    return sweep


def make_trials(sweep_id: str, ends: Sequence[Status | None], first: int = 0) -> TrialBatch:
    """Trials of a sweep, each of one node, with how it ended; None: it runs."""
    batch = TrialBatch()
    for number, end in enumerate(ends, first):
        run_id = f"{sweep_id}-{number}"
        run = make_run(
            run_id, sweep_id=sweep_id, trial_number=number, params={"depth": number}, process=PROCESS
        )
        batch.begun.append((run, make_workflow()))
        if end is None:
            continue
        batch.nodes[run_id, "train"] = make_node("train", status=end)
        # A trial that completed has an output of the name; one that was stopped, what its node reported.
        points = [MetricPoint("train.auc", number / 100, 1, NOW), MetricPoint("auc", number / 10, None, NOW)]
        error = ErrorInfo("ValueError", "no") if end is Status.FAILED else None
        kept = tuple(points if end is Status.COMPLETED else points[:1])
        batch.ended.append(TrialEnd(run_id, end, NOW, metrics=kept, error=error))
    return batch


def write_many(url: str, writer: int, runs: int, nodes: int) -> None:
    """Write runs with nodes, one transaction a node, as an engine would."""
    with Catalog(url) as catalog:
        for r in range(runs):
            run_id = f"w{writer}-r{r}"
            begin(catalog, run_id, writer, tags={"writer": str(writer)}, params={"r": r})
            for n in range(nodes):
                number = (writer * runs + r) * nodes + n
                node = make_node(
                    f"n{n}", n, cache_key=make_hash(number), outputs=(make_output(number, value=number),),
                    inputs={"x": make_hash(number - 1)} if n else {},
                )  # fmt: skip
                entry = CacheEntry(make_hash(number), run_id, node.name, node.outputs)
                catalog.record_nodes(run_id, [node], [make_artifact(number)], [entry])
            catalog.finish_run(
                run_id, Status.COMPLETED, NOW, (), [MetricPoint("auc", r / 10, None, NOW)], None
            )


if __name__ == "__main__":
    write_many(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
