"""Tables of results for GIS and data frames: GeoPackage, FlatGeobuf, GeoParquet, CSV; streamed in batches."""

from __future__ import annotations

import csv
import json
import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from geocorrect.catalog import StoredResult
from geocorrect.export.atomic_file import atomic_path
from geocorrect.export.features import ATTRIBUTION, Bounds, place, properties

BATCH = 5000
_WHOLE = ("n_anchors", "n_inliers")
_TRUTH = ("depth_is_oracle",)
_INSTANTS = ("captured_at", "recorded_at")
_MEASURES = ("_m", "_deg", "_px")


def write_csv(stored: Iterable[StoredResult], path: Path) -> int:
    """One line per result: lon_deg, lat_deg, height_m, then the properties; UTF-8, empty = unknown."""
    count = 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as text:
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for result in stored:
            writer.writerow(_placed_properties(result))
            count += 1
    return count


def write_geoparquet(stored: Iterable[StoredResult], path: Path) -> int:
    """GeoParquet 1.1 with WKB points in OGC:CRS84 and one row group per batch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, bounds, count = _arrow_schema(), Bounds(), 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch in _batches(stored):
            for position in filter(None, map(place, batch)):
                bounds.add(position)
            writer.write_table(pa.Table.from_batches([_arrow_batch(batch, schema)]))
            count += len(batch)
        geometry: dict[str, Any] = {"encoding": "WKB", "geometry_types": ["Point Z"], "bbox": bounds.box()}
        head = {"version": "1.1.0", "primary_column": "geometry"}
        writer.add_key_value_metadata({"geo": json.dumps(head | {"columns": {"geometry": _known(geometry)}})})
        writer.add_key_value_metadata({"attribution": ATTRIBUTION})
    return count


def write_flatgeobuf(stored: Iterable[StoredResult], path: Path) -> int:
    """FlatGeobuf with a spatial index."""
    with atomic_path(path, suffix=".fgb") as temporary:
        return _write_layer(stored, temporary, "FlatGeobuf", "corrections")


def write_geopackage(stored: Iterable[StoredResult], path: Path) -> int:
    """A GeoPackage with the layers corrections, displacement and error_ellipse, styled for QGIS.

    A copy for people who need no catalog; the catalog itself, when it is a GeoPackage, can be opened as well.
    """
    from geocorrect.export.styles import add_styles_to_geopackage

    kept: list[StoredResult] = []

    def keeping() -> Iterator[StoredResult]:
        for result in stored:
            kept.append(result)
            yield result

    with atomic_path(path, suffix=".gpkg") as temporary:
        temporary.unlink()
        count = _write_layer(keeping(), temporary, "GPKG", "corrections")
        _write_shapes(kept, temporary)
        add_styles_to_geopackage(temporary, {"corrections": "current_correction"})
    return count


def _write_layer(stored: Iterable[StoredResult], path: Path, driver: str, layer: str) -> int:
    import pyarrow as pa
    import pyogrio

    schema, count = _arrow_schema(), 0

    def batches() -> Iterator[Any]:
        nonlocal count
        for batch in _batches(stored):
            count += len(batch)
            yield _arrow_batch(batch, schema)

    reader = pa.RecordBatchReader.from_batches(schema, batches())
    options = {"description": ATTRIBUTION} if driver == "GPKG" else {}
    pyogrio.write_arrow(
        reader, path, layer=layer, driver=driver, geometry_name="geometry", geometry_type="Point Z",
        crs="EPSG:4326", **options,
    )  # fmt: skip
    return count


def _write_shapes(stored: Sequence[StoredResult], path: Path) -> None:
    import pyogrio

    from geocorrect.catalog.shapes import displacement_lines, ellipse_outlines

    placed = [s for s in stored if np.isfinite(s.lon_deg)]

    def column(name: str) -> Any:
        return np.array([getattr(s, name) for s in placed], dtype=np.float64)

    outlines = ellipse_outlines(
        column("lon_deg"), column("lat_deg"),
        column("semi_major_m"), column("semi_minor_m"), column("ellipse_azimuth_deg"),
    )  # fmt: skip
    lines = displacement_lines(
        column("reported_lon_deg"), column("reported_lat_deg"), column("lon_deg"), column("lat_deg")
    )
    has_line = np.isfinite(column("displacement_m"))
    values = {name: column(name) for name in ("displacement_m", "heading_change_deg", "semi_major_m", "semi_minor_m")}
    values["image_id"] = np.array([s.image_id for s in placed], dtype=object)
    layers: list[tuple[str, str, Any, Any]] = [
        ("displacement", "LineString", shapely.linestrings(lines[has_line]), has_line),
        ("error_ellipse", "Polygon", shapely.polygons(outlines), np.ones(len(placed), bool)),
    ]
    for name, kind, geometry, keep in layers:
        fields = ["image_id", *[field for field in values if field != "image_id"]]
        pyogrio.raw.write(
            path, shapely.to_wkb(geometry), [values[field][keep] for field in fields], fields, layer=name,
            driver="GPKG", geometry_type=kind, crs="EPSG:4326", append=True,
        )  # fmt: skip


def _placed_properties(stored: StoredResult) -> dict[str, Any]:
    position = [*(place(stored) or []), None, None, None][:3]
    return dict(zip(("lon_deg", "lat_deg", "height_m"), position, strict=True)) | properties(stored)


def _batches(stored: Iterable[StoredResult]) -> Iterator[list[StoredResult]]:
    iterator = iter(stored)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def _arrow_schema() -> Any:
    import pyarrow as pa

    def kind(name: str) -> Any:
        if name in _WHOLE:
            return pa.int64()
        if name in _TRUTH:
            return pa.bool_()
        if name in _INSTANTS:
            return pa.timestamp("ms", tz="UTC")
        return pa.float64() if name.endswith(_MEASURES) else pa.string()

    fields = [pa.field(name, kind(name)) for name in COLUMNS]
    geometry = pa.field("geometry", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
    return pa.schema([*fields, geometry])


def _arrow_batch(batch: Sequence[StoredResult], schema: Any) -> Any:
    import pyarrow as pa

    rows = [_placed_properties(result) for result in batch]
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    columns |= {
        "captured_at": [result.captured_at for result in batch],
        "recorded_at": [result.recorded_at for result in batch],
    }
    columns["geometry"] = [_wkb_point(place(result)) for result in batch]
    return pa.RecordBatch.from_pydict(columns, schema=schema)


def _wkb_point(position: Sequence[float] | None) -> bytes | None:
    """ISO WKB of a point with height; z is nan where the height is unknown (rejections)."""
    if position is None:
        return None
    return struct.pack("<BIddd", 1, 1001, *[*position, math.nan][:3])


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


COLUMNS = (
    "lon_deg", "lat_deg", "height_m", "image_id", "sequence_id", "captured_at", "status", "reason", "detail",
    "heading_deg", "pitch_deg", "roll_deg", "expected_error_m", "expected_heading_error_deg", "semi_major_m",
    "semi_minor_m", "ellipse_azimuth_deg", "displacement_m", "displacement_east_m", "displacement_north_m",
    "heading_change_deg", "reported_lon_deg", "reported_lat_deg", "reported_heading_deg", "matcher", "depth",
    "depth_is_oracle", "scale_source", "n_anchors", "n_inliers", "median_residual_px", "run_key", "recorded_at",
    "creator", "page_url", "licence",
)  # fmt: skip
