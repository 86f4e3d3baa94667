"""Alembic environment: runs on the connection that `geocorrect.catalog.migrate` hands over; no alembic.ini needed."""

from alembic import context

from geocorrect.catalog.schema import VERSION_TABLE, metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, version_table=VERSION_TABLE, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
