"""Sequences: what each says about its results and its device, and which runs a run rests on.

Tables are only added.
"""

from pathlib import Path

from alembic import op

from geocorrect.catalog.geopackage.database import register_table
from geocorrect.catalog.literal_sql import run_sql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql"
TABLES = ("run_basis", "sequence_finding")
SCALE_SOURCE = "what fixed the metric scale: depth, baselines, both, or sequence (the results of other photos)"


def upgrade() -> None:
    connection = op.get_bind()
    dialect = connection.dialect.name
    script = (SQL / f"0003_sequences.{dialect}.sql").read_text(encoding="utf-8")
    for statement in script.strip().removesuffix(";").split(";\n\n"):
        run_sql(connection, statement)
    if dialect == "postgresql":
        run_sql(connection, f"COMMENT ON COLUMN correction.scale_source IS '{SCALE_SOURCE}'")
    else:
        for table in TABLES:
            register_table(connection, table, None)
