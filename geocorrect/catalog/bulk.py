"""Many rows at once: COPY on PostgreSQL, plain executemany with a bulk-filled spatial index in a GeoPackage."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from sqlalchemy import ColumnElement, Connection, Table, Text, any_, func, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from geocorrect.catalog.codec import Row
from geocorrect.catalog.column_types import Instant, Json, Numbers, instant_text, json_text
from geocorrect.catalog.geometry_type import WGS84_SRID, Geometry, geopackage_blob, geopackage_point_blobs
from geocorrect.catalog.geopackage import rtree_statements
from geocorrect.catalog.literal_sql import driver_cursor, run_sql

# From so many rows on it pays to fill the R-tree apart from its trigger.
BULK_RTREE_ROWS = 2000
ANALYZE_ROWS = 2000
_ARRAY_HEAD = struct.Struct(">iiiii")  # dimensions, has nulls, element type, length, lower bound
_FLOAT8_OID = 701
_COPY_TYPES = {"INTEGER": "int4", "TEXT": "text", "DOUBLE": "float8", "DOUBLE_PRECISION": "float8", "BOOLEAN": "bool"}


def among(connection: Connection, column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Condition "column is one of values" that carries any number of them in one parameter."""
    if connection.dialect.name == "postgresql":
        return column == any_(literal(list(values), ARRAY(Text if isinstance(values[0], str) else column.type)))
    each = func.json_each(json_text(list(values))).table_valued("value")
    return column.in_(select(each.c.value))


def reserve_fids(connection: Connection, table: Table, count: int) -> list[int]:
    """Keys for so many new rows, so that what refers to them can be written without reading them back."""
    if connection.dialect.name == "postgresql":
        query = text("select nextval(pg_get_serial_sequence(:name, 'fid')) from generate_series(1, :count)")
        return list(connection.execute(query, {"name": table.name, "count": count}).scalars())
    last = connection.execute(text("select seq from sqlite_sequence where name = :name"), {"name": table.name}).scalar()
    return list(range((last or 0) + 1, (last or 0) + 1 + count))


def insert_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows that all have the same columns; part of the connection's transaction."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        _copy(connection, table, rows)
        if len(rows) >= ANALYZE_ROWS:
            # Until the server counts again by itself, it would plan for an empty table.
            run_sql(connection, f'analyze "{table.name}"')
    else:
        _insert_into_geopackage(connection, table, rows)


def _copy(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    names = list(rows[0])
    columns = [_for_postgres(table.c[name].type, [row[name] for row in rows]) for name in names]
    listed = ", ".join(f'"{name}"' for name in names)
    statement = f'COPY "{table.name}" ({listed}) FROM STDIN (FORMAT BINARY)'
    with driver_cursor(connection) as cursor, cursor.copy(statement) as copy:
        copy.set_types([_copy_type(table.c[name].type) for name in names])
        for values in zip(*columns, strict=True):
            copy.write_row(values)


def _copy_type(kind: Any) -> str:
    if isinstance(kind, Geometry):
        return "bytea"  # what PostGIS reads in binary mode is EWKB, byte for byte; arrays are packed below
    if isinstance(kind, Json):
        return "jsonb"
    if isinstance(kind, Numbers):
        return "bytea"
    if isinstance(kind, Instant):
        return "timestamptz"
    return _COPY_TYPES[kind.__visit_name__.upper()]


def _for_postgres(kind: Any, values: list[Any]) -> list[Any]:
    if isinstance(kind, Geometry):
        geometries = shapely.set_srid(np.array(values, dtype=object), WGS84_SRID)
        return list(shapely.to_wkb(geometries, include_srid=True, byte_order=1))
    if isinstance(kind, Json):
        from psycopg.types.json import Jsonb

        return [None if value is None else Jsonb(value, dumps=json_text) for value in values]
    if isinstance(kind, Numbers):
        return [None if value is None else _binary_array(value) for value in values]
    if isinstance(kind, Instant):
        return [None if v is None else v.replace(microsecond=v.microsecond // 1000 * 1000) for v in values]
    return values


def _binary_array(values: Sequence[float]) -> bytes:
    """Wire format of double precision[] (PostgreSQL `array_recv`): five times faster than the driver's own."""
    elements = np.empty(len(values), dtype=[("size", ">i4"), ("value", ">f8")])
    elements["size"], elements["value"] = 8, values
    return _ARRAY_HEAD.pack(1, 0, _FLOAT8_OID, len(values), 1) + elements.tobytes()


def _insert_into_geopackage(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    names = list(rows[0])
    columns = [_for_sqlite(table.c[name].type, [row[name] for row in rows]) for name in names]
    fills_rtree = "geom" in names and "fid" in names and len(rows) >= BULK_RTREE_ROWS
    if fills_rtree:
        run_sql(connection, f'DROP TRIGGER "rtree_{table.name}_geom_insert"')
    listed, marks = ", ".join(f'"{name}"' for name in names), ", ".join("?" * len(names))
    with driver_cursor(connection) as cursor:
        values = list(zip(*columns, strict=True))
        cursor.executemany(f'INSERT INTO "{table.name}" ({listed}) VALUES ({marks})', values)
        if fills_rtree:
            boxes = _boxes([row["fid"] for row in rows], [row["geom"] for row in rows])
            cursor.executemany(f'INSERT INTO "rtree_{table.name}_geom" VALUES (?, ?, ?, ?, ?)', boxes)
            cursor.execute(next(s for s in rtree_statements(table.name) if "_geom_insert" in s.split("\n")[0]))


def _for_sqlite(kind: Any, values: list[Any]) -> list[Any]:
    if isinstance(kind, Geometry):
        return _geopackage_blobs(kind, values)
    if isinstance(kind, Json | Numbers):
        return [None if value is None else json_text(value) for value in values]
    if isinstance(kind, Instant):
        return [None if value is None else instant_text(value) for value in values]
    return values


def _geopackage_blobs(kind: Geometry, values: list[Any]) -> list[bytes | None]:
    if kind.kind != "POINT":
        return [None if value is None else geopackage_blob(value) for value in values]
    present = [i for i, value in enumerate(values) if value is not None]
    blobs: list[bytes | None] = [None] * len(values)
    xyz = shapely.get_coordinates([values[i] for i in present], include_z=bool(kind.with_z))
    points = geopackage_point_blobs(xyz[:, 0], xyz[:, 1], xyz[:, 2] if kind.with_z else None)
    for i, blob in zip(present, points, strict=True):
        blobs[i] = blob
    return blobs


def _boxes(fids: list[int], geometries: list[Any]) -> list[tuple[float, ...]]:
    bounds = shapely.bounds(np.array(geometries, dtype=object))
    return [
        (fid, west, east, south, north)
        for fid, (west, south, east, north) in zip(fids, bounds.tolist(), strict=True)
        if west == west  # nan: no geometry
    ]
