"""Sweeps."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# PostgreSQL would else sort and compare by the rules of a language.
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "sweep",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("workflow", TEXT, nullable=False),
        sa.Column("workflow_fingerprint", TEXT, nullable=False),
        sa.Column("experiment", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("owner", TEXT, nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=True),
        sa.Column("finished_us", sa.BigInteger(), nullable=True),
        sa.Column("metrics", TEXT, nullable=False),
        sa.Column("spec", TEXT, nullable=False),
        sa.Column("tags", TEXT, nullable=False),
        sa.Column("notes", TEXT, nullable=False),
        sa.Column("error", TEXT, nullable=True),
        sa.Column("node_executions", TEXT, nullable=False),
        sa.Column("code_commit", TEXT, nullable=True),
        sa.Column("code_branch", TEXT, nullable=True),
        sa.Column("code_dirty", sa.Boolean(), nullable=False),
        sa.Column("code_snapshot", TEXT, nullable=True),
        sa.Column("process_host", TEXT, nullable=True),
        sa.Column("process_pid", sa.BigInteger(), nullable=True),
        sa.Column("process_started", sa.Double(), nullable=True),
        sa.Column("process_boot", TEXT, nullable=True),
        sa.Column("prefect_flow_run_id", TEXT, nullable=True),
        sa.Column("prefect_api_url", TEXT, nullable=True),
        sa.Column("stop_requested", sa.Boolean(), nullable=False),
        sa.Column("command", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweep")),
    )
    op.create_index("ix_sweep_created", "sweep", ["created_us", "id"], unique=False)
    op.create_index("ix_sweep_status", "sweep", ["status"], unique=False)
