"""Point clouds → an index on disk: points in the scene's frame, sorted by cells of the plan, read again cell by cell.

FOLDER/index.json      frame, content hash, files, what was left out
FOLDER/cells.npz       where the points of each cell lie: block, first point, count, lowest and highest point, reach
FOLDER/000000.f32      a block: (N, 3) little-endian float32, metres east and north of the cell's corner, height in the
                       frame; a cell may have parts in several blocks
ATTRIBUTION.txt        names the files
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geocorrect.anchors.readers.place import stated_crs, stated_height_reference
from geocorrect.depth.pointcloud.read import open_cloud, read_cloud
from geocorrect.errors import InputError
from geocorrect.geometry.crs import ellipsoidal_height_m, wgs84_from_crs
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Float
from geocorrect.io.atomic_folder import NOTICE, atomic_folder
from geocorrect.records import Float32

VERSION = 1
CELL_M = 16.0
NOT_SURFACE = (7, 18, 22)
"""LAS classes: low noise, high noise, and what moved between two recordings ("temporal exclusion")."""
MAX_OFFSET_M = 200_000.0
"""Beyond, a flat frame makes no sense, and the clouds are of another city or in another CRS than declared."""
SAMPLE, NEAREST = 64, 16
REACH_PER_DISTANCE = 2.0
"""Points spread at random over a surface, within twice the distance of the 16th nearest: of each quarter of a strip
so long, hardly any is empty."""
CELL_FIELDS = np.dtype(
    [("x", "i4"), ("y", "i4"), ("block", "i4"), ("first", "i8"), ("count", "i8"), ("low_m", "f4"), ("high_m", "f4"),
     ("reach_m", "f4")]
)  # fmt: skip


@dataclass(frozen=True)
class CloudPlaces:
    """What the numbers of the files mean."""

    frame: Frame
    """The scene's."""
    crs: str | None = None
    """Of files that do not say it themselves."""
    height_reference: str = "unknown"
    """As in `geometry.crs`."""
    undulation_m: float = float("nan")
    left_out: frozenset[int] = frozenset(NOT_SURFACE)
    """LAS classes whose points are no lasting surface."""
    around_m: Float | None = None
    """(N, 3) positions, in the frame, near which points are wanted; None: everywhere."""
    radius_m: float = math.inf
    """How near, in plan."""


@dataclass(frozen=True)
class IndexSummary:
    """What was indexed."""

    folder: Path
    n_files: int
    n_points: int
    left_out: dict[int, int]
    """Points left out by class."""
    n_cells: int

    def as_json(self) -> dict[str, Any]:
        """Plain values for --json."""
        left_out = {str(key): n for key, n in self.left_out.items()}
        sizes = {"n_files": self.n_files, "n_points": self.n_points, "n_cells": self.n_cells}
        return {"folder": str(self.folder), **sizes, "left_out": left_out}


