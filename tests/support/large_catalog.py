"""A catalog of hundreds of thousands of photos on a server, made by the server itself: for plans and their times."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from geocorrect.catalog import Catalog
from geocorrect.catalog.literal_sql import run_sql
from geocorrect.catalog.run import RunManifest
from support import catalog_world as world

_SCRIPT = Path(__file__).with_suffix(".sql")


def fill_large(catalog: Catalog, n_photos: int) -> None:
    """Fill an empty PostGIS catalog; 300,000 photos take a server about a minute."""
    catalog.set_frame(world.ROME)
    catalog.add_alignment(world.alignment())
    catalog.upsert_anchors(world.anchor(i) for i in range(50))
    for key in ("run-a", "run-b", "run-c"):
        catalog.begin_run(RunManifest(key, datetime(2026, 3, 1, tzinfo=UTC), matcher="sift", depth="lidar"))
    with catalog.engine.connect() as connection, connection.begin():
        script = _SCRIPT.read_text(encoding="utf-8").split("\n\n", 1)[1]
        for statement in script.split(";\n\n"):
            run_sql(connection, statement.replace("{last}", str(n_photos - 1)))
