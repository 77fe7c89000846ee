"""Alembic's own entry: runs on the connection that `migrate.upgrade` hands it."""

from __future__ import annotations

from alembic import context

from broadcaster.ledger import schema

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=schema.metadata,
    transactional_ddl=False,
    render_as_batch=False,
)
context.run_migrations()
if connection.in_transaction():
    connection.commit()
