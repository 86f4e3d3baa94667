"""Points of LAS, LAZ, COPC, PLY and E57 files, about a million at a time, in the coordinates of the file."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geocorrect.depth.pointcloud.copc import Wanted, copc_chunks
from geocorrect.errors import InputError, ModelError
from geocorrect.geometry.pose import Float

CHUNK = 1_000_000
"""Points in memory at once."""
MAX_SINGLE = 131_072.0
"""Above, 32-bit floats are steps of more than a centimetre."""
PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
PLY_CLASSES = ("classification", "scalar_Classification", "class")
"""Names of the property that programs write a point's class into."""


class Points(NamedTuple):
    """Some points of a file."""

    xyz: Float
    """(N, 3) in the file's coordinates, x east."""
    classes: NDArray[np.uint8]
    """(N,) as in LAS; 0 = never classified, also where the file has no classes."""


@dataclass(frozen=True)
class CloudFile:
    """An open file of points."""

    path: Path
    crs: str | None
    """What the file says that its coordinates are in; None where it does not say."""
    n_points: int
    chunks: Callable[[Wanted | None], Iterator[Points]]
    """All points; of a file in tiles those of the wanted ones."""
    is_tiled: bool = False


SUFFIXES = (".las", ".laz", ".ply", ".e57")


def cloud_files(paths: Sequence[Path]) -> list[Path]:
    """The point clouds among files and folders, those of a folder by name; InputError when a folder has none."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise InputError(f"{path}: holds no {', '.join(SUFFIXES)}")
        found += inside
    return found


def open_cloud(path: Path) -> CloudFile:
    """A file by its ending.

    Raises:
        InputError: it is missing, damaged, or of another kind; names the file.
        ModelError: the library that reads it is not installed.
    """
    suffix = path.suffix.lower()
    reader = {".las": _las, ".laz": _las, ".ply": _ply, ".e57": _e57}.get(suffix)
    if reader is None:
        raise InputError(f"{path}: no point cloud that is read here; use {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such point cloud")
    return reader(path)


def read_cloud(cloud: CloudFile, wanted: Wanted | None = None) -> Iterator[Points]:
    """All points of a file, checked; of a file in tiles only those of the wanted ones.

    Raises:
        InputError: a coordinate is not finite, or there are fewer points than the header says.
    """
    seen = 0
    chunks = cloud.chunks(wanted)
    while True:
        try:
            points = next(chunks, None)
        except (InputError, MemoryError):
            raise
        except Exception as error:  # laspy, lazrs and pye57 raise whatever their decoders raise
            raise InputError(f"{cloud.path}: damaged after {seen} points ({error}); export it again") from None
        if points is None:
            break
        bad = ~np.isfinite(points.xyz).all(axis=1)
        if bad.any():
            raise InputError(f"{cloud.path}: point {seen + int(np.flatnonzero(bad)[0])} is not finite; export it again")
        seen += len(points.xyz)
        yield points
    if seen != cloud.n_points and not (wanted and cloud.is_tiled):
        raise InputError(f"{cloud.path}: holds {seen} points, its header says {cloud.n_points}; it is truncated")


def _missing(library: str, path: Path) -> ModelError:
    return ModelError(f"{path}: {library} is not installed; run `pip install 'geocorrect[pointcloud]'`")


def _las(path: Path) -> CloudFile:
    try:
        import laspy
    except ImportError:
        raise _missing("laspy", path) from None
    try:
        with laspy.open(path) as reader:
            header, crs = reader.header, reader.header.parse_crs()
            is_tiled = bool(header.vlrs) and isinstance(header.vlrs[0], laspy.copc.CopcInfoVlr)
    except Exception as error:  # a damaged header raises what its parser raises
        raise InputError(f"{path}: not a readable LAS or LAZ file ({error})") from None
    code = None if crs is None else crs.to_epsg(min_confidence=100)

    def chunks(wanted: Wanted | None) -> Iterator[Points]:
        for points in copc_chunks(path, CHUNK, wanted) if is_tiled else _in_order(path):
            xyz = np.stack([np.asarray(points[axis], float) for axis in "xyz"], axis=1)
            classes = np.array(points.classification, np.uint8)
            classes[np.asarray(points.withheld, bool)] = 7  # deleted, says the specification: as noise
            yield Points(xyz, classes)

    text = None if crs is None else crs.to_wkt() if code is None else f"EPSG:{code}"
    return CloudFile(path, text, int(header.point_count), chunks, is_tiled)


def _in_order(path: Path) -> Iterator[Any]:
    import laspy

    with laspy.open(path) as reader:
        yield from reader.chunk_iterator(CHUNK)


def _e57(path: Path) -> CloudFile:
    try:
        import pye57
    except ImportError:
        raise _missing("pye57", path) from None
    try:
        file = pye57.E57(str(path))
        counts = [int(file.get_header(number).point_count) for number in range(file.scan_count)]
    except Exception as error:
        raise InputError(f"{path}: not a readable E57 file ({error})") from None

    def chunks(_: Wanted | None) -> Iterator[Points]:
        for number in range(len(counts)):
            header = file.get_header(number)
            cartesian = ["cartesianX", "cartesianY", "cartesianZ"]
            if not set(cartesian) <= set(header.point_fields):
                raise InputError(f"{path}: scan {number} has no cartesian coordinates; export it with them")
            invalid = [name for name in ("cartesianInvalidState",) if name in header.point_fields]
            data, buffers = file.make_buffers([*cartesian, *invalid], CHUNK)
            reader = header.points.reader(buffers)
            turn, shift = np.eye(3), np.zeros(3)
            if header.has_pose():
                turn, shift = np.asarray(header.rotation_matrix), np.asarray(header.translation)
            while n := reader.read():
                xyz = np.stack([data[name][:n] for name in cartesian], axis=1) @ turn.T + shift
                lost = data[invalid[0]][:n] != 0 if invalid else np.zeros(n, bool)
                xyz[lost] = shift
                yield Points(xyz, np.where(lost, 7, 0).astype(np.uint8))
            reader.close()  # the library has one open at a time

    return CloudFile(path, None, sum(counts), chunks)


def _ply(path: Path) -> CloudFile:
    with path.open("rb") as file:
        layout, n_points, record = _ply_header(path, file)
        start = file.tell()
    names = record.names or ()
    if not {"x", "y", "z"} <= set(names):
        raise InputError(f"{path}: its vertices have no x, y, z")
    classes = next((name for name in PLY_CLASSES if name in names), None)
    if layout != "ascii" and path.stat().st_size - start < n_points * record.itemsize:
        raise InputError(f"{path}: shorter than {n_points} vertices of {record.itemsize} bytes; it is truncated")

    def chunks(_: Wanted | None) -> Iterator[Points]:
        with path.open("rb") as file:
            file.seek(start)
            for first in range(0, n_points, CHUNK):
                count = min(CHUNK, n_points - first)
                if layout == "ascii":
                    lines = list(itertools.islice(file, count))
                    table = np.loadtxt(lines, ndmin=2)
                    rows = {name: table[:, column] for column, name in enumerate(names)}
                else:
                    cloud = np.fromfile(file, record, count)
                    rows = {name: cloud[name] for name in names}
                xyz = np.stack([np.asarray(rows[axis], float) for axis in "xyz"], axis=1)
                _refuse_coarse(path, record, xyz)
                yield Points(xyz, np.zeros(len(xyz), np.uint8) if classes is None else rows[classes].astype(np.uint8))

    return CloudFile(path, None, n_points, chunks)


def _refuse_coarse(path: Path, record: np.dtype[Any], xyz: Float) -> None:
    """InputError for map coordinates in 32 bits: at UTM's magnitude they are steps of half a metre."""
    single = [axis for axis, name in enumerate("xyz") if record[name] in (np.dtype("<f4"), np.dtype(">f4"))]
    if single and float(np.abs(xyz[:, single]).max(initial=0.0)) > MAX_SINGLE:
        raise InputError(f"{path}: map coordinates as 32-bit floats are steps of up to 0.5 m; export them as double")


def _ply_header(path: Path, file: BinaryIO) -> tuple[str, int, np.dtype[Any]]:
    """(layout, number of vertices, record of a vertex); the file stands behind the header."""
    lines = [file.readline(1000).decode("ascii", "replace").split()]
    while lines[-1] != ["end_header"]:
        lines.append(file.readline(1000).decode("ascii", "replace").split())
        if len(lines) > 1000 or file.tell() >= path.stat().st_size:
            raise InputError(f"{path}: not a PLY file (its header has no end)")
    layout = next((words[1] for words in lines if words[:1] == ["format"] and len(words) > 1), "")
    order = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}.get(layout)
    elements = [number for number, words in enumerate(lines) if words[:1] == ["element"]]
    try:
        if lines[0] != ["ply"] or order is None or lines[elements[0]][1] != "vertex":
            raise ValueError("the first element must be the vertices, ascii or binary")
        end = elements[1] if len(elements) > 1 else len(lines)
        properties = [words for words in lines[elements[0] : end] if words[:1] == ["property"]]
        record = np.dtype([(words[2], order + PLY_TYPES[words[1]]) for words in properties])
        return layout, int(lines[elements[0]][2]), record
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a PLY file of plain vertices ({error})") from None
