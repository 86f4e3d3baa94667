"""GeoParquet 1.1 for distribution: points in spatial order, with a box column by which readers skip groups of rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from geocorrect.catalog.rows.result_table import ResultTable
from geocorrect.export.features import ATTRIBUTION, Bounds, Licences, places
from geocorrect.export.parquet.spatial_order import in_spatial_order, lon_lat
from geocorrect.export.tables import arrow_batches, arrow_schema
from geocorrect.io.atomic_file import atomic_path

SIDES = ("xmin", "ymin", "xmax", "ymax")


def write_geoparquet(tables: Iterable[ResultTable], path: Path) -> int:
    """WKB points in OGC:CRS84 with heights, in the order of a Hilbert curve; returns the number of results."""
    bounds, licences = Bounds(), Licences()
    schema = arrow_schema()
    batches = arrow_batches(_noted(tables, bounds, licences), schema)
    return write_groups(batches, schema, path, bounds, {"attribution": ATTRIBUTION}, licences)


def write_groups(
    batches: Iterable[Any], schema: Any, path: Path, bounds: Bounds, about: dict[str, str], licences: Licences
) -> int:
    """Rows with points in `geometry` (WKB) to a file, with a column `bbox` beside; returns their number.

    Args:
        batches: Arrow batches; `bounds` and `licences` are read when they have ended.
        schema: of the batches.
        path: the file.
        bounds: of the geometries.
        about: further key-value metadata of the file.
        licences: of the photos.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 0
    box = pa.struct([pa.field(side, pa.float64()) for side in SIDES])
    options = {"compression": "zstd", "compression_level": 9, "write_page_index": True}
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema.append(pa.field("bbox", box)), **options) as writer,
    ):
        for group in in_spatial_order(batches, schema, temporary.with_suffix(".spool")):
            writer.write_table(group.append_column("bbox", _boxes(group)), row_group_size=len(group))
            count += len(group)
        writer.add_key_value_metadata({"geo": json.dumps(_geo(bounds)), "licence": licences.text()} | about)
    return count


def _boxes(group: Any) -> Any:
    """A box for every point; null where there is none."""
    import pyarrow as pa

    sides = [pa.array(side) for side in lon_lat(group)] * 2
    nowhere = group.column("geometry").combine_chunks().is_null()
    return pa.StructArray.from_arrays(sides, names=list(SIDES), mask=nowhere)


def _geo(bounds: Bounds) -> dict[str, Any]:
    covering = {"bbox": {side: ["bbox", side] for side in SIDES}}
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": ["Point Z"], "covering": covering}
    if box := bounds.box():
        column["bbox"] = box
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _noted(tables: Iterable[ResultTable], bounds: Bounds, licences: Licences) -> Iterator[ResultTable]:
    for table in tables:
        bounds.add(places(table))
        licences.add(table["licence"])
        yield table
