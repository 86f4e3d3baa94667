"""Reading laser scans from disk, and refusing clouds that would poison a pose.

Two kinds of layout. Plain rows of float32 that begin with x, y, z: `kitti_bin` (a fourth, intensity), `float32x3`,
`float32x5` (nuScenes: a fifth, the ring), `float32x6`. And `vbr_bin`, an organised Ouster cloud that the VBR exporter
writes either reduced to the same four floats or as the full record, with a .metadata.json that describes the full
record in both cases. Which of the two it is follows from the file's size, because the number of points of an organised
cloud is known to be rows × columns of the sensor.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from geocorrect.errors import InputError
from geocorrect.geometry.pose import Float
from geocorrect.io.pixels import read_bytes

KITTI_BIN = "kitti_bin"
VBR_BIN = "vbr_bin"
COLUMNS = {KITTI_BIN: 4, "float32x3": 3, "float32x5": 5, "float32x6": 6}
"""Numbers in a row of the plain layouts."""
FORMATS = (*COLUMNS, VBR_BIN)

MAX_COORDINATE_M = 1000.0
"""No street laser sees further; a damaged file has values up to 1e38, and one such point can move a pose by 1e31 m."""
MAX_DAMAGED = 0.05
"""Share of such returns above which the file is not what it is declared to be."""
ROWS_LOOKED_AT = 20_000
CLEARLY_SMOOTHER = 0.5

INVALID_RETURN_M = 1e-6
REDUCED_POINT_BYTES = 16
MAX_POINT_BYTES = 128
OUSTER_ROWS = (16, 32, 64, 128)
OUSTER_COLUMNS = (512, 1024, 2048, 4096)
OUSTER_POINTS = frozenset(rows * columns for rows in OUSTER_ROWS for columns in OUSTER_COLUMNS)

NUMPY_OF_ROS = {1: "<i1", 2: "<u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 8: "<f8"}
"""sensor_msgs/PointField datatype codes."""


class Scan(NamedTuple):
    """What a scan file holds."""

    points_lidar_m: Float
    """(N, 3) returns in the LiDAR's frame."""
    n_left_out: int
    """Returns of which the file makes no sense: infinite, or beyond every laser's range."""


def read_scan(path: Path, layout: str) -> Scan:
    """A scan, invalid returns (zeros, nan) dropped.

    Raises InputError naming the file when it is missing, when its layout is not one of FORMATS or cannot have its size
    or is clearly another one, and when many coordinates are absurd.
    """
    data = read_bytes(path)
    if layout in COLUMNS:
        points = _rows(path, data, COLUMNS[layout])
        _refuse_other_width(path, data, layout)
    elif layout == VBR_BIN:
        points = _ouster(path, data)
    else:
        raise InputError(f"{path}: unknown scan layout {layout!r}; known are {', '.join(FORMATS)}")
    return _checked(path, points)


def _checked(path: Path, points: Float) -> Scan:
    returned = ~np.isnan(points).any(axis=1) & ~(np.abs(points) < INVALID_RETURN_M).all(axis=1)
    points = points[returned]
    damaged = ~(np.abs(points) <= MAX_COORDINATE_M).all(axis=1)
    if damaged.sum() > MAX_DAMAGED * len(points):
        first = int(np.flatnonzero(damaged)[0])
        raise InputError(
            f"{path}: {int(damaged.sum())} of {len(points)} returns are infinite or beyond {MAX_COORDINATE_M:g} m "
            f"(first {points[first]}); the file is damaged, or of another layout ({', '.join(FORMATS)})"
        )
    if not len(points):
        raise InputError(f"{path}: the scan holds no valid return")
    return Scan(points[~damaged], int(damaged.sum()))


def _rows(path: Path, data: bytes, columns: int) -> Float:
    if len(data) % (4 * columns):
        raise InputError(
            f"{path}: {len(data)} bytes is no multiple of {4 * columns} ({columns} float32 a return); "
            f"the file is truncated or of another layout ({', '.join(FORMATS)})"
        )
    points: Float = np.frombuffer(data, "<f4").reshape(-1, columns)[:, :3].astype(np.float64)
    return points


