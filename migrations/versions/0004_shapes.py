"""Shapes of results on a server too, and what the views were made from.

A table is added, on a server, and a column to a table without geometry. The shapes of the results already stored are
filled in by `geocorrect.catalog.migrate`.
"""

from pathlib import Path

from alembic import op

from geocorrect.catalog.literal_sql import run_sql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql"
MADE_FROM = "hash of the text of views, styles and reasons that the latest upgrade made"


def upgrade() -> None:
    connection = op.get_bind()
    run_sql(connection, "ALTER TABLE geocorrect_version ADD COLUMN made_from TEXT")
    if connection.dialect.name == "postgresql":
        run_sql(connection, f"COMMENT ON COLUMN geocorrect_version.made_from IS '{MADE_FROM}'")
        script = (SQL / "0004_shapes.postgresql.sql").read_text(encoding="utf-8")
        for statement in script.strip().removesuffix(";").split(";\n\n"):
            run_sql(connection, statement)
