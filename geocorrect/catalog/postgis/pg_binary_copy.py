"""Columns in PostgreSQL's binary COPY format, whole batches at once.

Format: PostgreSQL manual, COPY, "Binary Format": every row is the number of fields, then for each field its size (-1:
NULL) and its bytes in network order. Rows with NULLs in the same columns and texts of the same lengths have the same
layout, so that numpy writes them side by side; only texts of different lengths are put together one by one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from sqlalchemy import Boolean, Double, Integer, Table

from geocorrect.catalog.rows.column_types import Instant, Json, Numbers, json_bytes
from geocorrect.catalog.rows.geometry_type import WGS84_SRID, Geometry, Outlines, ewkb_points

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"
Columns = Mapping[str, Any]
_FLOAT8_OID = 701
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_SIZE = struct.Struct(">i")
_VARIABLE = (Geometry, Json, Outlines)


@dataclass(frozen=True)
class _Field:
    """A column in binary form."""

    present: NDArray[np.bool_]
    """(N,) False: NULL."""
    values: Any
    """(N,) of a fixed-width dtype, or a list of bytes."""


def field_order(table: Table, names: Sequence[str]) -> list[str]:
    """The columns with those of fixed width first, so that they form one block."""
    return sorted(names, key=lambda name: _is_text(table.c[name].type))


def binary_rows(table: Table, names: Sequence[str], columns: Columns) -> bytes:
    """Rows of a table, without HEADER and TRAILER; names: the order of the fields, see `field_order`."""
    fields = [_field(table.c[name].type, columns[name]) for name in names]
    groups = _alike([field.present for field in fields])
    if len(groups) == 1:
        return b"".join(chain.from_iterable(_group(fields, groups[0])))
    ordered = [b""] * len(fields[0].present)
    for rows in groups:
        for k, parts in zip(rows.tolist(), _group(fields, rows), strict=True):
            ordered[k] = b"".join(parts)
    return b"".join(ordered)


def _alike(present: Sequence[NDArray[np.bool_]]) -> list[NDArray[np.intp]]:
    """Indices of rows, those with NULLs in the same columns together."""
    groups = np.zeros(len(present[0]), dtype=np.int64)
    for column in present:
        if not column.all():
            groups = np.unique(2 * groups + column, return_inverse=True)[1].ravel()
    return [np.flatnonzero(groups == k) for k in np.unique(groups)]


def _is_text(kind: Any) -> bool:
    return isinstance(kind, _VARIABLE) or not isinstance(kind, Double | Integer | Boolean | Instant | Numbers)


# --- columns --------------------------------------------------------------------------------------------


def _field(kind: Any, values: Any) -> _Field:
    if isinstance(kind, Geometry):
        return _geometry_field(kind, values)
    if isinstance(kind, Outlines):
        return _Field(np.isfinite(values).all(axis=(1, 2)), kind.ewkb(values))
    if isinstance(kind, Numbers):
        return _array_field(values)
    if isinstance(kind, Instant):
        return _instant_field(values)
    for scalar, dtype in ((Double, ">f8"), (Boolean, "u1"), (Integer, ">i4")):
        if isinstance(kind, scalar):
            numbers = np.asarray(values, dtype=np.float64)
            present: Any = np.isfinite(numbers)
            return _Field(present, np.where(present, numbers, 0.0).astype(dtype))
    present = np.array([value is not None for value in values], dtype=bool)
    if isinstance(kind, Json):
        return _Field(present, [None if value is None else b"\x01" + json_bytes(value) for value in values])
    return _Field(present, [None if value is None else value.encode() for value in values])


def _geometry_field(kind: Geometry, values: Any) -> _Field:
    if isinstance(values, np.ndarray):
        present: Any = np.isfinite(values[:, :2]).all(axis=1)
        blobs = ewkb_points(values[:, : 3 if kind.with_z else 2])
        return _Field(present, np.array(blobs, dtype=f"V{len(blobs[0])}"))
    geometries = np.array(values, dtype=object)
    present = np.array([value is not None for value in values], dtype=bool)
    return _Field(present, list(shapely.to_wkb(shapely.set_srid(geometries, WGS84_SRID), include_srid=True)))


def _instant_field(values: Sequence[datetime | None]) -> _Field:
    micros = {value: 0 if value is None else _microseconds(value) for value in set(values)}
    present = np.array([value is not None for value in values], dtype=bool)
    return _Field(present, np.array([micros[value] for value in values], dtype=">i8"))


def _microseconds(value: datetime) -> int:
    """Microseconds since 2000, at whole milliseconds (the precision of both back-ends)."""
    apart = value - _EPOCH
    return (apart.days * 86_400_000 + apart.seconds * 1000 + apart.microseconds // 1000) * 1000


def _array_field(values: Any) -> _Field:
    """Lists of numbers as double precision[] (PostgreSQL `array_recv`)."""
    if isinstance(values, np.ndarray):
        present: Any = np.isfinite(values).all(axis=1)
        return _Field(present, _arrays(values).view(f"V{20 + 12 * values.shape[1]}").ravel())
    present = np.array([value is not None for value in values], dtype=bool)
    return _Field(present, [None if v is None else _arrays(np.array([v], float)).tobytes() for v in values])


def _arrays(numbers: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(N, 20 + 12 k) bytes of N arrays of k numbers."""
    count = numbers.shape[1]
    element = np.dtype([("size", ">i4"), ("value", ">f8")])
    rows = np.empty(len(numbers), dtype=[("head", ">i4", 5), ("elements", element, count)])
    rows["head"] = (1, 0, _FLOAT8_OID, count, 1)  # dimensions, has nulls, element type, length, lower bound
    rows["elements"]["size"], rows["elements"]["value"] = 8, numbers
    return rows.view(np.uint8).reshape(len(numbers), 20 + 12 * count)


# --- rows -----------------------------------------------------------------------------------------------


def _group(fields: Sequence[_Field], rows: NDArray[np.intp]) -> Iterable[tuple[bytes, ...]]:
    """The rows of these indices, which have NULLs in the same columns, each in pieces."""
    parts: list[list[bytes]] = []
    block: list[Any] = [np.full(len(rows), len(fields), ">i2")]
    for field in fields:
        if not field.present[rows[0]]:
            block.append(np.full(len(rows), -1, ">i4"))
            continue
        values = _same_width(field.values, rows)
        if isinstance(values, np.ndarray):
            block += [np.full(len(rows), values.dtype.itemsize, ">i4"), values]
        else:
            parts += [_side_by_side(block)] if block else []
            parts.append([_SIZE.pack(len(value)) + value for value in values])
            block = []
    parts += [_side_by_side(block)] if block else []
    return zip(*parts, strict=True)


def _same_width(values: Any, rows: NDArray[np.intp]) -> Any:
    """The values of some rows: an array when all have the same width, else a list of bytes."""
    if isinstance(values, np.ndarray):
        return values[rows]
    chosen = [values[k] for k in rows.tolist()]
    width = len(chosen[0])
    if any(len(value) != width for value in chosen):
        return chosen
    return np.frombuffer(b"".join(chosen), dtype=f"V{width}") if width else np.empty(len(chosen), "V0")


def _side_by_side(columns: Sequence[NDArray[Any]]) -> list[bytes]:
    """The bytes of equally long columns, row by row."""
    packed = np.empty(len(columns[0]), dtype=[(f"c{k}", column.dtype) for k, column in enumerate(columns)])
    for k, column in enumerate(columns):
        packed[f"c{k}"] = column
    joined, width = packed.tobytes(), packed.dtype.itemsize
    return [joined[start : start + width] for start in range(0, len(joined), width)]
