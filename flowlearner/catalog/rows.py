"""Turns records into rows and back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from flowlearner.records import (
    Artifact,
    CacheEntry,
    Change,
    CodeInfo,
    Environment,
    ErrorInfo,
    LogLine,
    MetricPoint,
    NodeRun,
    OutputRecord,
    Owner,
    Reproduction,
    RunRecord,
    Status,
    clean,
)

Row = Mapping[Any, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
FLOAT_KEY = "__float__"
TEXT_LIMIT = 1000
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def to_us(at: datetime | None) -> int | None:
    """Return microseconds since 1970; exact, unlike a float of seconds."""
    return None if at is None else (at - EPOCH) // MICROSECOND


def from_us(value: int | None) -> datetime | None:
    return None if value is None else EPOCH + timedelta(microseconds=value)


def now_us() -> int:
    return (datetime.now(UTC) - EPOCH) // MICROSECOND


# JSON has no NaN and no infinity; they are written as {"__float__": "nan"}.


def json_text(value: Any) -> str:
    """Write a structure as JSON that `from_json` gives back with NaN and infinity."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_plain)
    except ValueError:
        return json.dumps(_tag(value), separators=(",", ":"), allow_nan=False, default=_plain)


def from_json(text: str) -> Any:
    return json.loads(text, object_hook=_untag) if FLOAT_KEY in text else json.loads(text)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)


def _tag(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {FLOAT_KEY: "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"}
    if isinstance(value, Mapping):
        return {k: _tag(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tag(v) for v in value]
    return value


def _untag(value: dict[str, Any]) -> Any:
    return _FLOATS.get(value[FLOAT_KEY], value) if len(value) == 1 and FLOAT_KEY in value else value


# Parts of records


def outputs_text(outputs: Iterable[OutputRecord]) -> str:
    return json_text([(o.name, o.hash, o.type, o.value) for o in outputs])


def to_outputs(text: str) -> tuple[OutputRecord, ...]:
    return tuple([OutputRecord(*o) for o in from_json(text)]) if text and text != "[]" else ()


def points_text(points: Sequence[MetricPoint]) -> str | None:
    return json_text([(p.name, p.value, p.step, to_us(p.at)) for p in points]) if points else None


def to_points(text: str | None) -> tuple[MetricPoint, ...]:
    if not text:
        return ()
    return tuple(MetricPoint(name, value, step, from_us(at)) for name, value, step, at in from_json(text))


def error_text(error: ErrorInfo | None) -> str | None:
    return None if error is None else json_text([error.type, error.message, error.traceback])


def to_error(text: str | None) -> ErrorInfo | None:
    return ErrorInfo(*from_json(text)) if text else None


def number_or_null(value: float) -> float | None:
    """Return a float that every database stores: NaN becomes NULL."""
    return None if math.isnan(value) else float(value)


def to_number(value: float | None) -> float:
    return math.nan if value is None else value


# Whole records


def node_row(run_id: str, workflow: str, node: NodeRun) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "name": node.name,
        "position": node.position,
        "workflow": workflow,
        "operator": node.operator,
        "fingerprint": node.fingerprint,
        "status": node.status.value,
        "cached": node.cached,
        "cached_from": node.cached_from,
        "attempt": node.attempt,
        "started_us": to_us(node.started_at),
        "finished_us": to_us(node.finished_at),
        "cache_key": node.cache_key,
        "miss_reason": None if node.miss_reason is None else clean(node.miss_reason),
        "inputs": json_text(node.inputs),
        "outputs": outputs_text(node.outputs),
        "metrics": points_text(node.metrics),
        "error": error_text(node.error),
    }


def to_node(row: Row) -> NodeRun:
    return NodeRun(
        name=row["name"],
        operator=row["operator"],
        position=row["position"],
        status=Status(row["status"]),
        fingerprint=row["fingerprint"],
        cached=bool(row["cached"]),
        cached_from=row["cached_from"],
        attempt=row["attempt"],
        started_at=from_us(row["started_us"]),
        finished_at=from_us(row["finished_us"]),
        cache_key=row["cache_key"],
        miss_reason=row["miss_reason"],
        inputs=from_json(row["inputs"]),
        outputs=to_outputs(row["outputs"]),
        metrics=to_points(row["metrics"]),
        error=to_error(row["error"]),
    )


def artifact_row(artifact: Artifact, created_us: int) -> dict[str, Any]:
    return {
        "hash": artifact.hash,
        "codec": artifact.codec,
        "type": artifact.type,
        "size_bytes": artifact.size_bytes,
        "checksum": artifact.checksum,
        "path": artifact.path,
        "created_us": created_us,
        "preview": None if artifact.preview is None else json_text(artifact.preview),
        "inline": artifact.inline,
    }


def to_artifact(row: Row) -> Artifact:
    preview, inline = row.get("preview"), row.get("inline")
    return Artifact(
        hash=row["hash"],
        codec=row["codec"],
        type=row["type"],
        size_bytes=row["size_bytes"],
        checksum=row["checksum"],
        inline=None if inline is None else bytes(inline),
        path=row["path"],
        preview=None if preview is None else from_json(preview),
    )


def entry_row(entry: CacheEntry, created_us: int) -> dict[str, Any]:
    return {
        "key": entry.key,
        "run_id": entry.run_id,
        "node": entry.node,
        "outputs": outputs_text(entry.outputs),
        "metrics": points_text(entry.metrics),
        "created_us": created_us,
    }


def to_entry(row: Row) -> CacheEntry:
    return CacheEntry(
        row["key"], row["run_id"], row["node"], to_outputs(row["outputs"]), to_points(row["metrics"])
    )


def log_row(run_id: str, line: LogLine) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "node": line.node,
        "at_us": to_us(line.at),
        "level": clean(line.level),
        "message": clean(line.message),
    }


