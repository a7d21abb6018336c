"""Frozen values that travel between the catalog, the engine and the client.

Times are aware UTC. Table rows never leave `catalog/`; these do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


def clean(text: str) -> str:
    """Return text that every database takes: no NUL, no lone half of a surrogate pair."""
    if "\0" in text:
        text = text.replace("\0", "�")
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text


class Status(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"
    CRASHED = "CRASHED"
    PRUNED = "PRUNED"

    @property
    def is_final(self) -> bool:
        return self not in (Status.PENDING, Status.RUNNING)


@dataclass(frozen=True)
class Artifact:
    """A stored value.

    Attributes:
        hash: canonical content hash, hex; the address.
        codec: name and format number of the codec that reads the bytes, such as "table/1".
        type: the Python type for people, such as "pandas.DataFrame".
        size_bytes: length of the stored bytes.
        checksum: blake3 of the stored bytes, hex.
        inline: the stored bytes themselves where they are small, else None.
        path: location below the store's root, or an absolute URL for a value kept by reference.
        preview: what a page shows without loading: for a table its schema, first rows and statistics.
    """

    hash: str
    codec: str
    type: str
    size_bytes: int
    checksum: str
    inline: bytes | None = None
    path: str | None = None
    preview: Mapping[str, Any] | None = None


# What stands between an exception and the one before it, in a stored traceback.
CAUSED_BY = "It was caused by:"
RAISED_WHILE = "It was raised while this exception was handled:"


@dataclass(frozen=True)
class ErrorInfo:
    """A failure as it is stored and shown; `traceback` holds the user's frames first.

    Of a chain of exceptions it begins with what was raised last.
    """

    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True)
class MetricPoint:
    name: str
    value: float
    step: int | None = None
    at: datetime | None = None


def find_curve(points: Iterable[MetricPoint], metric: str) -> list[tuple[int, float]]:
    """Return step and value of what a run's nodes reported of a metric, in order.

    A node's name stands before that of a metric which is also an output of the workflow.
    """
    return [
        (p.step, p.value)
        for p in points
        if p.step is not None and (p.name == metric or p.name.endswith(f".{metric}"))
    ]


@dataclass(frozen=True)
class LogLine:
    at: datetime
    level: str
    message: str
    node: str | None = None


@dataclass(frozen=True)
class OperatorVersion:
    """One version of an operator's code; `fingerprint` tells versions apart."""

    name: str
    fingerprint: str
    module: str
    source: str
    doc: str
    interface: Mapping[str, Any]
    first_seen: datetime | None = None


@dataclass(frozen=True)
class WorkflowVersion:
    """One version of a workflow's code with its compiled graph."""

    name: str
    fingerprint: str
    module: str
    source: str
    doc: str
    interface: Mapping[str, Any]
    graph: Mapping[str, Any]
    first_seen: datetime | None = None


@dataclass(frozen=True)
class CodeInfo:
    """Where the code of a run came from.

    Attributes:
        dirty: whether files of the commit were changed, or git did not say in time.
        snapshot: hash of the stored source.
        diff: hash of the stored changes to the commit, where it is dirty.
    """

    commit: str | None = None
    branch: str | None = None
    dirty: bool = False
    snapshot: str | None = None
    diff: str | None = None


@dataclass(frozen=True)
class Environment:
    """Packages by version, Python and machine of a run; `id` is their hash."""

    id: str
    python: str
    packages: Mapping[str, str]
    machine: Mapping[str, Any]


@dataclass(frozen=True)
class Owner:
    """The process that writes a run: enough to know whether it still lives (see `lease`)."""

    host: str
    pid: int
    pid_started: float
    boot_id: str


def describe_crash(process: Owner) -> ErrorInfo:
    """Return the error of a run whose process ended without finishing it."""
    return ErrorInfo(
        "Crashed",
        f"its process (pid {process.pid} on {process.host}) ended without finishing it; "
        "finished nodes are kept and a new run takes them from the cache",
    )


@dataclass(frozen=True)
class OutputRecord:
    """An output of a run or a node; `value` is set for scalars."""

    name: str
    hash: str
    type: str
    value: Any = None


