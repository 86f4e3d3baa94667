"""STAC items as GeoParquet, in the form of the stac-geoparquet specification 1.0, in spatial order.

Properties are columns of their own beside id, geometry, links and assets: what `stac_geoparquet.arrow` reads back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from geocorrect.catalog import Catalog, StoredResult
from geocorrect.export.bundle import Posed, posed_images
from geocorrect.export.features import ATTRIBUTION, PROPERTIES, Bounds, Licences
from geocorrect.export.parquet.geoparquet import write_groups
from geocorrect.export.stac.collection import frame_of
from geocorrect.export.stac.item import OURS, item_of
from geocorrect.geometry.frame import Frame

_BATCH_ITEMS = 1000


def write_stac_geoparquet(catalog: Catalog, stored: Iterable[StoredResult], path: Path) -> int:
    """Write the file; returns the number of items. Photos without a time of capture are no items."""
    bounds, licences, schema = Bounds(), Licences(), _schema()
    items = _rows(posed_images(catalog, stored), frame_of(catalog), path.parent, licences)
    about = {"stac-geoparquet": json.dumps({"version": "1.0.0"}), "attribution": ATTRIBUTION}
    return write_groups(_batches(items, schema, bounds), schema, path, bounds, about, licences)


def _rows(posed: Iterable[Posed], frame: Frame, folder: Path, licences: Licences) -> Iterator[dict[str, Any]]:
    for one in posed:
        item = item_of(one, frame, folder)
        if item is not None:
            licences.add([one.stored.attribution.licence])
            # A file of its own has no collection beside it.
            links = [link for link in item["links"] if link["rel"] != "collection"]
            yield item | item["properties"] | {"links": links, "geometry": item["geometry"]["coordinates"]}


def _batches(rows: Iterator[dict[str, Any]], schema: Any, bounds: Bounds) -> Iterator[Any]:
    import pyarrow as pa

    while some := list(islice(rows, _BATCH_ITEMS)):
        positions = np.array([row["geometry"] for row in some], dtype=float)
        bounds.add(positions)
        for row, point in zip(some, shapely.to_wkb(shapely.points(positions), flavor="iso"), strict=True):
            row["geometry"] = point
            for name in ("datetime", "geocorrect:recorded_at"):
                row[name] = datetime.fromisoformat(row[name])
        yield pa.RecordBatch.from_pylist(some, schema=schema)


def _schema() -> Any:
    import pyarrow as pa

    text, number, texts = pa.string(), pa.float64(), pa.list_(pa.string())
    instant = pa.timestamp("ms", tz="UTC")
    interior = pa.struct(
        {"camera_manufacturer": text, "camera_model": text, "sensor_array_dimensions": pa.list_(pa.int64()),
         "field_of_view": number}
    )  # fmt: skip
    image = pa.struct({"href": text, "type": text, "roles": texts, "title": text})
    columns = {
        "type": text, "stac_version": text, "stac_extensions": texts, "id": text, "datetime": instant, "license": text,
        "providers": pa.list_(pa.struct({"name": text, "roles": texts})),
        "links": pa.list_(pa.struct({"rel": text, "href": text, "type": text})),
        "assets": pa.struct({"image": image}),
        "view:azimuth": number, "pers:crs": pa.int64(), "pers:perspective_center": pa.list_(number),
        "pers:rotation_matrix": pa.list_(number), "pers:interior_orientation": interior, "proj:code": text,
        "proj:shape": pa.list_(pa.int64()),
    }  # fmt: skip
    special = {"depth_is_oracle": pa.bool_(), "n_anchors": pa.int64(), "n_inliers": pa.int64(), "recorded_at": instant}
    for name in OURS:
        columns[f"geocorrect:{name}"] = special.get(name, text if PROPERTIES[name] is None else number)
    return pa.schema([*columns.items(), pa.field("geometry", pa.binary())])
