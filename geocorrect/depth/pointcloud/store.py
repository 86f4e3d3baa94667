"""An index of point clouds opened again: the points around a place, a bounded part of them in memory."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocorrect.depth.pointcloud.index import CELL_FIELDS, CELL_M, VERSION
from geocorrect.errors import ConfigError, InputError
from geocorrect.geometry.frame import Frame
from geocorrect.io.arrays import read_arrays
from geocorrect.io.bounded_cache import BoundedCache
from geocorrect.records import Float, Float32

Place = tuple[int, int]
SAME_DEG, SAME_M = 1e-9, 1e-3


@dataclass(frozen=True, eq=False)
class Cell:
    """The points of one cell of the plan."""

    corner_m: Float
    """(3,) south-west corner in the scene's frame, at height 0."""
    points_m: Float32
    """(N, 3) from there."""
    reach_m: float
    """How far around a point its surface surely continues."""


class CloudStore:
    """The index of a folder, for one process."""

    def __init__(self, folder: Path, cache_bytes: int) -> None:
        """Read the description; ConfigError when there is none."""
        self.folder = folder
        try:
            described = json.loads((folder / "index.json").read_text(encoding="utf-8"))
            version, frame = described["version"], described["frame"]
            self.content, self.frame = str(described["content"]), Frame(**frame)
        except FileNotFoundError:
            raise ConfigError(
                f"{folder}: no index of point clouds; `geocorrect depth pointcloud FILES…` writes it"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{folder / 'index.json'}: damaged ({error}); index the clouds again") from None
        if version != VERSION:
            raise ConfigError(f"{folder}: an index of another version; index the clouds again")
        self._cells: BoundedCache[Place, Cell] = BoundedCache(cache_bytes, lambda cell: cell.points_m.nbytes)

    def require_frame(self, frame: Frame) -> None:
        """ConfigError unless the points are in this frame: another scene's would be displaced, without any sign."""
        same = max(abs(frame.lon_deg - self.frame.lon_deg), abs(frame.lat_deg - self.frame.lat_deg)) <= SAME_DEG
        if not same or abs(frame.height_m - self.frame.height_m) > SAME_M:
            raise ConfigError(
                f"{self.folder}: indexed for the scene {self.frame.name!r}, this one is {frame.name!r} with another "
                "origin; run `geocorrect depth pointcloud` for this catalog, into a folder of its own"
            )

    def places_within(self, centre_m: Float, range_m: float) -> list[Place]:
        """Cells that reach into a circle in the plan, the nearest first."""
        corner = self._places * CELL_M
        off = np.maximum(np.maximum(corner - centre_m[:2], centre_m[:2] - corner - CELL_M), 0.0)
        distance_m = np.hypot(off[:, 0], off[:, 1])
        order = np.argsort(distance_m, kind="stable")
        return [self._keys[i] for i in order if distance_m[i] <= range_m]

    def heights_m(self, place: Place) -> tuple[float, float]:
        """Lowest and highest point of a cell."""
        rows = self._table[self._rows[place]]
        return float(rows["low_m"].min()), float(rows["high_m"].max())

    def cell(self, place: Place) -> Cell:
        """The points of a cell; InputError when a file of the index is gone or shorter than it was."""
        return self._cells.get_or_make(place, lambda: self._read(place))

    def _read(self, place: Place) -> Cell:
        rows = self._table[self._rows[place]]
        parts = [self._block(int(row["block"]), int(row["first"]), int(row["count"])) for row in rows]
        corner = np.array([place[0] * CELL_M, place[1] * CELL_M, 0.0])
        return Cell(corner, np.concatenate(parts), float(rows["reach_m"].min()))  # together they are no sparser

    def _block(self, block: int, first: int, count: int) -> Float32:
        path, width = self.folder / f"{block:06d}.f32", 3 * 4
        try:
            points = np.fromfile(path, "<f4", 3 * count, offset=first * width).reshape(-1, 3)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); index the clouds again") from None
        except ValueError:
            points = np.zeros((0, 3), "<f4")
        if len(points) != count:
            raise InputError(f"{path}: shorter than it was; index the clouds again")
        return points

    @cached_property
    def _table(self) -> NDArray[Any]:
        path = self.folder / "cells.npz"
        try:
            return np.asarray(read_arrays(path)["cells"], CELL_FIELDS)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{path}: damaged ({error}); index the clouds again") from None

    @cached_property
    def _rows(self) -> dict[Place, list[int]]:
        rows: dict[Place, list[int]] = defaultdict(list)
        for number, row in enumerate(self._table):
            rows[int(row["x"]), int(row["y"])].append(number)
        return dict(rows)

    @cached_property
    def _keys(self) -> list[Place]:
        return list(self._rows)

    @cached_property
    def _places(self) -> Float:
        return np.array(self._keys, float).reshape(-1, 2)