@dataclass(frozen=True)
class NodeRun:
    """One execution, hit or skip of a node.

    Attributes:
        position: index in the compiled order.
        cached_from: id of the run whose result was used, for a hit; None where that run was gone.
        miss_reason: why it ran, as it was known at the time, such as "input 'rows' changed".
        inputs: name of the input to content hash (None for a secret).
        metrics: points that the operator reported.
    """

    name: str
    operator: str
    position: int
    status: Status
    fingerprint: str = ""
    cached: bool = False
    cached_from: str | None = None
    attempt: int = 1
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cache_key: str | None = None
    miss_reason: str | None = None
    inputs: Mapping[str, str | None] = field(default_factory=dict)
    outputs: tuple[OutputRecord, ...] = ()
    metrics: tuple[MetricPoint, ...] = ()
    error: ErrorInfo | None = None


@dataclass(frozen=True)
class CacheEntry:
    """What a cache key stands for: outputs by name, and the metrics that are replayed."""

    key: str
    run_id: str
    node: str
    outputs: tuple[OutputRecord, ...]
    metrics: tuple[MetricPoint, ...] = ()


@dataclass(frozen=True)
class Change:
    """One thing in which a run differs from its parent.

    Attributes:
        kind: "param", "operator" (of a node) or "code".
        name: of the parameter or node; "code" for the workflow's own code.
        before, after: as JSON; an operator by its name, code by its fingerprint.
    """

    kind: str
    name: str
    before: Any
    after: Any


VERDICTS = ("REPRODUCED", "DRIFTED", "ENVIRONMENT-CHANGED")


@dataclass(frozen=True)
class Reproduction:
    """What came of running a run again, without the cache, to compare.

    Attributes:
        verdict: "REPRODUCED", "DRIFTED" or "ENVIRONMENT-CHANGED".
        times: how often it ran.
        diverged: the first node in the order of the graph that gave something else, as JSON: node, operator,
            difference.
        nodes: what became of each node, as JSON: node, operator, verdict, difference.
        packages: what is installed in another version than then, and what of the machine is another, as JSON:
            name, before, now.
    """

    run_id: str
    verdict: str
    at: datetime
    owner: str
    times: int = 1
    diverged: Mapping[str, Any] | None = None
    nodes: tuple[Mapping[str, Any], ...] = ()
    packages: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class RunRecord:
    """A run with everything that a person may ask about it.

    Attributes:
        params: name to value as JSON; a table or file is `{"type":…, "hash":…, "source":…}`, a secret "***".
        metrics: the last value of each metric.
        nodes: in compiled order; empty where the record was listed without them.
        changes: in what it differs from its parent.
        reproduction: the latest verdict on whether it comes out equal.
        prefect_flow_run_id: id of the Prefect flow run, if there was one.
        prefect_api_url: the server that holds it.
    """

    id: str
    workflow: str
    experiment: str
    status: Status
    owner: str
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    workflow_fingerprint: str = ""
    executor: str = "prefect"
    run_seed: int = 0
    params: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, OutputRecord] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""
    error: ErrorInfo | None = None
    parent_id: str | None = None
    changes: tuple[Change, ...] = ()
    reproduction: Reproduction | None = None
    sweep_id: str | None = None
    trial_number: int | None = None
    code: CodeInfo = CodeInfo()
    environment: Environment | None = None
    process: Owner | None = None
    command: str = ""
    prefect_flow_run_id: str | None = None
    prefect_api_url: str | None = None
    cancel_requested: bool = False
    deleted_at: datetime | None = None
    nodes: tuple[NodeRun, ...] = ()


@dataclass(frozen=True)
class ExperimentSummary:
    """An experiment with what ran in it; runs that are deleted are not counted."""

    name: str
    run_count: int
    trial_count: int
    completed_count: int
    failed_count: int
    last_run_at: datetime | None = None


@dataclass(frozen=True)
class WorkflowSummary:
    """A workflow, by name, with how its runs ended; `run_count` includes trials."""

    name: str
    doc: str
    version_count: int
    run_count: int
    trial_count: int
    completed_count: int
    failed_count: int
    last_run_at: datetime | None = None


