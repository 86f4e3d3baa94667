"""A whole catalog from one back-end to another: every row with its key, then compared row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, Table, delete, func, select, text

from geocorrect.catalog import schema
from geocorrect.catalog.bulk import Columns, insert_chunks
from geocorrect.catalog.connect import connected, describe, translated_errors, write_with_retries
from geocorrect.catalog.rows.geometry_type import Outlines, geometry_from_blob
from geocorrect.catalog.store import Catalog
from geocorrect.errors import DatabaseError

CHUNK = 5000
Progress = Callable[[int, int], None]


def copy_catalog(source: Catalog, target: Catalog, on_progress: Progress = lambda done, total: None) -> dict[str, int]:
    """Copy all tables, versions and runs included, into an empty catalog; returns the rows per table.

    One transaction of the target: when anything fails, or a row that was written reads otherwise than in the source,
    nothing is there. The source is read as of one moment.

    Args:
        source: any catalog of this version.
        target: an empty one of this version, on either back-end.
        on_progress: called with rows done and rows in all; each row is written, then compared.

    Raises:
        DatabaseError: the target holds rows already, or a row differs.
    """

    def write(there: Connection) -> dict[str, int]:
        with translated_errors(source.engine), connected(source.engine) as plain:
            here = _at_one_moment(plain)
            _require_empty(there, describe(target.engine))
            there.execute(delete(schema.reason))  # an empty catalog knows the reasons, under keys of its own
            counts = {str(table.name): _count(here, table) for table in schema.TABLES}
            total, done = 2 * sum(counts.values()), 0
            for table in schema.TABLES:
                insert_chunks(there, table, _chunks(here, table), counts[table.name])
                done += counts[table.name]
                on_progress(done, total)
            if there.dialect.name == "postgresql":
                _advance_sequences(there)
            for table in schema.TABLES:
                _compare(here, there, table)
                done += counts[table.name]
                on_progress(done, total)
            return counts

    return write_with_retries(target.engine, write)


def _at_one_moment(connection: Connection) -> Connection:
    if connection.dialect.name == "postgresql":
        return connection.execution_options(isolation_level="REPEATABLE READ")
    return connection


def _require_empty(connection: Connection, address: str) -> None:
    for table in schema.TABLES:
        if table is not schema.reason and (count := _count(connection, table)):
            raise DatabaseError(f"{address}: holds {count} rows of {table.name} already; copy into a new catalog")


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _rows(connection: Connection, table: Table) -> Iterator[Any]:
    streaming = connection.execution_options(stream_results=True, yield_per=CHUNK)
    yield from streaming.execute(select(table).order_by(table.c.fid))


def _chunks(connection: Connection, table: Table) -> Iterator[Columns]:
    rows = _rows(connection, table)
    while part := list(islice(rows, CHUNK)):
        values = zip(table.columns, zip(*part, strict=True), strict=True)
        yield {column.name: _outlines(v) if isinstance(column.type, Outlines) else list(v) for column, v in values}


def shape_of(value: BaseGeometry | bytes | str) -> BaseGeometry:
    """The shape of a column that is read as its back-end stores it."""
    if isinstance(value, BaseGeometry):
        return value
    geometry: BaseGeometry = geometry_from_blob(value) if isinstance(value, bytes) else shapely.from_wkb(value)
    return geometry


def _outlines(values: tuple[Any, ...]) -> Any:
    """(N, V, 2) vertices, nan where there is no shape; the shapes of a column have equally many."""
    known = [value is not None for value in values]
    found = shapely.get_coordinates([shape_of(value) for value in values if value is not None])
    n_vertices = len(found) // sum(known) if any(known) else 2
    outlines = np.full((len(values), n_vertices, 2), np.nan)
    outlines[known] = found.reshape(-1, n_vertices, 2)
    return outlines


def _advance_sequences(connection: Connection) -> None:
    """New rows get keys after those that were copied."""
    for table in schema.TABLES:
        if table.c.fid.autoincrement is True:
            last = f'select max(fid) from "{table.name}"'
            query = f"select setval(pg_get_serial_sequence(:name, 'fid'), last) from ({last}) t(last) where last > 0"
            connection.execute(text(query), {"name": table.name})


def _compare(here: Connection, there: Connection, table: Table) -> None:
    """DatabaseError naming the first row and column that differ."""
    for before, after in zip(_rows(here, table), _rows(there, table), strict=True):
        for column, old, new in zip(table.columns, before, after, strict=True):
            if isinstance(column.type, Outlines) and old is not None and new is not None:
                old, new = shape_of(old), shape_of(new)
            if not _same(old, new):
                raise DatabaseError(
                    f"copy of {table.name}, row {before.fid}, column {column.name}: {old!r} became {new!r}; "
                    "nothing was written"
                )


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, BaseGeometry) and isinstance(new, BaseGeometry):
        return bool(shapely.to_wkb(old, include_srid=False) == shapely.to_wkb(new, include_srid=False))
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return old.keys() == new.keys() and all(_same(old[key], new[key]) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(_same(a, b) for a, b in zip(old, new, strict=True))
    if isinstance(old, float) or isinstance(new, float):  # jsonb writes the float 5.1e+18 as a whole number
        old, new = (float(value) if isinstance(value, int) else value for value in (old, new))
    return bool(old == new) or (old != old and new != new)
