"""Geometry columns: shapely in, shapely out, on PostGIS and on a GeoPackage.

PostGIS gets EWKB as hexadecimal text, which the server casts by itself; a GeoPackage gets the standard's binary
(GeoPackage 1.3, clause 2.1.3: header 'GP', flags, SRS id, envelope, ISO WKB). No spatial extension is needed on the
SQLite side.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import UserDefinedType

WGS84_SRID = 4326
_ENVELOPE_BYTES = (0, 32, 48, 48, 64)
_XY_ENVELOPE = 0b0000_0010
_LITTLE_ENDIAN = 0b0000_0001
_EMPTY = 0b0001_0000
_HEADER = struct.Struct("<2sBBi")
_FIRST_XY = struct.Struct("<dd")
_POINT_XY_OFFSET = 8 + 5  # header without envelope, then WKB byte order and type


def geopackage_blob(geometry: BaseGeometry) -> bytes:
    """The GeoPackage binary of a geometry in EPSG:4326; points carry no envelope, everything else an xy envelope."""
    flags, envelope = _LITTLE_ENDIAN, b""
    if geometry.is_empty:
        flags |= _EMPTY
    elif geometry.geom_type != "Point":
        min_x, min_y, max_x, max_y = geometry.bounds
        flags |= _XY_ENVELOPE
        envelope = struct.pack("<4d", min_x, max_x, min_y, max_y)
    wkb: bytes = shapely.to_wkb(geometry, flavor="iso", byte_order=1)
    return _HEADER.pack(b"GP", 0, flags, WGS84_SRID) + envelope + wkb


def geopackage_point_blobs(coordinates: NDArray[Any]) -> list[bytes]:
    """The GeoPackage binaries of points (N, 2) longitude, latitude or (N, 3) with height."""
    kind = 1 if coordinates.shape[1] == 2 else 1001
    head = _HEADER.pack(b"GP", 0, _LITTLE_ENDIAN, WGS84_SRID) + struct.pack("<BI", 1, kind)
    return [head + row.tobytes() for row in coordinates.astype("<f8")]


def ewkb_points(coordinates: NDArray[Any]) -> list[bytes]:
    """The PostGIS extended WKB of points (N, 2) longitude, latitude or (N, 3) with height."""
    kind = 0x2000_0001 if coordinates.shape[1] == 2 else 0xA000_0001
    head = struct.pack("<BII", 1, kind, WGS84_SRID)
    return [head + row.tobytes() for row in coordinates.astype("<f8")]


def geometry_from_blob(blob: bytes) -> BaseGeometry:
    """The geometry of a GeoPackage binary; ValueError when it is none."""
    if len(blob) < 8 or blob[:2] != b"GP":
        raise ValueError("not a GeoPackage geometry")
    envelope = _ENVELOPE_BYTES[(blob[3] >> 1) & 0b111]
    geometry: BaseGeometry = shapely.from_wkb(blob[8 + envelope :])
    return geometry


def blob_is_empty(blob: bytes | None) -> int | None:
    """ST_IsEmpty of the GeoPackage standard."""
    return None if blob is None else int(bool(blob[3] & _EMPTY))


def blob_bound(name: str) -> Callable[[bytes | None], float | None]:
    """ST_MinX, ST_MaxX, ST_MinY or ST_MaxY of the GeoPackage standard."""
    index = {"ST_MinX": 0, "ST_MinY": 1, "ST_MaxX": 2, "ST_MaxY": 3}[name]

    def bound(blob: bytes | None) -> float | None:
        if blob is None or blob[3] & _EMPTY:
            return None
        if not blob[3] & 0b1110 and blob[8] == 1 and blob[9:11] in (b"\x01\x00", b"\xe9\x03"):
            return float(_FIRST_XY.unpack_from(blob, _POINT_XY_OFFSET)[index % 2])
        return float(geometry_from_blob(blob).bounds[index])

    return bound


class Geometry(UserDefinedType[BaseGeometry]):
    """A column of one kind of geometry in EPSG:4326: "POINT", "LINESTRING", "POLYGON"; with_z adds the height in
    metres.
    """

    cache_ok = True

    def __init__(self, kind: str, with_z: str = "") -> None:
        self.kind = kind
        self.with_z = with_z

    @classmethod
    def point_z(cls) -> Geometry:
        """A point with an ellipsoidal height."""
        return cls("POINT", "Z")

    @classmethod
    def point(cls) -> Geometry:
        """A point without height."""
        return cls("POINT")

    def get_col_spec(self, **_: Any) -> str:
        """The column type of PostGIS."""
        return f"geometry({self.kind}{self.with_z},{WGS84_SRID})"

    def bind_processor(self, dialect: Dialect) -> Callable[[BaseGeometry | None], Any]:
        """Shapely to what the driver takes."""
        if dialect.name == "sqlite":
            return lambda value: None if value is None else geopackage_blob(value)
        return lambda value: (
            None if value is None else shapely.to_wkb(shapely.set_srid(value, WGS84_SRID), hex=True, include_srid=True)
        )

    def result_processor(self, dialect: Dialect, _: object) -> Callable[[Any], BaseGeometry | None]:
        """What the driver gives to shapely."""
        if dialect.name == "sqlite":
            return lambda value: None if value is None else geometry_from_blob(value)
        return lambda value: None if value is None else shapely.from_wkb(value)


class Outlines(UserDefinedType[Any]):
    """A column of lines or polygons without holes, written as (N, V, 2) longitudes and latitudes; nan: NULL.

    Only whole columns are written (`bulk`), and only views read them.
    """

    cache_ok = True

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def get_col_spec(self, **_: Any) -> str:
        """The column type of PostGIS."""
        return f"geometry({self.kind},{WGS84_SRID})"

    def geopackage_blobs(self, outlines: NDArray[np.float64]) -> list[bytes | None]:
        """The GeoPackage binaries."""
        lon, lat = np.ascontiguousarray(outlines[:, :, 0].T), np.ascontiguousarray(outlines[:, :, 1].T)
        envelopes = np.stack([lon.min(0), lon.max(0), lat.min(0), lat.max(0)], axis=1).astype("<f8")
        bodies: Any = outlines.astype("<f8")
        opening = _HEADER.pack(b"GP", 0, _LITTLE_ENDIAN | _XY_ENVELOPE, WGS84_SRID)
        kind = self._kind_number()
        head = struct.pack("<BI", 1, kind) + self._counts(outlines)
        return [
            opening + envelope.tobytes() + head + body.tobytes() if known else None
            for known, envelope, body in zip(np.isfinite(envelopes).all(axis=1), envelopes, bodies, strict=True)
        ]

    def ewkb(self, outlines: NDArray[np.float64]) -> NDArray[Any]:
        """The PostGIS extended WKB, (N,) of one width."""
        head = struct.pack("<BII", 1, 0x2000_0000 | self._kind_number(), WGS84_SRID) + self._counts(outlines)
        rows = np.empty(len(outlines), dtype=[("head", f"V{len(head)}"), ("body", "<f8", outlines.shape[1:])])
        rows["head"], rows["body"] = np.void(head), outlines
        return rows.view(f"V{rows.dtype.itemsize}")

    def _kind_number(self) -> int:
        return {"LINESTRING": 2, "POLYGON": 3}[self.kind]

    def _counts(self, outlines: NDArray[np.float64]) -> bytes:
        count = outlines.shape[1]
        return struct.pack("<I", count) if self.kind == "LINESTRING" else struct.pack("<II", 1, count)


@compiles(Geometry, "sqlite")
@compiles(Outlines, "sqlite")
def _compile_for_geopackage(column_type: Geometry | Outlines, _compiler: Any, **_: Any) -> str:
    return column_type.kind
