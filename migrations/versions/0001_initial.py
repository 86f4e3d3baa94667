"""The first schema, frozen: tables as SQL text beside this file, GeoPackage registration below."""

from pathlib import Path

from alembic import op

from geocorrect.catalog.geopackage.database import SpatialColumn, bootstrap, register_table
from geocorrect.catalog.literal_sql import run_sql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql"
POINT, POINT_Z = SpatialColumn("POINT", has_z=False), SpatialColumn("POINT", has_z=True)
GEOPACKAGE_TABLES = {
    "frame": POINT,
    "alignment": None,
    "anchor": POINT_Z,
    "image": POINT,
    "image_history": None,
    "reason": None,
    "run": None,
    "correction": POINT_Z,
    "pair": None,
    "retraction": None,
}


def upgrade() -> None:
    connection = op.get_bind()
    dialect = connection.dialect.name
    if dialect == "sqlite":
        bootstrap(connection)
    script = (SQL / f"0001_initial.{dialect}.sql").read_text(encoding="utf-8")
    for statement in script.strip().removesuffix(";").split(";\n\n"):
        run_sql(connection, statement)
    if dialect == "sqlite":
        for table, spatial in GEOPACKAGE_TABLES.items():
            register_table(connection, table, spatial)
