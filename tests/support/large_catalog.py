"""A catalog of hundreds of thousands of photos on a server, made by the server itself: for plans and their times."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from geocorrect.catalog import Catalog
from geocorrect.catalog.literal_sql import run_sql
from geocorrect.catalog.run import RunManifest
from support import catalog_world as world

_SCRIPT = Path(__file__).with_suffix(".sql")
_SPATIAL_INDEXES = (
    "select indexname, indexdef from pg_indexes where schemaname = 'geocorrect' and indexdef like '%USING gist%'"
)


def fill_large(catalog: Catalog, n_photos: int) -> None:
    """Fill an empty PostGIS catalog with photos, results, and an anchor for every tenth photo.

    The spatial indexes are made at the end, as a restored backup does it: row by row they take most of the time.
    """
    catalog.set_frame(world.ROME)
    catalog.add_alignment(world.alignment())
    catalog.upsert_anchors(world.anchor(i) for i in range(50))
    for key in ("run-a", "run-b", "run-c"):
        catalog.begin_run(RunManifest(key, datetime(2026, 3, 1, tzinfo=UTC), matcher="sift", depth="lidar"))
    with catalog.engine.connect() as connection, connection.begin():
        spatial = connection.execute(text(_SPATIAL_INDEXES)).all()
        for name, _ in spatial:
            connection.execute(text(f"drop index {name}"))
        script = _SCRIPT.read_text(encoding="utf-8").split("\n\n", 1)[1]
        for statement in script.split(";\n\n"):
            run_sql(connection, statement.replace("{last}", str(n_photos - 1)))
        for _, definition in spatial:
            run_sql(connection, definition)
        run_sql(connection, "analyze")
