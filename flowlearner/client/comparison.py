"""Runs side by side: which params, metrics, tags, outputs and nodes differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowlearner.client.run import Run, find_duration_s, output_json, time_json, to_plain
from flowlearner.records import NodeRun


@dataclass(frozen=True)
class Row:
    """One thing in every run.

    Attributes:
        values: JSON values in the order of the runs; None where a run does not have it.
        changed: for a node, what differs: "code", "input 'rows'", "result", "status", "presence".
    """

    name: str
    values: tuple[Any, ...]
    differs: bool
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What two or more runs have in common, and what not.

    Attributes:
        runs: in the order asked for.
        nodes: each value has status, cached, duration_s, fingerprint, inputs and outputs by hash.
        code: commit, dirty flag, workflow version and executor.
        environment: Python and packages.
    """

    runs: tuple[Run, ...]
    params: tuple[Row, ...]
    metrics: tuple[Row, ...]
    tags: tuple[Row, ...]
    outputs: tuple[Row, ...]
    nodes: tuple[Row, ...]
    code: tuple[Row, ...]
    environment: tuple[Row, ...]

    @property
    def sections(self) -> Mapping[str, tuple[Row, ...]]:
        return {
            "params": self.params,
            "metrics": self.metrics,
            "tags": self.tags,
            "outputs": self.outputs,
            "nodes": self.nodes,
            "code": self.code,
            "environment": self.environment,
        }

    def to_json(self, include_equal: bool = False) -> dict[str, Any]:
        """Return the comparison as JSON values: by section and name, one value for each run id.

        Args:
            include_equal: also what is the same in every run.
        """
        ids = [r.id for r in self.runs]
        document: dict[str, Any] = {
            "runs": [
                {
                    "id": r.id,
                    "workflow": r.workflow,
                    "experiment": r.experiment,
                    "status": r.status.value,
                    "created_at": time_json(r.record.created_at),
                }
                for r in self.runs
            ]
        }
        for section, rows in self.sections.items():
            document[section] = {
                row.name: {"values": dict(zip(ids, row.values, strict=True)), "differs": row.differs}
                | ({"changed": list(row.changed)} if section == "nodes" else {})
                for row in rows
                if row.differs or include_equal
            }
        return document


def compare(runs: Sequence[Run]) -> Comparison:
    """Put runs side by side; the first decides the order of names."""
    return Comparison(
        runs=tuple(runs),
        params=_make_rows(runs, lambda r: {k: to_plain(v) for k, v in r.params.items()}, _param_key),
        metrics=_make_rows(runs, lambda r: {k: to_plain(v) for k, v in r.metrics.items()}),
        tags=_make_rows(runs, lambda r: r.tags),
        outputs=_make_rows(
            runs, lambda r: {k: output_json(o) for k, o in r.record.outputs.items()}, lambda v: v["hash"]
        ),
        nodes=_compare_nodes(runs),
        code=_make_rows(runs, _read_code),
        environment=_make_rows(runs, _read_environment),
    )


def _make_rows(
    runs: Sequence[Run],
    read: Callable[[Run], Mapping[str, Any]],
    key: Callable[[Any], Any] = lambda value: value,
) -> tuple[Row, ...]:
    found = [read(run) for run in runs]
    names = dict.fromkeys(name for values in found for name in values)
    rows = []
    for name in names:
        values = tuple(values.get(name) for values in found)
        # 1 and 1.0 and True are equal in Python, but not the same parameter.
        keys = {
            json.dumps(key(v), sort_keys=True) if name in f else ""
            for v, f in zip(values, found, strict=True)
        }
        rows.append(Row(name, values, len(keys) > 1))
    return tuple(rows)


def _param_key(value: Any) -> Any:
    return value.get("hash") or value if isinstance(value, dict) else value


def _compare_nodes(runs: Sequence[Run]) -> tuple[Row, ...]:
    found = [{n.name: n for n in run.nodes} for run in runs]
    rows = []
    for name in dict.fromkeys(name for nodes in found for name in nodes):
        nodes = [f.get(name) for f in found]
        there = [n for n in nodes if n is not None]
        changed = _list_changes(there) if len(there) == len(nodes) else ["presence"]
        values = tuple(None if n is None else _describe_node(n) for n in nodes)
        rows.append(Row(name, values, bool(changed), tuple(changed)))
    return tuple(rows)


def _list_changes(nodes: Sequence[NodeRun]) -> list[str]:
    changed = []
    if len({n.status for n in nodes}) > 1:
        changed.append("status")
    if len({n.fingerprint for n in nodes}) > 1:
        changed.append("code")
    for name in dict.fromkeys(name for n in nodes for name in n.inputs):
        if len({n.inputs.get(name, "") for n in nodes}) > 1:
            changed.append(f"input '{name}'")
    if len({tuple((o.name, o.hash) for o in n.outputs) for n in nodes}) > 1:
        changed.append("result")
    return changed


def _describe_node(node: NodeRun) -> dict[str, Any]:
    return {
        "status": node.status.value,
        "cached": node.cached,
        "duration_s": find_duration_s(node.started_at, node.finished_at, node.status),
        "fingerprint": node.fingerprint,
        "inputs": dict(node.inputs),
        "outputs": {o.name: o.hash for o in node.outputs},
    }


def _read_code(run: Run) -> dict[str, Any]:
    record = run.record
    return {
        "workflow": record.workflow,
        "workflow_version": record.workflow_fingerprint,
        "commit": record.code.commit,
        "dirty": record.code.dirty,
        "executor": record.executor,
        "seed": record.run_seed,
    }


def _read_environment(run: Run) -> dict[str, Any]:
    environment = run.record.environment
    return {} if environment is None else {"python": environment.python, **environment.packages}
