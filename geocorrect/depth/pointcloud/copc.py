"""COPC files by tiles of the plan: all levels of a place come together, and unwanted places are never decompressed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.errors import InputError
from geocorrect.geometry.pose import Float

Wanted = Callable[[Float], bool]
"""Whether any point of a tile is wanted, by its corners in the file's coordinates (4, 2)."""
Key = tuple[int, int, int]
"""Level, column and row of a tile of the plan, as in the octree."""


def copc_chunks(path: Path, limit: int, wanted: Wanted | None) -> Iterator[Any]:
    """Points (records of laspy) of one tile after the other, each point once.

    A tile holds at most `limit` points besides those of the coarse levels, which span several tiles.

    Raises:
        InputError: the hierarchy does not hold all points of the header.
    """
    from laspy.copc import Bounds, CopcReader, load_octree_for_query

    with CopcReader.open(str(path)) as reader:
        info = reader.copc_info
        nodes = load_octree_for_query(reader.source, info, reader.root_page)
        held = sum(node.point_count for node in nodes)
        if held != reader.header.point_count:
            raise InputError(
                f"{path}: its hierarchy holds {held} points, its header says {reader.header.point_count}; it is damaged"
            )
        low, side = info.center - info.halfsize, 2.0 * info.halfsize
        for level, x, y in _tiles([(node.key, node.point_count) for node in nodes], limit):
            # Tiles of all levels share these numbers to the last bit: halving is exact.
            west, east = (low[0] + k * (side / 2**level) for k in (x, x + 1))
            south, north = (low[1] + k * (side / 2**level) for k in (y, y + 1))
            corners = np.array([[west, south], [east, south], [east, north], [west, north]])
            if wanted is not None and not wanted(corners):
                continue
            bounds = Bounds(np.array([west, south, low[2]]), np.array([east, north, low[2] + side]))
            points = reader.query(bounds)
            kept, last = np.ones(len(points), bool), 2**level - 1
            for values, k, first, end in ((points.x, x, west, east), (points.y, y, south, north)):
                # Borders belong to the tile that begins there; the cube's own hold all that rounding puts beyond.
                kept &= (np.asarray(values) >= first) | (k == 0)
                kept &= (np.asarray(values) < end) | (k == last)
            if kept.any():
                yield points[kept]


def _tiles(nodes: list[tuple[Any, int]], limit: int) -> Iterator[Key]:
    """Tiles that cover the plan; one is split while its own nodes and those below hold more than `limit` points."""
    own, below = Counter[Key](), Counter[Key]()
    for key, count in nodes:
        own[key.level, key.x, key.y] += count
        for level in range(key.level):
            up = key.level - level
            below[level, key.x >> up, key.y >> up] += count
    todo: list[Key] = [(0, 0, 0)]
    while todo:
        key = todo.pop()
        if below[key] and own[key] + below[key] > limit:
            level, x, y = key
            todo += [(level + 1, 2 * x + right, 2 * y + up) for right in (0, 1) for up in (0, 1)]
        else:
            yield key
