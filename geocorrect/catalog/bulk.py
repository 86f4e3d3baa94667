"""Many rows at once: a streamed COPY on PostgreSQL, plain executemany in a GeoPackage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, Text, any_, func, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from geocorrect.catalog.geopackage.bulk import insert_into_geopackage
from geocorrect.catalog.literal_sql import driver_cursor, run_sql
from geocorrect.catalog.postgis.pg_binary_copy import HEADER, TRAILER, binary_rows, field_order
from geocorrect.catalog.rows.codec import Row
from geocorrect.catalog.rows.column_types import Json, Numbers, json_text

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
