"""Runs no longer record where their catalog is: an address may hold a password, and readers see the runs."""

from alembic import op

from geocorrect.catalog.literal_sql import run_sql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        # Some are stored as an object, others as a text that holds one.
        run_sql(
            connection,
            "UPDATE run SET config = CASE jsonb_typeof(config) "
            "WHEN 'string' THEN to_jsonb(((config #>> '{}')::jsonb - 'catalog')::text) ELSE config - 'catalog' END "
            "WHERE (config #>> '{}')::jsonb ? 'catalog'",
        )
        return
    # Otherwise what was deleted stays readable in the free bytes of the file's pages.
    run_sql(connection, "PRAGMA secure_delete = ON")
    run_sql(
        connection,
        "UPDATE run SET config = json_remove(config, '$.catalog') WHERE json_extract(config, '$.catalog') IS NOT NULL",
    )
