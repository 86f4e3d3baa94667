"""Where there are photos, and whether an anchor is near enough to place them: squares of a map tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection, text

from geocorrect.catalog.connect import with_retries
from geocorrect.catalog.served.filter import statement
from geocorrect.catalog.served.tiles import PHOTOS_PER_TILE, TileAddress, in_tile, share_shown, tile_sample
from geocorrect.catalog.store import Catalog
from geocorrect.geometry.web_mercator import EXTENT

SQUARES = 16
"""Per side of a tile."""
REACH_M = 50.0
"""An anchor so near to a square counts for it: the search radius of `geocorrect run` by default."""
_METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True)
class Square:
    """A part of a tile with photos in it."""

    column: int
    row: int
    """0 … SQUARES - 1, rows from the north."""
    n_photos: int
    """Reported there; an estimate where only a share of the photos was looked at."""
    has_anchor: bool
    """Whether an anchor is in it or within REACH_M of it."""

    @property
    def corners(self) -> Sequence[tuple[int, int]]:
        """Clockwise, in units of the tile."""
        side = EXTENT // SQUARES
        west, north = self.column * side, self.row * side
        return [(west, north), (west + side, north), (west + side, north + side), (west, north + side)]


def read_coverage(catalog: Catalog, tile: TileAddress) -> list[Square]:
    """The squares of a tile in which photos were reported."""
    return with_retries(catalog.engine, lambda connection: _read(connection, tile))


def _read(connection: Connection, tile: TileAddress) -> list[Square]:
    share = share_shown(connection, "image", tile, PHOTOS_PER_TILE)
    steps, inside = tile_sample(connection.dialect.name, "image", "i", share, PHOTOS_PER_TILE)
    query = f"{'with ' if steps else ''}{', '.join(steps)} select i.lon_deg, i.lat_deg from image i where {inside}"
    places = np.array(connection.execute(statement(query, tile.box())).all(), dtype=np.float64).reshape(-1, 2)
    cells = in_tile(places[:, 0], places[:, 1], tile) * SQUARES // EXTENT
    cells = cells[((cells >= 0) & (cells < SQUARES)).all(axis=1)]
    squares, counts = np.unique(cells, axis=0, return_counts=True)
    near = _with_anchor(connection, squares, tile)
    return [
        Square(column, row, count * share, k in near)
        for k, ((column, row), count) in enumerate(zip(squares.tolist(), counts.tolist(), strict=True))
    ]


def _with_anchor(connection: Connection, squares: Any, tile: TileAddress) -> set[int]:
    """Numbers of the squares that an anchor is in or near; each is one look into the spatial index."""
    boxes = _boxes(tile, squares)
    if connection.dialect.name == "postgresql":
        query = (
            "select k from unnest(cast(:west as float8[]), cast(:south as float8[]), cast(:east as float8[]), "
            "cast(:north as float8[])) with ordinality as square(west, south, east, north, k) where exists ("
            "select 1 from anchor where geom && st_makeenvelope(west, south, east, north, 4326))"
        )
        columns = zip(*boxes, strict=True) if boxes else [()] * 4
        sides = dict(zip(("west", "south", "east", "north"), map(list, columns), strict=True))
        return {int(k) - 1 for k in connection.execute(text(query), sides).scalars()}
    side = "json_extract(square.value, '$[{}]')".format
    query = (
        f"select square.key from json_each(:squares) square where exists (select 1 from rtree_anchor_geom a where "
        f"a.maxx >= {side(0)} and a.minx <= {side(2)} and a.maxy >= {side(1)} and a.miny <= {side(3)})"
    )
    return {int(k) for k in connection.execute(text(query), {"squares": orjson.dumps(boxes).decode()}).scalars()}


def _boxes(tile: TileAddress, squares: Any) -> list[list[float]]:
    """West, south, east, north in degrees of squares, wider by REACH_M."""
    first = (np.array([tile.x, tile.y]) + squares / SQUARES) / (1 << tile.z)
    last = first + 1 / SQUARES / (1 << tile.z)
    lat = np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * np.stack([last[:, 1], first[:, 1]])))))
    reach_lat = REACH_M / _METRES_PER_DEGREE
    reach_lon = reach_lat / np.cos(np.radians(np.abs(lat).max(axis=0)))
    west, east = first[:, 0] * 360 - 180 - reach_lon, last[:, 0] * 360 - 180 + reach_lon
    boxes: list[list[float]] = np.stack([west, lat[0] - reach_lat, east, lat[1] + reach_lat], axis=1).tolist()
    return boxes
