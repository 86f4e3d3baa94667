"""What a map of the whole catalog says beside its tiles: extent, runs, counts, devices, and a photo's facts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from geocorrect.catalog.connect import with_retries
from geocorrect.catalog.rows.column_types import Instant, instant_text
from geocorrect.catalog.run import Box
from geocorrect.catalog.schema import POSTGRES_SCHEMA
from geocorrect.catalog.served.filter import DEVICE, MapFilter, statement
from geocorrect.catalog.store import Catalog

MOST_DEVICES = 500
"""More are left out of the list."""


@dataclass(frozen=True)
class RunStop:
    """A run that is active, as a stop of the map's time slider."""

    fid: int
    run_key: str
    started_at: datetime
    matcher: str


def read_extent_quickly(catalog: Catalog) -> Box | None:
    """As `Catalog.extent`, from the spatial indices: it may be a little too wide, and after deletions much too wide."""

    def read(connection: Connection) -> list[Any]:
        if connection.dialect.name == "sqlite":
            limits = "min(minx), min(miny), max(maxx), max(maxy)"
            queries = [f"select {limits} from rtree_{table}_geom" for table in ("image", "anchor")]
        else:
            box = f"(select st_estimatedextent('{POSTGRES_SCHEMA}', '{{}}', 'geom') as b) e"
            limits = "st_xmin(b), st_ymin(b), st_xmax(b), st_ymax(b)"
            queries = [f"select {limits} from {box.format(table)}" for table in ("image", "anchor")]
        return [connection.execute(text(query)).one() for query in queries]

    known = [tuple(row) for row in with_retries(catalog.engine, read) if row[0] is not None]
    if not known:
        return catalog.extent()
    west, south = (min(row[k] for row in known) for k in (0, 1))
    east, north = (max(row[k] for row in known) for k in (2, 3))
    # What looks like half of the world may lie on both sides of the antimeridian.
    return (west, south, east, north) if east - west < 180.0 else catalog.extent()


def read_runs_in_force(catalog: Catalog) -> list[RunStop]:
    """Active runs with results, oldest first."""
    query = text(
        "select r.fid, r.run_key, r.started_at, r.matcher from run r where r.fid in (select fid from run_in_force) "
        "and exists (select 1 from correction c where c.run_id = r.fid) order by r.fid"
    ).columns(started_at=Instant)
    return with_retries(catalog.engine, lambda connection: [RunStop(*row) for row in connection.execute(query)])


def read_devices(catalog: Catalog) -> list[str]:
    """Kinds of devices, as `MapFilter.device` names them; reads every photo once."""
    query = text(f"select distinct {DEVICE} as device from image i order by 1 limit {MOST_DEVICES}")
    found = with_retries(catalog.engine, lambda connection: list(connection.execute(query).scalars()))
    return [name for name in found if name]


_FACTS = (
    "c.status", "c.reason", "m.meaning", "c.detail", "c.lon_deg", "c.lat_deg", "c.height_m", "c.heading_deg",
    "c.expected_error_m", "c.displacement_m", "c.heading_change_deg", "c.n_anchors", "c.n_inliers", "c.run_key",
    "c.recorded_at", "c.matcher", "c.depth", "i.sequence_id", "i.captured_at", "i.device_make", "i.device_model",
    "i.lon_deg as reported_lon_deg", "i.lat_deg as reported_lat_deg", "i.heading_deg as reported_heading_deg",
    "i.creator", "i.page_url", "i.licence", "i.path",
)  # fmt: skip


def read_photo(catalog: Catalog, image_id: str, as_of_run: int | None) -> dict[str, Any] | None:
    """What is known of a photo and its result, None for an unknown photo; without a result, status is None.

    Plain values by column; `has_picture` in place of the path.
    """
    wanted = MapFilter(as_of_run=as_of_run)
    sql = (
        f"select {', '.join(_FACTS)} from image i left join {wanted.results()} c on c.image_id = i.image_id "
        "left join reason m on m.reason = c.reason where i.image_id = :image_id"
    )
    query = statement(sql, wanted.parameters() | {"image_id": image_id})
    row = with_retries(catalog.engine, lambda connection: connection.execute(query).mappings().first())
    if row is None:
        return None
    facts = {name: instant_text(v) if isinstance(v, datetime) else v for name, v in row.items()}
    return {**facts, "has_picture": facts.pop("path") is not None}
