"""Columns as what SQLite stores in a GeoPackage, whole batches at once; the spatial index filled apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray
from sqlalchemy import Table

from geocorrect.catalog.geopackage.database import rtree_statements
from geocorrect.catalog.rows.column_types import Instant, Json, Numbers, instant_text, json_bytes, nullable_list
from geocorrect.catalog.rows.geometry_type import Geometry, Outlines, geopackage_blob, geopackage_point_blobs

# From so many rows on it pays to fill the R-tree apart from its trigger.
BULK_RTREE_ROWS = 2000
Columns = Mapping[str, Any]


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