@dataclass(frozen=True)
class OperatorSummary:
    """An operator, by name, with how it fared.

    Attributes:
        workflow_count: how many workflows use it.
        executed_count: node runs that called it; hits are not among them.
        cached_count: node runs that took its result from the cache.
        success_rate: completed of executed; None where it never ran.
        mean_duration_s: of the node runs that ran and completed.
    """

    name: str
    doc: str
    version_count: int
    workflow_count: int
    executed_count: int
    cached_count: int
    success_rate: float | None = None
    mean_duration_s: float | None = None
    last_run_at: datetime | None = None


@dataclass(frozen=True)
class WorkflowDetail:
    """A workflow with its versions, newest first, and the names of the operators that they call."""

    summary: WorkflowSummary
    versions: tuple[WorkflowVersion, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True)
class OperatorDetail:
    """An operator with its versions, newest first, and the names of the workflows that use it."""

    summary: OperatorSummary
    versions: tuple[OperatorVersion, ...]
    workflows: tuple[str, ...]


@dataclass(frozen=True)
class ArtifactUse:
    """Where an artifact came from or went.

    Attributes:
        node: None for a parameter of the run itself.
        role: "output" or "input" of the node, or "param" of the run.
        name: of the output, input or parameter.
        cached: whether the node took the result from the cache.
    """

    run_id: str
    workflow: str
    node: str | None
    operator: str | None
    role: str
    name: str
    cached: bool = False


@dataclass(frozen=True)
class SavedView:
    """A list of runs that somebody wants to see again.

    Attributes:
        query: that of the address of the list's page, such as "workflow=delays&order=metric.auc".
    """

    name: str
    query: str
    created_at: datetime | None = None


@dataclass(frozen=True)
class SweepRecord:
    """A search over a workflow's parameters.

    Attributes:
        metrics: what is searched for, each with its direction in `modes` ("max" or "min").
        spec: how it was asked for, as JSON: space, params, trials, search, stop, seed, run_seed, parallel,
            executor, cache, max_failures.
        counts: trials by status.
        node_executions: how often each operator ran for it.
        process: who drives it.
    """

    id: str
    workflow: str
    experiment: str
    status: Status
    owner: str
    created_at: datetime
    metrics: tuple[str, ...]
    modes: tuple[str, ...]
    spec: Mapping[str, Any] = field(default_factory=dict)
    started_at: datetime | None = None
    finished_at: datetime | None = None
    workflow_fingerprint: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""
    error: ErrorInfo | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    node_executions: Mapping[str, int] = field(default_factory=dict)
    code: CodeInfo = CodeInfo()
    process: Owner | None = None
    command: str = ""
    prefect_flow_run_id: str | None = None
    prefect_api_url: str | None = None
    stop_requested: bool = False


@dataclass(frozen=True)
class TrialRecord:
    """One point of a sweep.

    Attributes:
        point: the parameters that the sweep varies, as JSON.
        values: of the sweep's metrics, in their order; None where there is none.
    """

    number: int
    run_id: str
    status: Status
    point: Mapping[str, Any]
    values: tuple[float | None, ...]
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: ErrorInfo | None = None


@dataclass(frozen=True)
class TrialEnd:
    """How a trial ended."""

    run_id: str
    status: Status
    finished_at: datetime
    outputs: tuple[OutputRecord, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    metrics: tuple[MetricPoint, ...] = ()
    error: ErrorInfo | None = None


@dataclass
class TrialBatch:
    """What has happened in a sweep since it was last written down.

    Attributes:
        begun: runs that began, each with the version of the workflow that it runs.
        parts: hashes of what their parameters consist of, each with its run.
        nodes: how nodes ended, by run and name.
        entries: what may be taken from the cache now, by key.
        lines: log lines, each with its run.
    """

    begun: list[tuple[RunRecord, WorkflowVersion]] = field(default_factory=list)
    parts: list[tuple[str, str]] = field(default_factory=list)
    nodes: dict[tuple[str, str], NodeRun] = field(default_factory=dict)
    artifacts: list[Artifact] = field(default_factory=list)
    entries: dict[str, CacheEntry] = field(default_factory=dict)
    lines: list[tuple[str, LogLine]] = field(default_factory=list)
    ended: list[TrialEnd] = field(default_factory=list)