def write_index(
    folder: Path, files: Sequence[Path], places: CloudPlaces, on_progress: Callable[[int, int], None] = lambda *_: None
) -> IndexSummary:
    """Index clouds; an older index in the folder is replaced when all are read.

    Memory stays at some million points whatever the size of the files.

    Raises:
        InputError: a file is missing or damaged, its CRS or heights are not declared or contradict each other, or it
            lies far from the scene; nothing is written then.
        OutputError: the folder cannot be written, or is no index of ours.
    """
    if not files:
        raise InputError("no point clouds; name .las, .laz, .ply or .e57 files")
    digest, left_out, cells = hashlib.sha256(), Counter[int](), []
    with atomic_folder(folder) as unfinished:
        n_blocks = n_points = 0
        for done, path in enumerate(files):
            for points in _in_frame(path, places, left_out):
                block, rows = _sorted_by_cell(points, n_blocks)
                digest.update(rows.tobytes())
                digest.update(block.tobytes())
                block.tofile(unfinished / f"{n_blocks:06d}.f32")
                cells.append(rows)
                n_blocks, n_points = n_blocks + 1, n_points + len(block)
            on_progress(done + 1, len(files))
        if not n_points:
            near = "" if places.around_m is None else f" within {places.radius_m:g} m of an anchor"
            raise InputError(
                f"{files[0]}: no point is left{near} after classes {sorted(places.left_out)} were left out"
            )
        table = np.concatenate(cells)
        np.savez(unfinished / "cells.npz", cells=table)
        f = places.frame
        description = {
            "version": VERSION,
            "frame": {"name": f.name, "lon_deg": f.lon_deg, "lat_deg": f.lat_deg, "height_m": f.height_m},
            "content": digest.hexdigest(),
            "n_points": n_points,
            "left_out": {str(key): n for key, n in sorted(left_out.items())},
            "files": [str(path) for path in files],
        }
        (unfinished / "index.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        notice = "".join(f"{path}\n" for path in files)
        (unfinished / NOTICE).write_text(f"Index of the points of\n{notice}", encoding="utf-8")
    n_cells = len(np.unique(table[["x", "y"]]))
    return IndexSummary(folder, len(files), n_points, dict(sorted(left_out.items())), n_cells)


def _in_frame(path: Path, places: CloudPlaces, left_out: Counter[int]) -> Iterator[Float]:
    """(N, 3) east, north, up in the scene's frame of what is a lasting surface, chunk by chunk."""
    cloud = open_cloud(path)
    crs = stated_crs(str(path), cloud.crs, places.crs)
    reference = stated_height_reference(str(path), crs, places.height_reference)
    if reference == "unknown":
        raise InputError(
            f"{path}: what the heights are measured from is not declared; add --height-reference ellipsoid, "
            "orthometric (with --geoid-undulation) or a vertical CRS"
        )
    near = None if places.around_m is None else cKDTree(places.around_m[:, :2])

    def is_wanted(corners: Float) -> bool:
        """Heights do not matter: the frame's are taken."""
        assert near is not None
        lon, lat = wgs84_from_crs(crs, corners[:, 0], corners[:, 1])
        enu_m = places.frame.enu_from_wgs84(lon, lat, np.full(4, places.frame.height_m))[:, :2]
        middle = enu_m.mean(axis=0)
        half_m = float(np.linalg.norm(enu_m - middle, axis=1).max())
        return bool(near.query(middle)[0] <= places.radius_m + 1.01 * half_m)

    for points in read_cloud(cloud, None if near is None else is_wanted):
        kept = ~np.isin(points.classes, list(places.left_out))
        left_out.update(points.classes[~kept].tolist())
        if not kept.any():
            continue
        enu_m = _enu(path, points.xyz[kept], crs, reference, places)
        if near is not None:
            enu_m = enu_m[near.query(enu_m[:, :2], distance_upper_bound=places.radius_m)[0] < math.inf]
        if len(enu_m):
            yield enu_m


def _enu(path: Path, xyz: Float, crs: str, reference: str, places: CloudPlaces) -> Float:
    try:
        lon, lat = wgs84_from_crs(crs, xyz[:, 0], xyz[:, 1])
        height_m = ellipsoidal_height_m(lon, lat, xyz[:, 2], reference, places.undulation_m)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    enu_m = places.frame.enu_from_wgs84(lon, lat, height_m)
    far_m = float(np.abs(enu_m).max())
    if far_m > MAX_OFFSET_M:
        raise InputError(
            f"{path}: points are {far_m / 1000:.0f} km from the anchors ({places.frame.name}); is {crs} its CRS, "
            "and are the anchors of the same city?"
        )
    return enu_m


def _sorted_by_cell(enu_m: Float, block: int) -> tuple[Float32, NDArray[Any]]:
    """The points relative to their cells, cell by cell, and a row of CELL_FIELDS for each."""
    cell = np.floor(enu_m[:, :2] / CELL_M).astype(np.int64)
    order = np.lexsort((cell[:, 1], cell[:, 0]))
    cell, enu_m = cell[order], enu_m[order]
    first = np.flatnonzero(np.r_[True, (np.diff(cell, axis=0) != 0).any(axis=1)])
    count = np.diff(np.r_[first, len(cell)])
    relative = enu_m.copy()
    relative[:, :2] -= cell * CELL_M
    rows = np.zeros(len(first), CELL_FIELDS)
    rows["x"], rows["y"] = cell[first].T
    rows["block"], rows["first"], rows["count"] = block, first, count
    rows["low_m"], rows["high_m"] = (f.reduceat(enu_m[:, 2], first) for f in (np.minimum, np.maximum))
    largest = int(np.argmax(count))  # neighbours are recorded alike: one cell speaks for its block
    rows["reach_m"] = reach_m(relative[first[largest] : first[largest] + count[largest]])
    return relative.astype("<f4"), rows


def reach_m(points_m: Float) -> float:
    """How far around a point of (N, 3) its surface surely continues, metres: some spacings of the points."""
    if len(points_m) <= NEAREST:
        return CELL_M / 4
    some = points_m[:: max(1, len(points_m) // SAMPLE)]
    distance, _ = cKDTree(points_m).query(some, k=[NEAREST + 1])
    return float(REACH_PER_DISTANCE * np.median(distance))
