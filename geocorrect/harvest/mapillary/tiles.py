"""A z14 coverage tile: which sequences pass through it, and which images lie in it.

Layers and attributes: docs/mapillary_api.md, "Coverage tiles".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import mercantile
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from geocorrect.harvest.area import Area
from geocorrect.harvest.inflate import inflated
from geocorrect.harvest.mapillary.responses import ErrorKind, RequestError

LAYERS = ("mly1_public", "mly1_computed_public")
"""Coverage by reported and by computed position: an image near the border may lie inside by one of them only."""

_MAX_INFLATED_BYTES = 128_000_000
_GZIP = b"\x1f\x8b"
SEQUENCE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
IMAGE_ID = re.compile(r"[0-9]{1,24}")
"""What ids look like; nothing else is ever put into a path or a request (use `fullmatch`)."""


@dataclass
class Coverage:
    """What tiles or search boxes show of an area."""

    sequences: set[str] = field(default_factory=set)
    """Sequence keys."""
    loose_ids: set[str] = field(default_factory=set)
    """Images without a sequence."""
    n_points: int = 0
    """Image points in the area."""

    def add(self, other: Coverage) -> None:
        """Include what another tile shows."""
        self.sequences |= other.sequences
        self.loose_ids |= other.loose_ids
        self.n_points += other.n_points

    def note(self, sequence: Any, image_id: Any = None) -> None:
        """Include a sequence key, or the image when there is none; values that are no ids are ignored."""
        if SEQUENCE_KEY.fullmatch(str(sequence or "")):
            self.sequences.add(str(sequence))
        elif image_id is not None and IMAGE_ID.fullmatch(str(image_id)):
            self.loose_ids.add(str(image_id))


def read_tile(data: bytes, tile: mercantile.Tile, area: Area) -> Coverage:
    """The coverage of a tile inside `area`; RequestError MALFORMED when the bytes are no vector tile.

    Tile coordinates are rounded to about 0.6 m × cos(latitude): good for discovery, never a position.
    """
    import mapbox_vector_tile
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        # Some hosts send gzip without saying so in the headers.
        content = inflated(data, _MAX_INFLATED_BYTES) if data.startswith(_GZIP) else data
        layers: dict[str, Any] = mapbox_vector_tile.decode(content, default_options={"y_coord_down": True})
    except (DecodeError, ValueError, IndexError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}, {len(data)} bytes"
        text = f"tile {tile.z}/{tile.x}/{tile.y} is no vector tile ({reason})"
        raise RequestError(ErrorKind.MALFORMED, text) from None
    coverage = Coverage()
    for name, key in (("sequence", "id"), ("image", "sequence_id")):
        layer = layers.get(name, {"features": []})
        inside = _in_tile_units(area, tile, layer.get("extent", 4096))
        features = [entry for entry in layer["features"] if inside.intersects(shape(entry["geometry"]))]
        for properties in (entry["properties"] for entry in features):
            coverage.note(properties.get(key), properties.get("id") if name == "image" else None)
        coverage.n_points += len(features) if name == "image" else 0
    return coverage


def _in_tile_units(area: Area, tile: mercantile.Tile, extent: int) -> BaseGeometry:
    """The area inside the tile in tile coordinates (x right, y down), widened by one unit for the rounding."""
    frame = mercantile.xy_bounds(tile)
    corner = np.array([frame.left, frame.top])
    size = np.array([frame.right - frame.left, frame.bottom - frame.top])

    def to_units(lon_lat: NDArray[np.float64]) -> NDArray[np.float64]:
        mercator = np.array([mercantile.xy(lon, lat) for lon, lat in lon_lat]).reshape(-1, 2)
        units: NDArray[np.float64] = (mercator - corner) / size * extent
        return units

    part = shapely.clip_by_rect(area.geometry, *mercantile.bounds(tile))
    widened = shapely.transform(part, to_units).buffer(1.0)
    shapely.prepare(widened)
    return widened
