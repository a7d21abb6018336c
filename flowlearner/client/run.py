"""A run as people hold it: its record, its outputs that load when they are asked for, its JSON."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from flowlearner.catalog import Catalog
from flowlearner.errors import NotFoundError, shorten, suggest
from flowlearner.heartbeat import is_gone
from flowlearner.records import (
    Artifact,
    ErrorInfo,
    NodeRun,
    OutputRecord,
    Reproduction,
    RunRecord,
    Status,
    describe_crash,
)


class Reader(Protocol):
    """What a run asks of its client."""

    def get_record(self, run_id: str) -> RunRecord: ...

    def load_output(self, run_id: str, name: str, *, unsafe: bool = False) -> Any: ...

    def find_artifacts(self, hashes: list[str]) -> dict[str, Artifact]: ...


class Outputs:
    """The outputs of a run. Each is loaded when it is first asked for, and then kept.

    Example:
        run.outputs.auc, run.outputs["auc"], list(run.outputs)
    """

    def __init__(self, names: tuple[str, ...], run_id: str, load: Callable[[str], Any]) -> None:
        self._names = names
        self._run_id = run_id
        self._load = load
        self._values: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise NotFoundError(self._explain(name))
        if name not in self._values:
            self._values[name] = self._load(name)
        return self._values[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._names:
            raise AttributeError(self._explain(name) if not name.startswith("_") else name)
        return self[name]

    def _explain(self, name: str) -> str:
        nearest = suggest(name, self._names)
        return f"run {self._run_id} has no output '{name}'; it has {shorten(self._names)}.{nearest}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._names]

    def __repr__(self) -> str:
        return f"<outputs {shorten(self._names)}>"


class Run:
    """One execution of a workflow, as it was when it was read; `refresh` reads it again.

    Attributes:
        record: everything that the catalog holds of it.
        outputs: values by name, loaded on first use.
    """

    def __init__(self, reader: Reader, record: RunRecord) -> None:
        self._reader = reader
        self._take(record)

    def _take(self, record: RunRecord) -> None:
        self.record = record
        self.outputs = Outputs(
            tuple(record.outputs), record.id, lambda name: self._reader.load_output(record.id, name)
        )

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def workflow(self) -> str:
        return self.record.workflow

    @property
    def experiment(self) -> str:
        return self.record.experiment

    @property
    def status(self) -> Status:
        return self.record.status

    @property
    def metrics(self) -> Mapping[str, float]:
        return self.record.metrics

    @property
    def params(self) -> Mapping[str, Any]:
        return self.record.params

    @property
    def tags(self) -> Mapping[str, str]:
        return self.record.tags

    @property
    def notes(self) -> str:
        return self.record.notes

    @property
    def nodes(self) -> tuple[NodeRun, ...]:
        return self.record.nodes

    @property
    def error(self) -> ErrorInfo | None:
        return self.record.error

    @property
    def duration_s(self) -> float | None:
        """Seconds from its start to its end, or until now while it runs.

        A crashed run ended at its last sign of life: the latest time that is recorded of its nodes and logs.
        """
        return find_duration_s(self.record.started_at, self.record.finished_at, self.record.status)

    def refresh(self) -> Run:
        """Read the run again and return it."""
        self._take(self._reader.get_record(self.id))
        return self

    def load(self, name: str, *, unsafe: bool = False) -> Any:
        """Load one output.

        Args:
            unsafe: also load what was stored by pickle, which runs code that the bytes name.
        """
        return self._reader.load_output(self.id, name, unsafe=unsafe)

    def to_json(self) -> dict[str, Any]:
        """Return the run as JSON values; the previews of its outputs are read from the catalog."""
        record = self.record
        artifacts = self._reader.find_artifacts([o.hash for o in record.outputs.values()])
        return {
            **self._facts_json(),
            "outputs": {
                name: {**output_json(o), "preview": _preview_of(artifacts.get(o.hash))}
                for name, o in record.outputs.items()
            },
            "nodes": [node_json(n) for n in record.nodes],
            "changes": [
                {"kind": c.kind, "name": c.name, "before": to_plain(c.before), "after": to_plain(c.after)}
                for c in record.changes
            ],
            "reproduction": None if record.reproduction is None else verdict_json(record.reproduction),
            "command": record.command,
            "code": {
                "commit": record.code.commit,
                "branch": record.code.branch,
                "dirty": record.code.dirty,
                "snapshot": record.code.snapshot,
                "diff": record.code.diff,
            },
            "environment": {
                "id": record.environment.id,
                "python": record.environment.python,
                "packages": dict(record.environment.packages),
                "machine": to_plain(record.environment.machine),
            }
            if record.environment
            else None,
        }

    def summary_json(self) -> dict[str, Any]:
        """Return the run as lists show it: without nodes, previews and environment."""
        return {**self._facts_json(), "deleted_at": time_json(self.record.deleted_at)}

    def _facts_json(self) -> dict[str, Any]:
        record = self.record
        return {
            "id": record.id,
            "workflow": record.workflow,
            "experiment": record.experiment,
            "status": record.status.value,
            "params": to_plain(record.params),
            "outputs": {name: output_json(o) for name, o in record.outputs.items()},
            "metrics": to_plain(record.metrics),
            "tags": dict(record.tags),
            "notes": record.notes,
            "owner": record.owner,
            "created_at": time_json(record.created_at),
            "started_at": time_json(record.started_at),
            "finished_at": time_json(record.finished_at),
            "parent_id": record.parent_id,
            "sweep_id": record.sweep_id,
            "trial_number": record.trial_number,
            "error": error_json(record.error),
            "executor": record.executor,
            "seed": record.run_seed,
        }

    def __repr__(self) -> str:
        outputs = ", ".join(self.outputs) or "no outputs"
        return f"<run {self.id} of {self.workflow}: {self.status}, {outputs}>"

    def _repr_html_(self) -> str:
        metrics = {name: f"{value:.6g}" for name, value in self.metrics.items()}
        rows = {
            "run": self.id,
            "workflow": self.workflow,
            "experiment": self.experiment,
            "status": self.status.value,
            "created": time_json(self.record.created_at) or "",
            **{f"metric {name}": text for name, text in metrics.items()},
            "outputs": ", ".join(self.outputs),
        }
        if self.error is not None:
            rows["error"] = self.error.message
        body = "".join(
            f'<tr><th style="text-align:left">{html.escape(k)}</th>'
            f'<td style="text-align:left">{html.escape(str(v))}</td></tr>'
            for k, v in rows.items()
        )
        return f"<table>{body}</table>"


def settle(record: RunRecord, catalog: Catalog) -> RunRecord:
    """Return a run as it is to be read: one whose process is known dead has crashed, and its open nodes too.

    The catalog keeps what the process wrote last; who writes next stores what this says of the run.
    """
    if is_abandoned(record, catalog):
        assert record.process is not None, "what is abandoned had a process"
        error = record.error or describe_crash(record.process)
        ended = catalog.find_last_sign(record.id)
        record = replace(record, status=Status.CRASHED, error=error, finished_at=ended)
    if record.status is not Status.CRASHED:
        return record
    nodes = tuple(n if n.status.is_final else replace(n, status=Status.CRASHED) for n in record.nodes)
    return replace(record, nodes=nodes)


def is_abandoned(record: RunRecord, catalog: Catalog) -> bool:
    """Tell whether a run that has not ended can never end, because its process is gone."""
    return not record.status.is_final and record.process is not None and is_gone(catalog, record.process)


def find_duration_s(started: datetime | None, finished: datetime | None, status: Status) -> float | None:
    """Return seconds between two times, or until now while `status` is RUNNING; None where unknown."""
    if started is None:
        return None
    if finished is None:
        return (datetime.now(UTC) - started).total_seconds() if status is Status.RUNNING else None
    return (finished - started).total_seconds()


def verdict_json(found: Reproduction) -> dict[str, Any]:
    """Return a verdict as JSON values, without what became of each node."""
    return {
        "verdict": found.verdict,
        "at": time_json(found.at),
        "owner": found.owner,
        "times": found.times,
        "diverged": to_plain(found.diverged),
        "packages": to_plain(found.packages),
    }


def reproduction_json(found: Reproduction) -> dict[str, Any]:
    """Return a verdict as JSON values, with what became of each node."""
    return {"run_id": found.run_id, **verdict_json(found), "nodes": to_plain(found.nodes)}


def node_json(node: NodeRun) -> dict[str, Any]:
    return {
        "name": node.name,
        "operator": node.operator,
        "status": node.status.value,
        "cached": node.cached,
        "cached_from": node.cached_from,
        "miss_reason": node.miss_reason,
        "attempt": node.attempt,
        "started_at": time_json(node.started_at),
        "finished_at": time_json(node.finished_at),
        "cache_key": node.cache_key,
        "inputs": dict(node.inputs),
        "outputs": {o.name: output_json(o) for o in node.outputs},
        "error": error_json(node.error),
    }


def output_json(output: OutputRecord) -> dict[str, Any]:
    return {"type": output.type, "hash": output.hash, "value": to_plain(output.value)}


def error_json(error: ErrorInfo | None) -> dict[str, str] | None:
    if error is None:
        return None
    return {"type": error.type, "message": error.message, "traceback": error.traceback}


def time_json(at: datetime | None) -> str | None:
    """Return a time as ISO 8601 in UTC, microseconds included, so that texts sort as times."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="microseconds")


def _preview_of(artifact: Artifact | None) -> Any:
    return None if artifact is None else to_plain(artifact.preview)


def to_plain(value: Any) -> Any:
    """Return a value that every JSON parser reads: NaN and infinity become text, for JSON lacks them."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain(v) for v in value]
    if isinstance(value, datetime):
        return time_json(value) if value.tzinfo else value.isoformat()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
