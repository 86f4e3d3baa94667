"""Which results are in an area: first by the spatial index of either back-end, then exactly."""

from __future__ import annotations

from typing import Any

from shapely.geometry.base import BaseGeometry
from sqlalchemy import FromClause, Select, and_, column, func, or_, select, table, union_all

from geocorrect.catalog import schema
from geocorrect.catalog.rows.geometry_type import WGS84_SRID
from geocorrect.catalog.run import Box


def results_within(c: Any, area: Box | BaseGeometry, dialect_name: str) -> Any:
    """The condition that a result is in an area: corrections by corrected, rejections by reported position.

    Args:
        c: columns of `correction`, joined with `image`.
        area: (west, south, east, north) in degrees, west > east across the antimeridian; of a polygon the bounding box.
        dialect_name: "postgresql" or "sqlite".
    """
    west, south, east, north = area.bounds if isinstance(area, BaseGeometry) else area
    spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    boxes = [(low, south, high, north) for low, high in spans]
    i = schema.image.c
    lon, lat = func.coalesce(c.lon_deg, i.lon_deg), func.coalesce(c.lat_deg, i.lat_deg)
    # The index finds candidates: that of a GeoPackage has single precision.
    exact = or_(*[and_(lon.between(w, e), lat.between(s, n)) for w, s, e, n in boxes])
    near = [keys for box in boxes for keys in _keys_near(box, dialect_name)]
    return and_(c.fid.in_(union_all(*near)), exact)


def _keys_near(box: Box, dialect_name: str) -> tuple[Select[Any], Select[Any]]:
    """Keys of corrections and of rejections by the spatial index of either table."""
    corrected, photo = schema.correction.alias("corrected"), schema.image.alias("photo")
    rejected = schema.correction.alias("rejected_result")
    pairs = photo.join(rejected, rejected.c.image_id == photo.c.image_id)
    return (
        select(corrected.c.fid).where(_touches(corrected, schema.correction.name, box, dialect_name)),
        select(rejected.c.fid)
        .select_from(pairs)
        .where(rejected.c.geom.is_(None), _touches(photo, schema.image.name, box, dialect_name)),
    )


def _touches(layer: FromClause, table_name: str, box: Box, dialect_name: str) -> Any:
    west, south, east, north = box
    if dialect_name == "postgresql":
        return layer.c.geom.op("&&")(func.ST_MakeEnvelope(west, south, east, north, WGS84_SRID))
    names: list[Any] = [column(name) for name in ("id", "minx", "maxx", "miny", "maxy")]
    tree = table(f"rtree_{table_name}_geom", *names).c
    hits = select(tree.id).where(tree.minx <= east, tree.maxx >= west, tree.miny <= north, tree.maxy >= south)
    return layer.c.fid.in_(hits)
