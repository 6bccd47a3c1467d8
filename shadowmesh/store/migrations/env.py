"""What Alembic runs around every migration: on the connection, and in the transaction, of whoever upgrades."""

from __future__ import annotations

from alembic import context

from shadowmesh.store.schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
