"""A COPC file, as no library at hand writes it: an octree of LAZ chunks and its hierarchy (copc.io, version 1.0)."""

from __future__ import annotations

import struct
from pathlib import Path

import laspy
import lazrs
import numpy as np
from laspy.vlrs.vlr import VLR
from numpy.typing import NDArray
from pyproj import CRS

Float = NDArray[np.float64]
Key = tuple[int, int, int, int]
HEADER, VLR_HEAD, INFO = 375, 54, 160


def octree(xyz: Float, low: Float, side: float, capacity: int, rng: np.random.Generator) -> dict[Key, NDArray[np.intp]]:
    """Rows of the points of each node: a random part of a cube stays in it, the rest goes down."""
    nodes: dict[Key, NDArray[np.intp]] = {}

    def fill(key: Key, rows: NDArray[np.intp]) -> None:
        chosen = rng.permutation(rows)
        nodes[key], rest = chosen[:capacity], chosen[capacity:]
        if not len(rest):
            return
        level, *at = key
        half = side / 2 ** (level + 1)
        octant = np.clip(np.floor((xyz[rest] - low - 2 * half * np.array(at)) / half), 0, 1).astype(int)
        for child in np.unique(octant, axis=0):
            inside = (octant == child).all(axis=1)
            fill((level + 1, *(2 * a + int(c) for a, c in zip(at, child, strict=True))), rest[inside])

    fill((0, 0, 0, 0), np.arange(len(xyz)))
    return nodes


def write_copc(path: Path, xyz: Float, crs: str, capacity: int = 200, seed: int = 1) -> Path:
    """Points of format 6 in millimetres; hierarchy in one page behind the points."""
    low = xyz.min(axis=0)
    side = float(np.ptp(xyz, axis=0).max()) * 1.001
    nodes = octree(xyz, low, side, capacity, np.random.default_rng(seed))
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales, header.offsets = np.full(3, 0.001), np.floor(low)
    header.add_crs(CRS.from_user_input(crs))
    laz = lazrs.LazVlr.new_for_compression(6, 0, True)
    info = VLR("copc", 1, "COPC info", bytes(INFO))
    known = [info, VLR("laszip encoded", 22204, "", laz.record_data()), *header.vlrs]
    header.vlrs.clear()
    header.vlrs.extend(known)
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = xyz.T
    cloud.classification = np.ones(len(xyz), np.uint8)
    header.update(cloud.points)
    header.are_points_compressed = True
    entries, order = [], sorted(nodes)
    with path.open("wb+") as file:
        header.write_to(file)
        start = file.tell()
        compressor = lazrs.LasZipCompressor(file, laz)
        compressor.reserve_offset_to_chunk_table()
        begin = start + 8
        for key in order:
            compressor.compress_many(np.ascontiguousarray(cloud.points.array[nodes[key]]).view(np.uint8))
            compressor.finish_current_chunk()
            file.flush()
            end = file.tell()
            entries.append(struct.pack("<4iQ2i", *key, begin, end - begin, len(nodes[key])))
            begin = end
        compressor.done()
        file.seek(0, 2)
        hierarchy, page = file.tell(), b"".join(entries)
        file.write(struct.pack("<H16sHQ32s", 0, b"copc", 1000, len(page), b"") + page)
        half = side / 2
        numbers = [*(low + half), half, side / 128]
        file.seek(HEADER + VLR_HEAD)
        file.write(struct.pack("<5d2Q2d", *numbers, hierarchy + 60, len(page), 0.0, 0.0))
        file.seek(235)  # start of the first extended record, and how many there are
        file.write(struct.pack("<QI", hierarchy, 1))
    return path
