"""Reviews: who decided what about a pose; and results by the time when they were stored.

A table and two indices are added.
"""

from pathlib import Path

from alembic import op

from geocorrect.catalog.geopackage.database import register_table
from geocorrect.catalog.literal_sql import run_sql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql"


def upgrade() -> None:
    connection = op.get_bind()
    dialect = connection.dialect.name
    script = (SQL / f"0005_review.{dialect}.sql").read_text(encoding="utf-8")
    for statement in script.strip().removesuffix(";").split(";\n\n"):
        run_sql(connection, statement)
    if dialect == "sqlite":
        register_table(connection, "review", None)
