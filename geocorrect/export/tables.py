"""Tables of results for GIS and data frames: FlatGeobuf, CSV, and rows for the others; streamed chunk by chunk."""

from __future__ import annotations

import csv
import logging
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocorrect.catalog.rows.result_table import ResultTable
from geocorrect.export.features import (
    ATTRIBUTION,
    COLUMNS,
    PLACE_DIGITS,
    PROPERTIES,
    Licences,
    listed,
    places,
    property_columns,
)
from geocorrect.io.atomic_file import atomic_file, atomic_path, is_stream

logger = logging.getLogger(__name__)

_WHOLE = ("n_anchors", "n_inliers")
_TRUTH = ("depth_is_oracle",)
_FREE_TEXT = (
    "image_id", "sequence_id", "detail", "matcher", "depth", "run_key", "creator", "page_url", "licence",
)  # fmt: skip
_FORMULA = re.compile(r"(?:\A|(?<=[;,|\t\n]))(?=[ \u00a0\u3000]*[=+\-@\t\n\uff1d\uff0b\uff0d\uff20])")
"""Where a spreadsheet may see the beginning of a formula (OWASP, CSV injection): in full-width form, too, and behind a
character at which it may split a line."""
_INSTANTS = ("captured_at", "recorded_at")
BATCH_ROWS = 20_000
"""Rows that GDAL and Parquet get at once: few transactions, and groups of rows that compress."""


def write_csv(tables: Iterable[ResultTable], path: Path) -> int:
    """One line per result: lon_deg, lat_deg, height_m, then the properties; UTF-8, empty = unknown.

    A CSV file contains only rows: attribution and licences are in `NAME.license` beside it. Names come from strangers,
    and the file may be opened in a spreadsheet, which splits lines where its country does: every value is quoted, and
    an apostrophe stands before what would be a formula there.
    """
    count, licences = 0, Licences()
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(COLUMNS)
        for table in tables:
            columns = [_harmless(values) if name in _FREE_TEXT else listed(values)
                       for name, values in _placed(table).items()]  # fmt: skip
            writer.writerows(zip(*columns, strict=True))
            licences.add(table["licence"])
            count += len(table["licence"])
    notice = f"{ATTRIBUTION}\nLicences of the photos: {licences.text()}\n"
    if is_stream(path):
        logger.warning("a pipe has room for rows only: %s", notice.strip())
        return count
    with atomic_file(path.with_name(f"{path.name}.license")) as beside:
        beside.write(notice.encode())
    return count


def _harmless(texts: Iterable[str | None]) -> list[str | None]:
    # Older Pythons write a carriage return without quotes, and readers take it for the end of the row.
    plain = [text.replace("\r\n", "\n").replace("\r", "\n") if text and "\r" in text else text for text in texts]
    return [_FORMULA.sub("'", text) if text else text for text in plain]


def write_flatgeobuf(tables: Iterable[ResultTable], path: Path, licences: Iterable[str]) -> int:
    """FlatGeobuf with a spatial index. licences: of the photos; its head is written before the first row."""
    known = Licences(set(licences))
    described = f"{ATTRIBUTION} Licences of the photos: {known.text()}."
    with atomic_path(path, suffix=".fgb") as temporary, gdal_faults():
        return write_points(tables, temporary, "FlatGeobuf", {"title": "corrections", "description": described})


@contextmanager
def gdal_faults() -> Iterator[None]:
    """What GDAL and SQLite raise when a file cannot be written, as OSError, which names the file further out."""
    import pyogrio

    try:
        yield
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, sqlite3.OperationalError) as error:
        first = str(error).splitlines()[0][:200]
        raise OSError(f"is the disk full? ({first})") from None


def write_points(tables: Iterable[ResultTable], path: Path, driver: str, options: dict[str, Any]) -> int:
    """The layer `corrections` of a new file; options: for GDAL's driver, as pyogrio takes them."""
    import pyarrow as pa
    import pyogrio

    schema, count = arrow_schema(), 0

    def batches() -> Iterator[Any]:
        nonlocal count
        for batch in arrow_batches(tables, schema):
            count += len(batch)
            yield batch

    reader = pa.RecordBatchReader.from_batches(schema, batches())
    pyogrio.write_arrow(
        reader, path, layer="corrections", driver=driver, geometry_name="geometry", geometry_type="Point Z",
        crs="EPSG:4326", **options,
    )  # fmt: skip
    return count


def arrow_schema() -> Any:
    """The columns of a table of results and `geometry`, WKB."""
    import pyarrow as pa

    def kind(name: str) -> Any:
        if name in _WHOLE:
            return pa.int64()
        if name in _TRUTH:
            return pa.bool_()
        if name in _INSTANTS:
            return pa.timestamp("ms", tz="UTC")
        return pa.string() if PROPERTIES.get(name, 0) is None else pa.float64()

    fields = [pa.field(name, kind(name)) for name in COLUMNS]
    geometry = pa.field("geometry", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
    return pa.schema([*fields, geometry])


def arrow_batches(tables: Iterable[ResultTable], schema: Any) -> Iterator[Any]:
    """Results in the form of `arrow_schema`, BATCH_ROWS at a time."""
    return joined_batches(_arrow_batch(table, schema) for table in tables)


def joined_batches(chunks: Iterator[Any]) -> Iterator[Any]:
    """The rows of small Arrow batches in batches of BATCH_ROWS and a little more."""
    import pyarrow as pa

    while some := list(_first_rows(chunks, BATCH_ROWS)):
        yield from pa.Table.from_batches(some).combine_chunks().to_batches()


def _first_rows(chunks: Iterator[Any], wanted: int) -> Iterator[Any]:
    """The next chunks until there are so many rows."""
    while wanted > 0 and (chunk := next(chunks, None)) is not None:
        yield chunk
        wanted -= len(chunk)


def _arrow_batch(table: ResultTable, schema: Any) -> Any:
    import pyarrow as pa

    columns = _placed(table)
    arrays = [_arrow(columns[name], schema.field(name).type) for name in COLUMNS]
    return pa.RecordBatch.from_arrays([*arrays, pa.array(_wkb(places(table)), pa.binary())], schema=schema)


def _arrow(values: Any, kind: Any) -> Any:
    import pyarrow as pa

    if isinstance(values, np.ndarray):
        return pa.array(values, mask=~np.isfinite(values))
    return pa.array(values, pa.string()).cast(kind) if pa.types.is_timestamp(kind) else pa.array(values, kind)


def _placed(table: ResultTable) -> dict[str, Any]:
    return dict(zip(PLACE_DIGITS, places(table).T, strict=True)) | property_columns(table)


def _wkb(positions: NDArray[np.float64]) -> list[bytes | None]:
    """ISO WKB of points with height; z is nan where the height is unknown (rejections)."""
    rows = np.empty(len(positions), dtype=[("order", "u1"), ("kind", "<u4"), ("xyz", "<f8", 3)])
    rows["order"], rows["kind"], rows["xyz"] = 1, 1001, positions
    written, width = rows.tobytes(), rows.dtype.itemsize
    present: Any = np.isfinite(positions[:, :2]).all(axis=1)
    return [written[k * width : (k + 1) * width] if known else None for k, known in enumerate(present.tolist())]
