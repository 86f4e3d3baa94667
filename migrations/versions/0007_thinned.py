"""Spatial indices of shares of photos, results and anchors, a 16th to a 4096th: what a map of a whole city reads.

Only on a server; a GeoPackage thins what its one R-tree finds.
"""

from alembic import op

from geocorrect.catalog.literal_sql import run_sql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = ("anchor", "image", "correction")
PARTS = {16: 268435456, 64: 67108864, 256: 16777216, 1024: 4194304, 4096: 1048576}


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    for table in TABLES:
        for part, limit in PARTS.items():
            run_sql(
                connection,
                f"CREATE INDEX ix_{table}_geom_1_of_{part} ON {table} USING gist (geom) "
                f"WHERE fid * 2654435769 % 4294967296 < {limit}",
            )