def _refuse_other_width(path: Path, data: bytes, layout: str) -> None:
    """Bytes that divide by two widths of a row: consecutive returns of a scanner are near each other in the right one.

    Five columns read as four gave 155,755 returns of 124,604, all of them somewhere else.
    """
    steps = {
        name: _step(_rows(path, data[: 4 * columns * ROWS_LOOKED_AT], columns))
        for name, columns in COLUMNS.items()
        if len(data) % (4 * columns) == 0 and len(data)
    }
    best = min(steps, key=lambda name: steps[name], default=layout)
    if steps.get(best, 1.0) < CLEARLY_SMOOTHER * steps.get(layout, 1.0):
        raise InputError(f"{path}: declared as {layout}, but its rows are those of {best}; declare that scan format")


def _step(points: Float) -> float:
    """Median distance of consecutive returns, as a share of their median range."""
    with np.errstate(all="ignore"):
        returns = points[(np.abs(points) <= MAX_COORDINATE_M).all(axis=1)]
        if len(returns) < 3:
            return 1.0
        range_m = float(np.median(np.linalg.norm(returns, axis=1)))
        return float(np.median(np.linalg.norm(np.diff(returns, axis=0), axis=1))) / max(range_m, INVALID_RETURN_M)


def _ouster(path: Path, data: bytes) -> Float:
    """Reduced or full record, decided by the size, or by whether the values make sense where the size fits both."""
    fields = _fields(path.parent.parent / ".metadata.json")
    smallest = max(int(f["offset"]) + np.dtype(NUMPY_OF_ROS[int(f["datatype"])]).itemsize for f in fields)
    steps = sorted(len(data) // points for points in OUSTER_POINTS if len(data) % points == 0)
    if REDUCED_POINT_BYTES in steps and _looks_like_returns(points := _rows(path, data, 4)):
        return points
    for step in steps:
        if smallest <= step <= MAX_POINT_BYTES and _looks_like_returns(points := _full_record(data, fields, step)):
            return points
    raise InputError(
        f"{path}: {len(data)} bytes is no organised Ouster cloud: neither {REDUCED_POINT_BYTES} bytes a point "
        f"(reduced) nor {smallest}…{MAX_POINT_BYTES} (full record) times 16/32/64/128 rows × "
        "512/1024/2048/4096 columns; the file is truncated, export it again"
    )


def _looks_like_returns(points: Float) -> bool:
    """Whether floats were read as floats: integers and paddings read as floats are denormal or absurd.

    A few damaged points are let through here: `read_scan` leaves them out. Records are tried from the shortest, because
    every second record of a cloud looks like a cloud too.
    """
    size = np.abs(points)
    plausible = ((size <= MAX_COORDINATE_M) & ((size > 1e-12) | (size == 0.0))).all(axis=1)
    return float(plausible.mean()) > 0.95


def _full_record(data: bytes, fields: list[dict[str, Any]], step: int) -> Float:
    by_name = {f["name"]: f for f in fields}
    formats = [NUMPY_OF_ROS[int(by_name[axis]["datatype"])] for axis in "xyz"]
    offsets = [int(by_name[axis]["offset"]) for axis in "xyz"]
    cloud = np.frombuffer(
        data, np.dtype({"names": list("xyz"), "formats": formats, "offsets": offsets, "itemsize": step})
    )
    return np.stack([cloud[axis].astype(np.float64) for axis in "xyz"], axis=1)


def _fields(metadata: Path) -> list[dict[str, Any]]:
    """Field descriptions of the full record; the pickled dtype beside them is never opened (pickle runs code)."""
    try:
        fields = json.loads(read_bytes(metadata))["fields"]
        names = {f["name"] for f in fields}
        usable = {"x", "y", "z"} <= names and all(
            int(f["datatype"]) in NUMPY_OF_ROS and int(f["offset"]) >= 0 for f in fields
        )
    except (ValueError, KeyError, TypeError):
        usable = False
    if not usable:
        raise InputError(f"{metadata}: no usable list `fields` with x, y, z (name, offset, datatype)")
    return list(fields)
