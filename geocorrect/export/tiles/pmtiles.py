"""PMTiles: one file of vector tiles that a web map reads by range requests, without a server.

Lean: id, status, expected error, heading. Memory holds these of every photo (about 50 bytes), not the tiles.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.catalog.rows.result_table import ResultTable
from geocorrect.export.features import ATTRIBUTION, Licences, places
from geocorrect.export.tiles.pyramid import MAX_ZOOM, Tile, tiles, world_units
from geocorrect.export.tiles.vector_tile import Value, encode_points
from geocorrect.io.atomic_file import atomic_file

LAYER = "corrections"
FIELDS = {"image_id": "String", "status": "String", "expected_error_m": "Number", "heading_deg": "Number"}


class _Photos:
    """What the tiles show of every photo, in columns."""

    def __init__(self, tables: Iterable[ResultTable], licences: Licences) -> None:
        import pyarrow as pa

        ids: list[Any] = []
        status: list[Any] = []
        world, error, heading = [np.empty((0, 2), np.int32)], [np.empty(0, np.float32)], [np.empty(0, np.float32)]
        self.box = [math.inf, math.inf, -math.inf, -math.inf]
        for table in tables:
            licences.add(table["licence"])
            where = places(table)[:, :2]
            kept = np.flatnonzero(np.isfinite(where).all(axis=1))
            if not len(kept):
                continue
            where = where[kept]
            self.box = [*np.minimum(self.box[:2], where.min(axis=0)), *np.maximum(self.box[2:], where.max(axis=0))]
            world.append(world_units(where[:, 0], where[:, 1]))
            error.append(table["expected_error_m"][kept].astype(np.float32))
            heading.append(table["heading_deg"][kept].astype(np.float32))
            ids.append(pa.array([table["image_id"][k] for k in kept.tolist()], pa.string()))
            status.append(pa.array([table["status"][k] for k in kept.tolist()], pa.string()).dictionary_encode())
        self.world, self.error_m, self.heading_deg = (
            np.concatenate(world),
            np.concatenate(error),
            np.concatenate(heading),
        )
        self._ids = pa.chunked_array(ids, pa.string()).combine_chunks() if ids else pa.array([], pa.string())
        self._status = pa.chunked_array(status).unify_dictionaries().combine_chunks() if status else None

    def __len__(self) -> int:
        return len(self.world)

    @property
    def rank(self) -> Any:
        """Small errors are shown first, those without an error (rejections) last."""
        return np.where(np.isfinite(self.error_m), self.error_m, np.float32(np.inf)).astype(np.float32)

    def points(self, tile: Tile) -> Iterator[tuple[int, int, Sequence[Value]]]:
        """The points of a tile with their values; an error in centimetres, a heading in degrees."""
        assert self._status is not None
        ids, status = (column.take(tile.points).to_pylist() for column in (self._ids, self._status))
        errors = np.round(self.error_m[tile.points].astype(float), 2).tolist()
        headings = self.heading_deg[tile.points].tolist()
        for x, y, *values, error, heading in zip(
            tile.x.tolist(), tile.y.tolist(), ids, status, errors, headings, strict=True
        ):
            known = error if math.isfinite(error) else None
            yield x, y, (*values, known, round(heading) % 360 if math.isfinite(heading) else None)


def write_pmtiles(tables: Iterable[ResultTable], path: Path) -> int:
    """Write the file; returns the number of results with a place, which are all in it at zoom 15."""
    from pmtiles.tile import zxy_to_tileid
    from pmtiles.writer import Writer

    licences = Licences()
    with atomic_file(path) as file:
        photos = _Photos(tables, licences)
        writer = Writer(file)
        for tile in tiles(photos.world, photos.rank):
            content = encode_points(LAYER, list(FIELDS), photos.points(tile))
            writer.write_tile(zxy_to_tileid(tile.zoom, tile.column, tile.row), gzip.compress(content, 6, mtime=0))
        if not len(photos):
            writer.write_tile(0, gzip.compress(encode_points(LAYER, list(FIELDS), ()), mtime=0))
        writer.finalize(_header(photos.box), _metadata(licences))
        writer.tile_f.close()
    return len(photos)


def _header(box: Sequence[float]) -> dict[str, Any]:
    from pmtiles.tile import Compression, TileType

    west, south, east, north = box if math.isfinite(box[0]) else (-180.0, -85.0, 180.0, 85.0)
    corners = {"min_lon_e7": west, "min_lat_e7": south, "max_lon_e7": east, "max_lat_e7": north}
    middle = {"center_lon_e7": (west + east) / 2, "center_lat_e7": (south + north) / 2}
    numbers = {name: round(value * 1e7) for name, value in (corners | middle).items()}
    kinds = {"tile_type": TileType.MVT, "tile_compression": Compression.GZIP}
    return {**numbers, **kinds, "center_zoom": min(MAX_ZOOM, 14)}


def _metadata(licences: Licences) -> dict[str, Any]:
    layer = {"id": LAYER, "fields": FIELDS, "minzoom": 0, "maxzoom": MAX_ZOOM}
    return {
        "name": "Corrected street photos",
        "description": f"expected_error_m: 68 % horizontal, metres; heading_deg: clockwise from true north; below zoom "
        f"{MAX_ZOOM} the photo of smallest error in every 1/64 of a tile.",
        "attribution": ATTRIBUTION,
        "licence": licences.text(),
        "type": "overlay",
        "vector_layers": [layer],
    }
