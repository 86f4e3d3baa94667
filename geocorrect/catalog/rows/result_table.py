"""Plain values of results as columns, chunk by chunk: what exports of a million rows read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, Select, Text, func, type_coerce

from geocorrect.catalog import schema
from geocorrect.catalog.literal_sql import driver_cursor
from geocorrect.catalog.results import filtered, source_of
from geocorrect.catalog.rows.column_types import instant_text
from geocorrect.catalog.run import NUMBERS, ResultFilter, StoredResult
from geocorrect.errors import Status

CHUNK = 1000
ResultTable = Mapping[str, Any]
"""Equally long columns, named like the attributes of StoredResult, with creator, page_url and licence. Numbers with a
unit: (N,) float64, nan unknown. Everything else: lists; moments as ISO 8601 text in UTC with milliseconds."""
_ATTRIBUTION = ("creator", "page_url", "licence")
_VALUES = (
    "image_id", "sequence_id", "captured_at", "status", "reason", "detail", "matcher", "depth", "depth_is_oracle",
    "scale_source", "n_anchors", "n_inliers", "run_key", "recorded_at",
)  # fmt: skip
_INSTANTS = ("captured_at", "recorded_at")
_OF_IMAGE = (
    "reported_lon_deg", "reported_lat_deg", "reported_heading_deg", "computed_lon_deg", "computed_lat_deg",
    "computed_heading_deg", "sequence_id", "captured_at", *_ATTRIBUTION,
)  # fmt: skip


def read_tables(connection: Connection, wanted: ResultFilter) -> Iterator[ResultTable]:
    """Results sorted by image id, then by age."""
    polygon = wanted.area if isinstance(wanted.area, BaseGeometry) else None
    if polygon is not None:
        shapely.prepare(polygon)
    dialect = connection.dialect.name
    columns = _columns(wanted, dialect)
    query = filtered(list(columns.values()), wanted, dialect)
    while_reading = _streamed(connection, query) if dialect == "postgresql" else _fetched(connection, query)
    while rows := list(islice(while_reading, CHUNK)):
        table = _table(dict(zip(columns, zip(*rows, strict=True), strict=True)))
        yield table if polygon is None else _inside(table, polygon)


def _fetched(connection: Connection, query: Select[Any]) -> Iterator[Any]:
    yield from connection.execution_options(stream_results=True, yield_per=CHUNK).execute(query)


def _streamed(connection: Connection, query: Select[Any]) -> Iterator[Any]:
    """Rows as the server finds them, on all its processors (those of a cursor come from one)."""
    from psycopg import capabilities

    compiled = query.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    # A libpq older than 17 hands over single rows, at twice the processor time.
    at_once = CHUNK if capabilities.has_stream_chunked() else 1
    with driver_cursor(connection) as cursor:
        yield from cursor.stream(str(compiled), compiled.params, binary=True, size=at_once)


def table_of(stored: Sequence[StoredResult]) -> ResultTable:
    """The table of results that are in memory."""
    table: dict[str, Any] = {name: [getattr(one, name) for one in stored] for name in (*NUMBERS, *_VALUES)}
    table["status"] = [one.status.value for one in stored]
    table["reason"] = [None if one.reason is None else one.reason.value for one in stored]
    for name in _INSTANTS:
        table[name] = [None if value is None else instant_text(value) for value in table[name]]
    return _table(table | {name: [getattr(one.attribution, name) for one in stored] for name in _ATTRIBUTION})


def _columns(wanted: ResultFilter, dialect: str) -> dict[str, Any]:
    c, i = source_of(wanted).c, schema.image.c
    columns: dict[str, Any] = {}
    for name in (*NUMBERS, *_VALUES, *_ATTRIBUTION):
        column: Any = i[name.removeprefix("reported_")] if name in _OF_IMAGE else c[name]
        columns[name] = (_instant_text(column, dialect) if name in _INSTANTS else column).label(name)
    return columns


def _instant_text(column: Any, dialect: str) -> Any:
    """A GeoPackage stores the text that we want, and connections to a server are in UTC."""
    if dialect == "sqlite":
        return type_coerce(column, Text)
    return func.to_char(column, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')


def _table(values: Mapping[str, Any]) -> ResultTable:
    return {n: np.array(v, dtype=np.float64) if n in NUMBERS else list(v) for n, v in values.items()}


def _inside(table: ResultTable, polygon: BaseGeometry) -> ResultTable:
    lon, lat = shown_at(table)
    keep = np.flatnonzero(shapely.intersects_xy(polygon, lon, lat))
    return {n: v[keep] if isinstance(v, np.ndarray) else [v[k] for k in keep.tolist()] for n, v in table.items()}


def shown_at(table: ResultTable) -> tuple[Any, Any]:
    """Longitude and latitude (N,): of corrections where they are corrected to, of rejections the reported ones."""
    rejected = np.array([status == Status.REJECTED.value for status in table["status"]], dtype=bool)
    lon = np.where(rejected, table["reported_lon_deg"], table["lon_deg"])
    return lon, np.where(rejected, table["reported_lat_deg"], table["lat_deg"])
