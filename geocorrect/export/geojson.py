"""GeoJSON (RFC 7946), streamed: memory does not grow with the number of results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from geocorrect.catalog.rows.result_table import ResultTable
from geocorrect.export.features import ATTRIBUTION, Bounds, Licences, places, property_rows
from geocorrect.io.atomic_file import atomic_file


def write_geojson(tables: Iterable[ResultTable], path: Path) -> int:
    """Write results as one FeatureCollection of points, one feature per line; returns how many.

    `id` is the photo's id, so that two exports can be compared line by line. bbox, attribution and licence are at the
    end, because they are known only then. Raises OutputError when the file cannot be written.
    """
    bounds, licences, count = Bounds(), Licences(), 0
    with atomic_file(path) as file:
        file.write(b'{"type":"FeatureCollection","features":[')
        for table in tables:
            positions = places(table)
            bounds.add(positions)
            licences.add(table["licence"])
            for feature in _features(table, positions):
                file.write((b",\n" if count else b"\n") + orjson.dumps(feature))
                count += 1
        box = bounds.box()
        tail = {"attribution": ATTRIBUTION, "licence": licences.text()} | ({"bbox": box} if box else {})
        file.write(b"\n]," + orjson.dumps(tail)[1:] + b"\n")
    return count


def _features(table: ResultTable, positions: Any) -> Iterator[dict[str, Any]]:
    for position, values in zip(positions.tolist(), property_rows(table), strict=True):
        # Unlike itself: nan. A rejection has no height, a photo without any position no geometry.
        known = [number for number in position if number == number]
        yield {
            "type": "Feature",
            "id": values["image_id"],
            "geometry": {"type": "Point", "coordinates": known} if len(known) > 1 else None,
            "properties": values,
        }
