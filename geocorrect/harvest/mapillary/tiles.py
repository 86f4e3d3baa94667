"""What a z14 coverage tile says: which sequences pass through it, and which images lie in it."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field
from typing import Any

import mercantile
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from geocorrect.harvest.area import Area
from geocorrect.harvest.mapillary.responses import ErrorKind, RequestError

LAYERS = ("mly1_public", "mly1_computed_public")
"""Coverage by reported and by computed position: an image near the border may lie inside by one of them only."""

_MAX_INFLATED_BYTES = 128_000_000
SEQUENCE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
IMAGE_ID = re.compile(r"[0-9]{1,24}")
"""What ids look like; nothing else is ever put into a path or a request (use `fullmatch`)."""


@dataclass
class Coverage:
    """Sequence keys, images without a sequence, and how many image points lie in the area."""

    sequences: set[str] = field(default_factory=set)
    loose_ids: set[str] = field(default_factory=set)
    n_points: int = 0

    def add(self, other: Coverage) -> None:
        """Take over what another tile found."""
        self.sequences |= other.sequences
        self.loose_ids |= other.loose_ids
        self.n_points += other.n_points


def read_tile(data: bytes, tile: mercantile.Tile, area: Area) -> Coverage:
    """The coverage of a tile inside `area`; RequestError MALFORMED when the bytes are no vector tile.

    Tile coordinates are rounded to about 0.6 m × cos(latitude): good for discovery, never a position.
    """
    data = _inflated(data, tile)
    if not data:
        return Coverage()
    import mapbox_vector_tile
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        layers: dict[str, Any] = mapbox_vector_tile.decode(data, default_options={"y_coord_down": True})
    except (DecodeError, ValueError, IndexError, KeyError, TypeError) as error:
        text = f"tile {tile.z}/{tile.x}/{tile.y} is no vector tile ({type(error).__name__}, {len(data)} bytes)"
        raise RequestError(ErrorKind.MALFORMED, text) from None
    coverage = Coverage()
    for name, key in (("sequence", "id"), ("image", "sequence_id")):
        layer = layers.get(name, {"features": []})
        inside = _in_tile_units(area, tile, layer.get("extent", 4096))
        features = [entry for entry in layer["features"] if inside.intersects(shape(entry["geometry"]))]
        for properties in (entry["properties"] for entry in features):
            sequence = str(properties.get(key) or "")
            if SEQUENCE_KEY.fullmatch(sequence):
                coverage.sequences.add(sequence)
            elif name == "image" and IMAGE_ID.fullmatch(str(properties.get("id", ""))):
                coverage.loose_ids.add(str(properties["id"]))
        coverage.n_points += len(features) if name == "image" else 0
    return coverage


def _inflated(data: bytes, tile: mercantile.Tile) -> bytes:
    """Some hosts send gzip without saying so in the headers."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        inflater = zlib.decompressobj(wbits=31)
        result = inflater.decompress(data, _MAX_INFLATED_BYTES)
    except zlib.error as error:
        text = f"tile {tile.z}/{tile.x}/{tile.y}: broken gzip ({error})"
        raise RequestError(ErrorKind.MALFORMED, text) from None
    if inflater.unconsumed_tail or not inflater.eof:
        raise RequestError(ErrorKind.MALFORMED, f"tile {tile.z}/{tile.x}/{tile.y}: gzip cut short or too large")
    return result


def _in_tile_units(area: Area, tile: mercantile.Tile, extent: int) -> BaseGeometry:
    """The area inside the tile in tile coordinates (x right, y down), widened by one unit for the rounding."""
    bounds = mercantile.bounds(tile)
    part = shapely.clip_by_rect(area.geometry, bounds.west, bounds.south, bounds.east, bounds.north)
    frame = mercantile.xy_bounds(tile)

    def to_units(lon_lat: Any) -> Any:
        xy = [mercantile.xy(lon, lat) for lon, lat in lon_lat]
        width, height = frame.right - frame.left, frame.top - frame.bottom
        return [((x - frame.left) / width * extent, (frame.top - y) / height * extent) for x, y in xy]

    moved = shapely.transform(part, lambda points: shapely.get_coordinates(shapely.points(to_units(points))))
    widened = moved.buffer(1.0)
    shapely.prepare(widened)
    return widened
