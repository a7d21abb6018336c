"""Sweeps."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sweep",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("workflow_fingerprint", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=True),
        sa.Column("finished_us", sa.BigInteger(), nullable=True),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("node_executions", sa.Text(), nullable=False),
        sa.Column("code_commit", sa.Text(), nullable=True),
        sa.Column("code_branch", sa.Text(), nullable=True),
        sa.Column("code_dirty", sa.Boolean(), nullable=False),
        sa.Column("code_snapshot", sa.Text(), nullable=True),
        sa.Column("process_host", sa.Text(), nullable=True),
        sa.Column("process_pid", sa.BigInteger(), nullable=True),
        sa.Column("process_started", sa.Double(), nullable=True),
        sa.Column("process_boot", sa.Text(), nullable=True),
        sa.Column("prefect_flow_run_id", sa.Text(), nullable=True),
        sa.Column("prefect_api_url", sa.Text(), nullable=True),
        sa.Column("stop_requested", sa.Boolean(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweep")),
    )
    op.create_index("ix_sweep_created", "sweep", ["created_us", "id"], unique=False)
    op.create_index("ix_sweep_status", "sweep", ["status"], unique=False)
