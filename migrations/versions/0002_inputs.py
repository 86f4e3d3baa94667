"""What a result rests on: hashes of anchors and inputs, generations of a run.

Columns are only added, so no table with geometry is rebuilt. Results of before have no input hash: every photo is due
once after this upgrade. The hashes of the anchors already stored are filled in by `geocorrect.catalog.migrate`.
"""

from alembic import op

from geocorrect.catalog.literal_sql import run_sql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = {
    "anchor": {
        "content_hash": (
            "TEXT",
            "TEXT",
            "hash of everything that a result takes from the anchor, its georeference included",
        ),
    },
    "run": {
        "config_key": ("TEXT", 'TEXT COLLATE "C"', "hash of configuration, code and weights; NULL before schema 0002"),
        "generation": (
            "INTEGER",
            "INTEGER",
            "counts the runs of one config_key from 1: a new one begins when a photo gets another result",
        ),
        "n_due": ("INTEGER", "INTEGER", "photos that were due at the latest start"),
    },
    "correction": {
        "input_hash": (
            "TEXT",
            "TEXT",
            "hash of photo and candidate anchors that the result rests on; NULL before schema 0002",
        ),
    },
}
"""Table → column → type in a GeoPackage, type in PostGIS, explanation."""

COMMENTS = {
    "TABLE run": (
        "A configuration and its results; run again it goes on in the same row until a photo gets a new result."
    ),
    "COLUMN run.run_key": "hash of config_key and generation",
    "COLUMN run.alignment_version": "hash of all anchors and their georeference when the run began",
}


def upgrade() -> None:
    connection = op.get_bind()
    on_server = connection.dialect.name == "postgresql"
    for table, columns in COLUMNS.items():
        for column, (in_file, in_server, meaning) in columns.items():
            run_sql(connection, f"ALTER TABLE {table} ADD COLUMN {column} {in_server if on_server else in_file}")
            if on_server:
                run_sql(connection, f"COMMENT ON COLUMN {table}.{column} IS '{meaning}'")
    if on_server:
        for what, meaning in COMMENTS.items():
            run_sql(connection, f"COMMENT ON {what} IS '{meaning}'")
