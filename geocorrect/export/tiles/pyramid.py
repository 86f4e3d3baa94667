"""Which points each zoom shows, and in which tile: all of them at the largest zoom, the best of every cell above."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.web_mercator import EXTENT, world_from_wgs84

MAX_ZOOM = 15
"""Where every photo is shown, to 0.3 m × cos(latitude)."""
_CELLS = 64
"""Per side of a tile of a smaller zoom: one photo per four pixels of a map."""
_WORLD = EXTENT << MAX_ZOOM

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Tile:
    """The points of one tile."""

    zoom: int
    column: int
    row: int
    points: Rows
    """Rows of the points, ascending."""
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    """Their place in the tile, 0…EXTENT − 1, y down."""


def world_units(lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64]) -> NDArray[np.int32]:
    """(N, 2) Web Mercator in units of the largest zoom, y down; what lies beyond ±85.05° is moved there."""
    return (world_from_wgs84(lon_deg, lat_deg) * _WORLD).clip(0, _WORLD - 1).astype(np.int32)


def tiles(world: NDArray[np.int32], rank: NDArray[np.float32]) -> Iterator[Tile]:
    """All tiles, small zooms first, in the order of PMTiles.

    Args:
        world: (N, 2) of `world_units`.
        rank: (N,) the smallest of a cell is shown; the first one on a tie.
    """
    shown: dict[int, Rows] = {MAX_ZOOM: np.arange(len(world))}
    for zoom in reversed(range(MAX_ZOOM)):
        shown[zoom] = _best_of_cells(world, rank, shown[zoom + 1], zoom)
    for zoom in range(MAX_ZOOM + 1):
        yield from _tiles_of(world, shown.pop(zoom), zoom)


def _best_of_cells(world: NDArray[np.int32], rank: NDArray[np.float32], rows: Rows, zoom: int) -> Rows:
    """Of the points of the next larger zoom."""
    side = _WORLD >> zoom
    tile, inside = np.divmod(world[rows].astype(np.int64), side)
    cells = _key(tile * _CELLS + inside * _CELLS // side)
    order = np.lexsort((rows, rank[rows], cells))
    first = np.flatnonzero(np.diff(cells[order], prepend=-1))
    return np.sort(rows[order[first]])


def _tiles_of(world: NDArray[np.int32], rows: Rows, zoom: int) -> Iterator[Tile]:
    from pmtiles.tile import zxy_to_tileid

    side = _WORLD >> zoom
    keys = _key(world[rows] // side)
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    ends = [*starts[1:].tolist(), len(order)]
    groups = {int(keys[order[start]]): slice(start, end) for start, end in zip(starts.tolist(), ends, strict=False)}
    numbered = sorted((zxy_to_tileid(zoom, key >> 32, key & 0xFFFFFFFF), key) for key in groups)
    for _, key in numbered:
        points = rows[order[groups[key]]]
        inside = (world[points].astype(np.int64) % side) * EXTENT // side
        yield Tile(zoom, key >> 32, key & 0xFFFFFFFF, points, inside[:, 0], inside[:, 1])


def _key(cells: NDArray[np.integer]) -> NDArray[np.int64]:
    wide = cells.astype(np.int64)
    return wide[:, 0] << 32 | wide[:, 1]
