"""Runs migrations on the connection that the catalog hands over.

To write a new revision: change tables.py, add the revision to KNOWN_SCHEMAS, set SCHEMA, write
versions/NNNN_words.py, and keep a catalog of the old schema in tests/golden.
"""

from __future__ import annotations

from alembic import context

from flowlearner.catalog.tables import METADATA

connection = context.config.attributes["connection"]
# Batch: SQLite cannot change a column in place, so Alembic copies the table.
context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
