"""The catalog's tables. Rows never leave this package; frozen records do.

Conventions, the same on SQLite and PostgreSQL:

- A time is a whole number of microseconds since 1970 in UTC (`..._us`): exact, short to index, and
  the same on every database.
- A text is sorted and compared by its characters, whatever language a PostgreSQL server speaks: prefixes of
  ids are ranges, and lists have one order everywhere.
- A structure is JSON text that `json_text` writes. Not a JSON column: those refuse NaN and infinity.
- A metric that is NaN is stored as NULL, since SQLite cannot store NaN; `is_finite` sorts NaN and
  infinity behind all other values.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

SCHEMA = "0003"
"""Revision of these tables; the newest file in migrations/versions."""

KNOWN_SCHEMAS = ("0001", "0002", "0003")
"""Every revision there has been, oldest first; one that is not listed was made by a newer flowlearner."""

TEXT = Text().with_variant(Text(collation="C"), "postgresql")

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(SQLModel, registry=registry(metadata=MetaData(naming_convention=NAMING))):
    """Keeps the tables apart from SQLModel tables that a user's own process may define."""


def _key() -> Any:
    return Field(primary_key=True, sa_type=TEXT)


def _text() -> Any:
    return Field(default="", sa_type=TEXT)


def _text_or_null() -> Any:
    return Field(default=None, sa_type=TEXT)


def _time() -> Any:
    return Field(default=None, sa_type=BigInteger)


def _whole() -> Any:
    return Field(default=0, sa_type=BigInteger)


def _number() -> Any:
    return Field(default=None, sa_type=Double)


def _row_number() -> Any:
    # SQLite counts rows only where the column's type is INTEGER.
    return Field(default=None, primary_key=True, sa_type=BigInteger().with_variant(Integer(), "sqlite"))


def _of_run() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE")


class ExperimentRow(Base, table=True):
    __tablename__ = "experiment"

    name: str = _key()
    created_us: int = _whole()


class EnvironmentRow(Base, table=True):
    __tablename__ = "environment"

    id: str = _key()
    python: str = _text()
    packages: str = _text()
    machine: str = _text()


class GraphRow(Base, table=True):
    """A compiled graph, by the hash of its JSON: many runs share one, and one workflow may have several."""

    __tablename__ = "graph"

    id: str = _key()
    body: str = _text()


class WorkflowVersionRow(Base, table=True):
    __tablename__ = "workflow_version"

    name: str = _key()
    fingerprint: str = _key()
    module: str = _text()
    source: str = _text()
    doc: str = _text()
    interface: str = _text()
    graph_id: str = _text()
    first_seen_us: int = _whole()

    __table_args__ = (Index(None, "fingerprint"),)


class OperatorVersionRow(Base, table=True):
    __tablename__ = "operator_version"

    name: str = _key()
    fingerprint: str = _key()
    module: str = _text()
    source: str = _text()
    doc: str = _text()
    interface: str = _text()
    first_seen_us: int = _whole()

    __table_args__ = (Index(None, "fingerprint"),)


class WorkflowOperatorRow(Base, table=True):
    """Which version of an operator a version of a workflow calls."""

    __tablename__ = "workflow_operator"

    operator: str = _key()
    operator_fingerprint: str = _key()
    workflow: str = _key()
    workflow_fingerprint: str = _key()

    __table_args__ = (Index(None, "workflow", "workflow_fingerprint"),)


class RunRow(Base, table=True):
    __tablename__ = "run"

    id: str = _key()
    workflow: str = _text()
    workflow_fingerprint: str = _text()
    graph_id: str | None = _text_or_null()
    experiment: str = _text()
    status: str = _text()
    owner: str = _text()
    created_us: int = _whole()
    started_us: int | None = _time()
    finished_us: int | None = _time()
    executor: str = _text()
    run_seed: int = _whole()
    parent_id: str | None = _text_or_null()
    sweep_id: str | None = _text_or_null()
    trial_number: int | None = _time()
    code_commit: str | None = _text_or_null()
    code_branch: str | None = _text_or_null()
    code_dirty: bool = False
    code_snapshot: str | None = _text_or_null()
    environment_id: str | None = _text_or_null()
    process_host: str | None = _text_or_null()
    process_pid: int | None = _time()
    process_started: float | None = _number()
    process_boot: str | None = _text_or_null()
    prefect_flow_run_id: str | None = _text_or_null()
    prefect_api_url: str | None = _text_or_null()
    cancel_requested: bool = False
    deleted_us: int | None = _time()
    node_count: int = _whole()
    cached_count: int = _whole()
    error_type: str | None = _text_or_null()
    command: str = _text()
    notes: str = _text()
    params: str = _text()
    outputs: str = _text()
    error: str | None = _text_or_null()
    code_diff: str | None = _text_or_null()

    __table_args__ = (
        # The usual listing: no trials, nothing deleted, newest first. Both NULLs are equalities to the index.
        Index("ix_run_listing", "trial_number", "deleted_us", "created_us", "id"),
        Index("ix_run_workflow", "workflow", "created_us"),
        Index("ix_run_experiment", "experiment", "created_us"),
        Index("ix_run_status", "status", "created_us"),
        Index("ix_run_owner", "owner", "created_us"),
        Index("ix_run_created", "created_us", "id"),
        Index("ix_run_sweep", "sweep_id", "trial_number"),
        Index("ix_run_parent", "parent_id"),
        Index("ix_run_deleted", "deleted_us"),
    )


