"""What the views were made from, so that a catalog that is up to date is only looked at.

A column is only added, to a table without geometry.
"""

from alembic import op

from geocorrect.catalog.literal_sql import run_sql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MADE_FROM = "hash of the text of views, styles and reasons that the latest upgrade made"


def upgrade() -> None:
    connection = op.get_bind()
    run_sql(connection, "ALTER TABLE geocorrect_version ADD COLUMN made_from TEXT")
    if connection.dialect.name == "postgresql":
        run_sql(connection, f"COMMENT ON COLUMN geocorrect_version.made_from IS '{MADE_FROM}'")
