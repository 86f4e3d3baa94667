"""Many rows at once: a streamed COPY on PostgreSQL, plain executemany in a GeoPackage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Table, Text, any_, func, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from geocorrect.catalog.geopackage.database import rtree_statements
from geocorrect.catalog.literal_sql import driver_cursor, run_sql
from geocorrect.catalog.postgis.pg_binary_copy import HEADER, TRAILER, binary_rows, field_order
from geocorrect.catalog.rows.codec import Row
from geocorrect.catalog.rows.column_types import (
    Instant,
    Json,
    Numbers,
    instant_text,
    json_bytes,
    json_text,
    nullable_list,
)
from geocorrect.catalog.rows.geometry_type import Geometry, Outlines, geopackage_blob, geopackage_point_blobs

ANALYZE_ROWS = 2000
Columns = Mapping[str, Any]
"""Equally long columns by name. Numbers: arrays with nan for NULL, or lists with None. Geometry: (N, 2) or (N, 3)
coordinates of points, or shapely objects. Lists of numbers: (N, k). JSON: plain values, or bytes that are JSON."""


def among(dialect_name: str, column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Condition "column is one of values" that passes any number of them in one parameter."""
    if dialect_name == "postgresql":
        kind = Text if values and isinstance(values[0], str) else column.type
        return column == any_(literal(list(values), ARRAY(kind)))
    each = func.json_each(json_text(list(values))).table_valued("value")
    return column.in_(select(each.c.value))


def reserve_fids(connection: Connection, table: Table, count: int) -> list[int]:
    """Keys for so many new rows, so that what refers to them can be written without reading them back."""
    if connection.dialect.name == "postgresql":
        # Materialized: otherwise the sequence is looked up for every key, which takes ten times as long.
        query = text(
            "with counter as materialized (select cast(pg_get_serial_sequence(:name, 'fid') as regclass) as name) "
            "select array(select nextval(counter.name) from counter, generate_series(1, :count))"
        )
        return list(connection.execute(query, {"name": table.name, "count": count}).scalar_one())
    last = connection.execute(text("select seq from sqlite_sequence where name = :name"), {"name": table.name}).scalar()
    return list(range((last or 0) + 1, (last or 0) + 1 + count))


def insert_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows that all have the same columns; part of the connection's transaction."""
    if rows:
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        insert_chunks(connection, table, [columns], len(rows))


def insert_chunks(connection: Connection, table: Table, chunks: Iterable[Columns], count: int) -> None:
    """Insert chunks of columns, `count` rows in all; part of the connection's transaction.

    Every chunk has the same names. The next one is made while the server takes the one before.
    """
    if connection.dialect.name != "postgresql":
        with driver_cursor(connection) as cursor:
            insert_into_geopackage(cursor, table, chunks, count)
        return
    _copy(connection, table, chunks)
    if count >= ANALYZE_ROWS:
        # Until the server collects statistics by itself, it plans for an empty table, and for a full one where there is
        # next to nothing. Those of lists of numbers and JSON are never used and cost more than all others.
        analyzed = ", ".join(f'"{c.name}"' for c in table.columns if not isinstance(c.type, Json | Numbers))
        run_sql(connection, f'analyze "{table.name}" ({analyzed}), run, run_basis, retraction')


def _copy(connection: Connection, table: Table, chunks: Iterable[Columns]) -> None:
    from psycopg.copy import QueuedLibpqWriter

    ahead = iter(chunks)
    first = next(ahead, None)
    if first is None:
        return
    names = field_order(table, list(first))
    listed = ", ".join(f'"{name}"' for name in names)
    statement = f'COPY "{table.name}" ({listed}) FROM STDIN (FORMAT BINARY)'
    with driver_cursor(connection) as cursor, cursor.copy(statement, writer=QueuedLibpqWriter(cursor)) as copy:
        copy.write(HEADER)
        for columns in chain([first], ahead):
            copy.write(binary_rows(table, names, columns))
        copy.write(TRAILER)


# From so many rows on it pays to fill the R-tree apart from its trigger.
BULK_RTREE_ROWS = 2000


def insert_into_geopackage(cursor: Any, table: Table, chunks: Iterable[Columns], count: int) -> None:
    """Insert chunks of columns, `count` rows in all, on a cursor of the driver."""
    fills_rtree = "geom" in table.c and isinstance(table.c.geom.type, Geometry) and count >= BULK_RTREE_ROWS
    with _without_insert_trigger(cursor, table, fills_rtree):
        for columns in chunks:
            names = list(columns)
            listed, marks = ", ".join(f'"{name}"' for name in names), ", ".join("?" * len(names))
            values = [_stored(table.c[name].type, columns[name]) for name in names]
            cursor.executemany(f'INSERT INTO "{table.name}" ({listed}) VALUES ({marks})', zip(*values, strict=True))
            if fills_rtree:
                cursor.executemany(f'INSERT INTO "rtree_{table.name}_geom" VALUES (?, ?, ?, ?, ?)', _boxes(columns))


@contextmanager
def _without_insert_trigger(cursor: Any, table: Table, wanted: bool) -> Iterator[None]:
    """Part of the transaction: other connections never see the table without its trigger."""
    if not wanted:
        yield
        return
    cursor.execute(f'DROP TRIGGER "rtree_{table.name}_geom_insert"')
    yield
    cursor.execute(next(s for s in rtree_statements(table.name) if "_geom_insert" in s.split("\n")[0]))


def _stored(kind: Any, values: Any) -> Sequence[Any]:
    """What the driver takes."""
    if isinstance(kind, Geometry):
        return _blobs(kind, values)
    if isinstance(kind, Outlines):
        return kind.geopackage_blobs(values)
    if isinstance(kind, Json):
        return [None if value is None else json_bytes(value).decode() for value in values]
    if isinstance(kind, Numbers):
        return _number_lists(values)
    if isinstance(kind, Instant):
        written = {value: None if value is None else instant_text(value) for value in set(values)}
        return [written[value] for value in values]
    return nullable_list(values) if isinstance(values, np.ndarray) else values


def _blobs(kind: Geometry, values: Any) -> list[bytes | None]:
    if not isinstance(values, np.ndarray):
        return [None if value is None else geopackage_blob(value) for value in values]
    blobs = geopackage_point_blobs(values[:, : 3 if kind.with_z else 2])
    present: Any = np.isfinite(values[:, :2]).all(axis=1)
    return [blob if known else None for blob, known in zip(blobs, present.tolist(), strict=True)]


def _number_lists(values: Any) -> list[str | None]:
    """JSON lists. All rows are written in one go and taken apart again: no list of numbers contains another bracket."""
    if not isinstance(values, np.ndarray):
        return [None if value is None else json_bytes(value).decode() for value in values]
    written = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY).decode()
    present: Any = np.isfinite(values).all(axis=1)
    texts = written[2:-2].split("],[")
    return [f"[{text}]" if known else None for text, known in zip(texts, present.tolist(), strict=True)]


def _boxes(columns: Columns) -> Iterator[tuple[float, ...]]:
    """fid, west, east, south, north of every geometry."""
    places = columns["geom"]
    if isinstance(places, np.ndarray):
        bounds: NDArray[np.float64] = places[:, [0, 1, 0, 1]]
    else:
        bounds = shapely.bounds(np.array(places, dtype=object))
    known = np.isfinite(bounds).all(axis=1)
    west, south, east, north = bounds[known].T.tolist()
    fids = np.asarray(columns["fid"])[known].tolist()
    return zip(fids, west, east, south, north, strict=True)
