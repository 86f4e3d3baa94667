"""Runs no longer record where their catalog is: an address may hold a password, and readers see the runs.

On a server, JSON that was stored as a text that holds it becomes what it holds, so that SQL finds its parts.
"""

from alembic import op

from geocorrect.catalog.literal_sql import run_sql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ENCODED_TWICE = {
    "alignment": ("details",),
    "anchor": ("camera", "lidar"),
    "image": ("computed_pose", "camera", "provider"),
    "run": ("config",),
}


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for table, columns in ENCODED_TWICE.items():
            for column in columns:
                run_sql(
                    connection,
                    f"UPDATE {table} SET {column} = ({column} #>> '{{}}')::jsonb "
                    f"WHERE jsonb_typeof({column}) = 'string'",
                )
        run_sql(connection, "UPDATE run SET config = config - 'catalog' WHERE config ? 'catalog'")
        return
    # Otherwise what was deleted stays readable in the free bytes of the file's pages.
    run_sql(connection, "PRAGMA secure_delete = ON")
    run_sql(
        connection,
        "UPDATE run SET config = json_remove(config, '$.catalog') WHERE json_extract(config, '$.catalog') IS NOT NULL",
    )
