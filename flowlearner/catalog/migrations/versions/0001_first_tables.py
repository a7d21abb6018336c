"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# PostgreSQL would else sort and compare by the rules of a language.
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "artifact",
        sa.Column("hash", TEXT, nullable=False),
        sa.Column("codec", TEXT, nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("checksum", TEXT, nullable=False),
        sa.Column("path", TEXT, nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("preview", TEXT, nullable=True),
        sa.Column("inline", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_artifact")),
    )
    op.create_table(
        "cache_entry",
        sa.Column("key", TEXT, nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("node", TEXT, nullable=False),
        sa.Column("outputs", TEXT, nullable=False),
        sa.Column("metrics", TEXT, nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_cache_entry")),
    )
    op.create_table(
        "environment",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("python", TEXT, nullable=False),
        sa.Column("packages", TEXT, nullable=False),
        sa.Column("machine", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environment")),
    )
    op.create_table(
        "experiment",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_experiment")),
    )
    op.create_table(
        "file_hash",
        sa.Column("path", TEXT, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("ctime_ns", sa.BigInteger(), nullable=False),
        sa.Column("inode", sa.BigInteger(), nullable=False),
        sa.Column("hash", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_file_hash")),
    )
    op.create_table(
        "graph",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_graph")),
    )
    op.create_table(
        "operator_version",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("fingerprint", TEXT, nullable=False),
        sa.Column("module", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("doc", TEXT, nullable=False),
        sa.Column("interface", TEXT, nullable=False),
        sa.Column("first_seen_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "fingerprint", name=op.f("pk_operator_version")),
    )
    op.create_index(
        op.f("ix_operator_version_fingerprint"), "operator_version", ["fingerprint"], unique=False
    )
    op.create_table(
        "run",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("workflow", TEXT, nullable=False),
        sa.Column("workflow_fingerprint", TEXT, nullable=False),
        sa.Column("graph_id", TEXT, nullable=True),
        sa.Column("experiment", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("owner", TEXT, nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=True),
        sa.Column("finished_us", sa.BigInteger(), nullable=True),
        sa.Column("executor", TEXT, nullable=False),
        sa.Column("run_seed", sa.BigInteger(), nullable=False),
        sa.Column("parent_id", TEXT, nullable=True),
        sa.Column("sweep_id", TEXT, nullable=True),
        sa.Column("trial_number", sa.BigInteger(), nullable=True),
        sa.Column("code_commit", TEXT, nullable=True),
        sa.Column("code_branch", TEXT, nullable=True),
        sa.Column("code_dirty", sa.Boolean(), nullable=False),
        sa.Column("code_snapshot", TEXT, nullable=True),
        sa.Column("environment_id", TEXT, nullable=True),
        sa.Column("process_host", TEXT, nullable=True),
        sa.Column("process_pid", sa.BigInteger(), nullable=True),
        sa.Column("process_started", sa.Double(), nullable=True),
        sa.Column("process_boot", TEXT, nullable=True),
        sa.Column("prefect_flow_run_id", TEXT, nullable=True),
        sa.Column("prefect_api_url", TEXT, nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("deleted_us", sa.BigInteger(), nullable=True),
        sa.Column("node_count", sa.BigInteger(), nullable=False),
        sa.Column("cached_count", sa.BigInteger(), nullable=False),
        sa.Column("error_type", TEXT, nullable=True),
        sa.Column("command", TEXT, nullable=False),
        sa.Column("notes", TEXT, nullable=False),
        sa.Column("params", TEXT, nullable=False),
        sa.Column("outputs", TEXT, nullable=False),
        sa.Column("error", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
    )
    op.create_index("ix_run_created", "run", ["created_us", "id"], unique=False)
    op.create_index("ix_run_deleted", "run", ["deleted_us"], unique=False)
    op.create_index("ix_run_experiment", "run", ["experiment", "created_us"], unique=False)
    op.create_index("ix_run_listing", "run", ["trial_number", "deleted_us", "created_us", "id"], unique=False)
    op.create_index("ix_run_owner", "run", ["owner", "created_us"], unique=False)
    op.create_index("ix_run_parent", "run", ["parent_id"], unique=False)
    op.create_index("ix_run_status", "run", ["status", "created_us"], unique=False)
    op.create_index("ix_run_sweep", "run", ["sweep_id", "trial_number"], unique=False)
    op.create_index("ix_run_workflow", "run", ["workflow", "created_us"], unique=False)
    op.create_table(
        "table_hash",
        sa.Column("file_hash", TEXT, nullable=False),
        sa.Column("reader", TEXT, nullable=False),
        sa.Column("table_hash", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("file_hash", "reader", name=op.f("pk_table_hash")),
    )
    op.create_table(
        "workflow_operator",
        sa.Column("operator", TEXT, nullable=False),
        sa.Column("operator_fingerprint", TEXT, nullable=False),
        sa.Column("workflow", TEXT, nullable=False),
        sa.Column("workflow_fingerprint", TEXT, nullable=False),
        sa.PrimaryKeyConstraint(
            "operator",
            "operator_fingerprint",
            "workflow",
            "workflow_fingerprint",
            name=op.f("pk_workflow_operator"),
        ),
    )
    op.create_index(
        op.f("ix_workflow_operator_workflow_workflow_fingerprint"),
        "workflow_operator",
        ["workflow", "workflow_fingerprint"],
        unique=False,
    )
    op.create_table(
        "workflow_version",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("fingerprint", TEXT, nullable=False),
        sa.Column("module", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("doc", TEXT, nullable=False),
        sa.Column("interface", TEXT, nullable=False),
        sa.Column("graph_id", TEXT, nullable=False),
        sa.Column("first_seen_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "fingerprint", name=op.f("pk_workflow_version")),
    )
    op.create_index(
        op.f("ix_workflow_version_fingerprint"), "workflow_version", ["fingerprint"], unique=False
    )
    op.create_table(
        "artifact_use",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("node", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("hash", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_artifact_use_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "node", "role", "name", name=op.f("pk_artifact_use")),
    )
    op.create_index("ix_artifact_use_hash", "artifact_use", ["hash", "role"], unique=False)
    op.create_table(
        "log_line",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("node", TEXT, nullable=True),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("level", TEXT, nullable=False),
        sa.Column("message", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_log_line_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_line")),
    )
    op.create_index("ix_log_line_run", "log_line", ["run_id", "id"], unique=False)
    op.create_table(
        "metric",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("is_finite", sa.Boolean(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("least", sa.Double(), nullable=True),
        sa.Column("greatest", sa.Double(), nullable=True),
        sa.Column("step", sa.BigInteger(), nullable=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_metric_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("pk_metric")),
    )
    op.create_index("ix_metric_value", "metric", ["name", "is_finite", "value", "run_id"], unique=False)
    op.create_table(
        "metric_point",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("at_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_metric_point_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metric_point")),
    )
    op.create_index("ix_metric_point_run", "metric_point", ["run_id", "name", "id"], unique=False)
    op.create_table(
        "node_run",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("workflow", TEXT, nullable=False),
        sa.Column("operator", TEXT, nullable=False),
        sa.Column("fingerprint", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("cached", sa.Boolean(), nullable=False),
        sa.Column("cached_from", TEXT, nullable=True),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=True),
        sa.Column("finished_us", sa.BigInteger(), nullable=True),
        sa.Column("cache_key", TEXT, nullable=True),
        sa.Column("miss_reason", TEXT, nullable=True),
        sa.Column("inputs", TEXT, nullable=False),
        sa.Column("outputs", TEXT, nullable=False),
        sa.Column("metrics", TEXT, nullable=True),
        sa.Column("error", TEXT, nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_node_run_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("pk_node_run")),
    )
    op.create_index("ix_node_run_latest", "node_run", ["workflow", "name", "finished_us"], unique=False)
    op.create_index("ix_node_run_operator", "node_run", ["operator", "fingerprint"], unique=False)
    op.create_table(
        "param",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("number", sa.Double(), nullable=True),
        sa.Column("text", TEXT, nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_param_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("pk_param")),
    )
    op.create_index("ix_param_number", "param", ["name", "number", "run_id"], unique=False)
    op.create_index("ix_param_text", "param", ["name", "text", "run_id"], unique=False)
    op.create_table(
        "tag",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_tag_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("pk_tag")),
    )
    op.create_index("ix_tag_value", "tag", ["name", "value", "run_id"], unique=False)
