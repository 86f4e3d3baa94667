"""A z14 coverage tile: which sequences pass through it, and which images lie in it.

Layers and attributes: docs/mapillary_api.md, "Coverage tiles".
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
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

_MAX_INFLATED_BYTES = 32_000_000
_MOST_FEATURES, _MOST_FEATURE_BYTES = 250_000, 5_000_000
_LAYER, _FEATURE = 3, 2
"""Field numbers of the vector tile specification."""
_ONE_AT_A_TIME = threading.Lock()
"""Decoded tiles are large, and decoding them is Python's work: two at a time are no faster."""
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
    try:
        # Some hosts send gzip without saying so in the headers.
        content = inflated(data, _MAX_INFLATED_BYTES) if data.startswith(_GZIP) else data
        refuse_too_much(memoryview(content))
        with _ONE_AT_A_TIME:
            return _decoded(content, tile, area)
    except Exception as error:
        # Decoders of protobuf, vector tiles and geometries raise whatever a strange tile makes them raise.
        reason = f"{type(error).__name__}: {error}, {len(data)} bytes"
        text = f"tile {tile.z}/{tile.x}/{tile.y} is no vector tile ({reason})"
        raise RequestError(ErrorKind.MALFORMED, text) from None


def _decoded(content: bytes, tile: mercantile.Tile, area: Area) -> Coverage:
    import mapbox_vector_tile

    layers: dict[str, Any] = mapbox_vector_tile.decode(content, default_options={"y_coord_down": True})
    coverage = Coverage()
    for name, key in (("sequence", "id"), ("image", "sequence_id")):
        layer = layers.get(name, {"features": []})
        inside = _in_tile_units(area, tile, layer.get("extent", 4096))
        features = [entry for entry in layer["features"] if inside.intersects(shape(entry["geometry"]))]
        for properties in (entry["properties"] for entry in features):
            coverage.note(properties.get(key), properties.get("id") if name == "image" else None)
        coverage.n_points += len(features) if name == "image" else 0
    return coverage


def refuse_too_much(content: memoryview) -> None:
    """ValueError for more features than a place on earth has; decoded, each takes a hundred times its bytes."""
    n_features = n_bytes = 0
    for layer in _parts_of(content, _LAYER):
        for feature in _parts_of(layer, _FEATURE):
            n_features, n_bytes = n_features + 1, n_bytes + len(feature)
            if n_features > _MOST_FEATURES or n_bytes > _MOST_FEATURE_BYTES:
                raise ValueError(f"more than {_MOST_FEATURES} features or {_MOST_FEATURE_BYTES} bytes of them")


def _parts_of(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The parts of a protobuf message that have a field number and a length; ValueError or IndexError when cut."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(message, at)
        elif kind == 2:
            length, at = _varint(message, at)
            if tag >> 3 == wanted:
                yield message[at : at + length]
            at += length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number and where it ends."""
    value = shift = 0
    while shift < 70:
        byte = message[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return value, at
    raise ValueError("a number of more than 64 bit")


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