class SweepRow(Base, table=True):
    """A search; its trials are runs that name it."""

    __tablename__ = "sweep"

    id: str = _key()
    workflow: str = _text()
    workflow_fingerprint: str = _text()
    experiment: str = _text()
    status: str = _text()
    owner: str = _text()
    created_us: int = _whole()
    started_us: int | None = _time()
    finished_us: int | None = _time()
    metrics: str = _text()
    spec: str = _text()
    tags: str = _text()
    notes: str = _text()
    error: str | None = _text_or_null()
    node_executions: str = _text()
    code_commit: str | None = _text_or_null()
    code_branch: str | None = _text_or_null()
    code_dirty: bool = False
    code_snapshot: str | None = _text_or_null()
    process_host: str | None = _text_or_null()
    process_pid: int | None = _time()
    process_started: float | None = _number()
    process_boot: str | None = _text_or_null()
    prefect_flow_run_id: str | None = _text_or_null()
    prefect_api_url: str | None = _text_or_null()
    stop_requested: bool = False
    command: str = _text()
    code_diff: str | None = _text_or_null()

    __table_args__ = (Index("ix_sweep_created", "created_us", "id"), Index("ix_sweep_status", "status"))


class NodeRunRow(Base, table=True):
    """`workflow` repeats the run's, so that the latest run of a node is one step in an index."""

    __tablename__ = "node_run"

    run_id: str = _key()
    name: str = _key()
    position: int = _whole()
    workflow: str = _text()
    operator: str = _text()
    fingerprint: str = _text()
    status: str = _text()
    cached: bool = False
    cached_from: str | None = _text_or_null()
    attempt: int = _whole()
    started_us: int | None = _time()
    finished_us: int | None = _time()
    cache_key: str | None = _text_or_null()
    miss_reason: str | None = _text_or_null()
    inputs: str = _text()
    outputs: str = _text()
    metrics: str | None = _text_or_null()
    error: str | None = _text_or_null()

    __table_args__ = (
        _of_run(),
        Index("ix_node_run_latest", "workflow", "name", "finished_us"),
        Index("ix_node_run_operator", "operator", "fingerprint"),
    )


class ParamRow(Base, table=True):
    """A scalar parameter in the form that queries compare; the run's own row holds the exact values."""

    __tablename__ = "param"

    run_id: str = _key()
    name: str = _key()
    number: float | None = _number()
    text: str | None = _text_or_null()

    __table_args__ = (
        _of_run(),
        Index("ix_param_number", "name", "number", "run_id"),
        Index("ix_param_text", "name", "text", "run_id"),
    )


class ChangeRow(Base, table=True):
    """One thing in which a run differs from its parent; `number` and `text` are what queries compare."""

    __tablename__ = "change"

    run_id: str = _key()
    kind: str = _key()
    name: str = _key()
    before: str = _text()
    after: str = _text()
    number: float | None = _number()
    text: str | None = _text_or_null()

    __table_args__ = (_of_run(), Index("ix_change_name", "name", "run_id"))


class ReproductionRow(Base, table=True):
    """What came of running a run again to compare; `body` is what diverged, the nodes and the packages."""

    __tablename__ = "reproduction"

    id: int | None = _row_number()
    run_id: str = _text()
    at_us: int = _whole()
    verdict: str = _text()
    owner: str = _text()
    times: int = _whole()
    body: str = _text()

    __table_args__ = (_of_run(), Index("ix_reproduction_run", "run_id", "id"))


class TagRow(Base, table=True):
    __tablename__ = "tag"

    run_id: str = _key()
    name: str = _key()
    value: str = _text()

    __table_args__ = (_of_run(), Index("ix_tag_value", "name", "value", "run_id"))