def run_row(run: RunRecord) -> dict[str, Any]:
    row = {
        "id": run.id,
        "workflow": run.workflow,
        "workflow_fingerprint": run.workflow_fingerprint,
        "experiment": clean(run.experiment),
        "status": run.status.value,
        "owner": clean(run.owner),
        "created_us": to_us(run.created_at),
        "started_us": to_us(run.started_at),
        "finished_us": to_us(run.finished_at),
        "executor": run.executor,
        "run_seed": run.run_seed,
        "parent_id": run.parent_id,
        "sweep_id": run.sweep_id,
        "trial_number": run.trial_number,
        "code_commit": run.code.commit,
        "code_branch": run.code.branch,
        "code_dirty": run.code.dirty,
        "code_snapshot": run.code.snapshot,
        "code_diff": run.code.diff,
        "environment_id": run.environment.id if run.environment else None,
        "prefect_flow_run_id": run.prefect_flow_run_id,
        "prefect_api_url": run.prefect_api_url,
        "cancel_requested": run.cancel_requested,
        "deleted_us": to_us(run.deleted_at),
        "command": clean(run.command),
        "notes": clean(run.notes),
        "params": json_text(run.params),
        "outputs": outputs_text(run.outputs.values()),
        "error_type": run.error.type if run.error else None,
        "error": error_text(run.error),
        "node_count": 0,
        "cached_count": 0,
    }
    return row | process_row(run.process)


def process_row(process: Owner | None) -> dict[str, Any]:
    return {
        "process_host": process.host if process else None,
        "process_pid": process.pid if process else None,
        "process_started": process.pid_started if process else None,
        "process_boot": process.boot_id if process else None,
    }


def to_process(row: Row) -> Owner | None:
    if row["process_host"] is None:
        return None
    return Owner(row["process_host"], row["process_pid"], row["process_started"], row["process_boot"])


def to_code(row: Row) -> CodeInfo:
    return CodeInfo(
        commit=row["code_commit"],
        branch=row["code_branch"],
        dirty=bool(row["code_dirty"]),
        snapshot=row["code_snapshot"],
        diff=row["code_diff"],
    )


def to_run(
    row: Row,
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    environment: Environment | None,
    nodes: tuple[NodeRun, ...] = (),
    changes: Sequence[Change] = (),
    reproduction: Reproduction | None = None,
) -> RunRecord:
    created_at = from_us(row["created_us"])
    assert created_at is not None
    return RunRecord(
        id=row["id"],
        workflow=row["workflow"],
        experiment=row["experiment"],
        status=Status(row["status"]),
        owner=row["owner"],
        created_at=created_at,
        started_at=from_us(row["started_us"]),
        finished_at=from_us(row["finished_us"]),
        workflow_fingerprint=row["workflow_fingerprint"],
        executor=row["executor"],
        run_seed=row["run_seed"],
        params=from_json(row["params"]),
        outputs={o.name: o for o in to_outputs(row["outputs"])},
        metrics=metrics,
        tags=tags,
        notes=row["notes"],
        error=to_error(row["error"]),
        parent_id=row["parent_id"],
        changes=tuple(changes),
        reproduction=reproduction,
        sweep_id=row["sweep_id"],
        trial_number=row["trial_number"],
        code=to_code(row),
        environment=environment,
        process=to_process(row),
        command=row["command"],
        prefect_flow_run_id=row["prefect_flow_run_id"],
        prefect_api_url=row["prefect_api_url"],
        cancel_requested=bool(row["cancel_requested"]),
        deleted_at=from_us(row["deleted_us"]),
        nodes=nodes,
    )


def change_rows(run: RunRecord) -> list[dict[str, Any]]:
    rows = []
    for change in run.changes:
        (compared,) = param_rows(run.id, {change.name: change.after})
        exact = {"before": json_text(change.before), "after": json_text(change.after)}
        rows.append(compared | exact | {"kind": change.kind})
    return rows


def param_rows(run_id: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what queries compare: scalars, as a number and as text; an artifact by its hash."""
    rows = []
    for name, value in params.items():
        number: float | None = None
        if isinstance(value, Mapping):
            text = value.get("hash")
        elif value is None or isinstance(value, (list, tuple)):
            text = None
        elif isinstance(value, bool):
            text = "true" if value else "false"
        elif isinstance(value, (int, float)):
            text, number = str(value), _as_double(value)
        else:
            text = clean(str(value))[:TEXT_LIMIT]
        rows.append({"run_id": run_id, "name": clean(name), "number": number, "text": text})
    return rows


def _as_double(value: float) -> float | None:
    try:
        return number_or_null(float(value))
    except OverflowError:
        return None


def metric_rows(
    run_id: str, points: Sequence[MetricPoint]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return a row for each point, and for each metric its latest value, least, greatest and count."""
    history = []
    latest: dict[str, dict[str, Any]] = {}
    for point in points:
        name, value = clean(point.name), number_or_null(point.value)
        history.append(
            {"run_id": run_id, "name": name, "step": point.step, "value": value, "at_us": to_us(point.at)}
        )
        row = latest.setdefault(
            name, {"run_id": run_id, "name": name, "least": None, "greatest": None, "count": 0}
        )
        row.update(value=value, is_finite=value is not None and math.isfinite(value), step=point.step)
        row["count"] += 1
        if value is not None:
            row["least"] = value if row["least"] is None else min(row["least"], value)
            row["greatest"] = value if row["greatest"] is None else max(row["greatest"], value)
    return history, list(latest.values())
