"""What `anchors check` found: how wrong the anchors' poses are. A column is added; nothing becomes due."""

from alembic import op

from geocorrect.catalog.literal_sql import run_sql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MEANING = "how wrong the pose is by what the anchors of its drive say about each other (anchors check), JSON"


def upgrade() -> None:
    connection = op.get_bind()
    on_server = connection.dialect.name == "postgresql"
    run_sql(connection, f"ALTER TABLE anchor ADD COLUMN noise {'JSONB' if on_server else 'TEXT'}")
    if on_server:
        run_sql(connection, f"COMMENT ON COLUMN anchor.noise IS '{MEANING}'")