class MetricRow(Base, table=True):
    """The latest value of each metric of a run, with the least and greatest number it had (NaN apart)."""

    __tablename__ = "metric"

    run_id: str = _key()
    name: str = _key()
    is_finite: bool = True
    value: float | None = _number()
    least: float | None = _number()
    greatest: float | None = _number()
    step: int | None = _time()
    count: int = _whole()

    __table_args__ = (_of_run(), Index("ix_metric_value", "name", "is_finite", "value", "run_id"))


class MetricPointRow(Base, table=True):
    __tablename__ = "metric_point"

    id: int | None = _row_number()
    run_id: str = _text()
    name: str = _text()
    step: int | None = _time()
    value: float | None = _number()
    at_us: int | None = _time()

    __table_args__ = (_of_run(), Index("ix_metric_point_run", "run_id", "name", "id"))


class ArtifactRow(Base, table=True):
    __tablename__ = "artifact"

    hash: str = _key()
    codec: str = _text()
    type: str = _text()
    size_bytes: int = _whole()
    checksum: str = _text()
    path: str | None = _text_or_null()
    created_us: int = _whole()
    # Last, so that reading the columns before it never touches the pages that they fill.
    preview: str | None = _text_or_null()
    inline: bytes | None = Field(default=None, sa_type=LargeBinary)


class ArtifactUseRow(Base, table=True):
    """Who produced and who consumed an artifact; what no kept run uses may go.

    `role` is "output" or "input" of a node, or "result", "param", "snapshot" or "diff" of the run itself
    (node ""); "part" is whatever else was stored for the run, such as each file of a list.
    """

    __tablename__ = "artifact_use"

    run_id: str = _key()
    node: str = _key()
    role: str = _key()
    name: str = _key()
    hash: str = _text()

    __table_args__ = (_of_run(), Index("ix_artifact_use_hash", "hash", "role"))


class CacheEntryRow(Base, table=True):
    """What a cache key stands for. Outlives the run that made it, so `run_id` is no foreign key."""

    __tablename__ = "cache_entry"

    key: str = _key()
    run_id: str = _text()
    node: str = _text()
    outputs: str = _text()
    metrics: str | None = _text_or_null()
    created_us: int = _whole()


class LogLineRow(Base, table=True):
    __tablename__ = "log_line"

    id: int | None = _row_number()
    run_id: str = _text()
    node: str | None = _text_or_null()
    at_us: int = _whole()
    level: str = _text()
    message: str = _text()

    __table_args__ = (_of_run(), Index("ix_log_line_run", "run_id", "id"))


class FileHashRow(Base, table=True):
    """The hash of a file's bytes, valid while its stat is the same."""

    __tablename__ = "file_hash"

    path: str = _key()
    size_bytes: int = _whole()
    mtime_ns: int = _whole()
    ctime_ns: int = _whole()
    inode: int = _whole()
    hash: str = _text()


class TableHashRow(Base, table=True):
    """The table that a file gives when it is read with some settings."""

    __tablename__ = "table_hash"

    file_hash: str = _key()
    reader: str = _key()
    table_hash: str = _text()


class LeaseRow(Base, table=True):
    """When a process that writes runs or sweeps has last said that it lives, by the clock of the database."""

    __tablename__ = "lease"

    id: str = _key()
    beat_us: int = _whole()
    period_us: int = _whole()


class SavedViewRow(Base, table=True):
    """A list of runs that somebody wants to see again; `query` is that of the address of its page."""

    __tablename__ = "saved_view"

    name: str = _key()
    query: str = _text()
    created_us: int = _whole()


METADATA: MetaData = Base.metadata


def _table(name: str) -> Table:
    return METADATA.tables[name]


EXPERIMENT = _table("experiment")
ENVIRONMENT = _table("environment")
GRAPH = _table("graph")
WORKFLOW_VERSION = _table("workflow_version")
OPERATOR_VERSION = _table("operator_version")
WORKFLOW_OPERATOR = _table("workflow_operator")
RUN = _table("run")
SWEEP = _table("sweep")
NODE_RUN = _table("node_run")
PARAM = _table("param")
CHANGE = _table("change")
REPRODUCTION = _table("reproduction")
TAG = _table("tag")
METRIC = _table("metric")
METRIC_POINT = _table("metric_point")
ARTIFACT = _table("artifact")
ARTIFACT_USE = _table("artifact_use")
CACHE_ENTRY = _table("cache_entry")
LOG_LINE = _table("log_line")
FILE_HASH = _table("file_hash")
TABLE_HASH = _table("table_hash")
LEASE = _table("lease")
SAVED_VIEW = _table("saved_view")
