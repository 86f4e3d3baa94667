"""The area of a harvest: any box or polygon on earth, cut into tiles and search cells, safe at ±180° and the poles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mercantile
import numpy as np
import shapely
from shapely.geometry import Polygon, box, shape
from shapely.geometry.base import BaseGeometry

from geocorrect.errors import InputError
from geocorrect.geometry.crs import declared_crs, geojson_crs, wgs84_from_crs
from geocorrect.io.text_file import read_json

MERCATOR_LIMIT_DEG = 85.0511
TILE_ZOOM = 14
_METRES_PER_DEGREE = 111_320.0
Box = tuple[float, float, float, float]
"""west, south, east, north in degrees."""


@dataclass(frozen=True)
class Area:
    """A region of the earth."""

    geometry: BaseGeometry
    """Polygons in longitude/latitude degrees (WGS84), each within −180…180 and −90…90."""

    @classmethod
    def from_box(cls, west: float, south: float, east: float, north: float) -> Area:
        """A box in degrees; west > east crosses the antimeridian. InputError when it is no sensible box."""
        text = f"box {west},{south},{east},{north}"
        if not all(math.isfinite(value) for value in (west, south, east, north)):
            raise InputError(f"{text}: needs four finite numbers west,south,east,north in degrees")
        if not (-90 <= south <= 90 and -90 <= north <= 90):
            raise InputError(f"{text}: latitude outside -90…90; the order is west,south,east,north (lat/lon swapped?)")
        if not (-180 <= west <= 180 and -180 <= east <= 180):
            raise InputError(f"{text}: longitude outside -180…180")
        if south >= north or west == east:
            raise InputError(f"{text}: the box is empty; the order is west,south,east,north")
        if west < east:
            return cls(box(west, south, east, north))
        if east + 360 - west > 180:
            raise InputError(f"{text}: west is east of east; swap them (only a box across ±180° may have west > east)")
        parts = [box(west, south, 180, north)] if west < 180 else []
        parts += [box(-180, south, east, north)] if east > -180 else []
        return cls(shapely.union_all(parts))

    @classmethod
    def from_geojson(cls, content: Mapping[str, Any], name: str = "GeoJSON") -> Area:
        """Polygons of a GeoJSON geometry, Feature or FeatureCollection; InputError naming what is wrong.

        In WGS84, or in what its member `crs` names.
        """
        geometries = [_in_wgs84(geometry, content, name) for geometry in _geometries(content, name)]
        polygons = [part for geometry in geometries for part in _polygons(geometry, name)]
        if not polygons:
            raise InputError(f"{name}: holds no polygon; draw the area as Polygon or MultiPolygon")
        return cls(shapely.union_all([piece for polygon in polygons for piece in _wrapped(polygon, name)]))

    @classmethod
    def from_file(cls, path: Path) -> Area:
        """The area in a GeoJSON file."""
        content = read_json(path)
        if not isinstance(content, dict):
            raise InputError(f"{path}: not GeoJSON (the top level must be an object)")
        return cls.from_geojson(content, str(path))

    @classmethod
    def configured(cls, bbox: Box | None, file: Path | None) -> Area | None:
        """The area of a configuration: a box, or a GeoJSON file, or None for neither."""
        if bbox is not None:
            return cls.from_box(*bbox)
        return None if file is None else cls.from_file(file)

    def widened(self, margin_m: float) -> Area:
        """The area plus a margin, at least `margin_m` wide everywhere, wrapped at ±180°."""
        if margin_m <= 0:
            return self
        pieces = []
        for part in _parts(self.geometry):
            latitude = min(max(abs(part.bounds[1]), abs(part.bounds[3])), 89.0)
            # Buffer in a space where a degree is as long in both directions at the part's outermost latitude.
            stretch = np.array([math.cos(math.radians(latitude)), 1.0])
            squeezed = shapely.transform(part, lambda xy, s=stretch: xy * s)
            wide = squeezed.buffer(margin_m / _METRES_PER_DEGREE, join_style="mitre")
            wide = shapely.transform(wide, lambda xy, s=stretch: xy / s)
            pieces += _wrapped(shapely.clip_by_rect(wide, -540, -90, 540, 90), "area")
        return Area(shapely.union_all(pieces))

    def contains(self, lon_deg: float, lat_deg: float) -> bool:
        """Whether a position lies in the area or on its border."""
        return bool(shapely.intersects_xy(self.geometry, lon_deg, lat_deg))

    def tiles(self, limit: int) -> list[mercantile.Tile]:
        """The z14 tiles that the area touches, in fixed order; InputError when they are more than `limit`."""
        tiles: set[mercantile.Tile] = set()
        for part in _parts(self.geometry):
            west, south, east, north = part.bounds
            south, north = (float(np.clip(value, -MERCATOR_LIMIT_DEG, MERCATOR_LIMIT_DEG)) for value in (south, north))
            first, last = (mercantile.tile(lon, lat, TILE_ZOOM) for lon, lat in ((west, north), (east, south)))
            _check_count((abs(last.x - first.x) + 1) * (abs(last.y - first.y) + 1), limit, 4)
            shapely.prepare(part)
            candidates = mercantile.tiles(west, south, east, north, TILE_ZOOM)
            tiles.update(tile for tile in candidates if part.intersects(box(*mercantile.bounds(tile))))
        if not tiles:
            raise InputError(f"the area lies beyond ±{MERCATOR_LIMIT_DEG}° latitude, where the service has no coverage")
        _check_count(len(tiles), limit)
        return sorted(tiles)

    def cells_in(self, tile: mercantile.Tile, side_deg: float) -> list[Box]:
        """Search boxes of at most `side_deg` that together cover the part of the area inside one tile."""
        bounds = mercantile.bounds(tile)
        columns = math.ceil((bounds.east - bounds.west) / side_deg)
        rows = math.ceil((bounds.north - bounds.south) / side_deg)
        xs = np.linspace(bounds.west, bounds.east, columns + 1).tolist()
        ys = np.linspace(bounds.south, bounds.north, rows + 1).tolist()
        cells = [
            (west, south, east, north)
            for south, north in itertools.pairwise(ys)
            for west, east in itertools.pairwise(xs)
        ]
        return [cell for cell in cells if self.geometry.intersects(box(*cell))]


def _check_count(tiles: int, limit: int, slack: int = 1) -> None:
    """Refuse too many tiles; `slack` for those of an enclosing box, most of which may lie outside the area."""
    if tiles > slack * limit:
        text = f"the area covers about {tiles} tiles of zoom 14, more than max_tiles = {limit}"
        raise InputError(f"{text}; split it, or raise the limit")


def _geometries(content: Mapping[str, Any], name: str) -> list[BaseGeometry]:
    kind = content.get("type")
    try:
        if kind == "FeatureCollection":
            return [g for feature in content["features"] for g in _geometries(feature, name)]
        if kind == "Feature":
            return [shape(content["geometry"])] if content.get("geometry") else []
        return [shape(content)]
    except InputError:
        raise
    except Exception as error:  # shapely raises half a dozen types on malformed GeoJSON
        raise InputError(f"{name}: not a GeoJSON geometry ({error})") from None


def _in_wgs84(geometry: BaseGeometry, content: Mapping[str, Any], name: str) -> BaseGeometry:
    try:
        crs = geojson_crs(content)
        if declared_crs(crs).is_wgs84:
            return geometry
        return shapely.transform(geometry, lambda xy: np.stack(wgs84_from_crs(crs, *xy.T), axis=1))
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None


def _polygons(geometry: BaseGeometry, name: str) -> list[Polygon]:
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        raise InputError(f"{name}: coordinates must be finite numbers")
    polygons = [part for part in _parts(geometry) if isinstance(part, Polygon)]
    for polygon in polygons:
        _, south, _, north = polygon.bounds
        if south < -90 or north > 90:
            raise InputError(f"{name}: latitude {south if south < -90 else north} is outside -90…90 (lat/lon swapped?)")
    return polygons


def _wrapped(geometry: BaseGeometry, name: str) -> list[BaseGeometry]:
    """The polygon's parts moved into −180…180; rings that jump across ±180° are unrolled first."""
    unrolled = shapely.make_valid(shapely.union_all([_unrolled(part) for part in _parts(geometry)]))
    pieces = []
    for shift_deg in (-360.0, 0.0, 360.0):
        piece = shapely.clip_by_rect(unrolled, shift_deg - 180, -90, shift_deg + 180, 90)
        moved = shapely.transform(piece, lambda xy, s=shift_deg: xy - [s, 0.0])
        pieces += [part for part in _parts(moved) if isinstance(part, Polygon) and part.area > 0]
    if not pieces:
        raise InputError(f"{name}: the area is empty")
    return pieces


def _unrolled(polygon: BaseGeometry) -> BaseGeometry:
    if not isinstance(polygon, Polygon) or polygon.is_empty:
        return polygon
    rings = [_unrolled_ring(ring.coords) for ring in (polygon.exterior, *polygon.interiors)]
    return shapely.make_valid(Polygon(rings[0], rings[1:]))


def _unrolled_ring(coordinates: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    ring = np.asarray(coordinates, float)[:, :2].copy()
    turns = np.unwrap(ring[:, 0], period=360.0)
    # A ring around a pole does not close after unrolling; it is left as it was written.
    if abs(turns[-1] - turns[0]) < 1e-9:
        ring[:, 0] = turns
    return ring


def _parts(geometry: BaseGeometry) -> list[BaseGeometry]:
    if hasattr(geometry, "geoms"):
        return [leaf for part in geometry.geoms for leaf in _parts(part)]
    return [] if geometry.is_empty else [geometry]
