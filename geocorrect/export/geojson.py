"""GeoJSON (RFC 7946), streamed: memory does not grow with the number of results."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import orjson

from geocorrect.catalog import StoredResult
from geocorrect.export.atomic_file import atomic_file
from geocorrect.export.features import ATTRIBUTION, Bounds, Licences, place, properties


def write_geojson(stored: Iterable[StoredResult], path: Path) -> int:
    """Write results as one FeatureCollection of points, one feature per line; returns how many.

    `id` is the photo's id, so that two exports can be compared line by line. bbox, attribution and licence stand at the
    end, because they are known only then. Raises OutputError when the file cannot be written.
    """
    bounds, licences, count = Bounds(), Licences(), 0
    with atomic_file(path) as file:
        file.write(b'{"type":"FeatureCollection","features":[')
        for result in stored:
            position = place(result)
            if position is not None:
                bounds.add(position)
            licences.add(result)
            geometry = None if position is None else {"type": "Point", "coordinates": position}
            feature = {
                "type": "Feature",
                "id": result.image_id,
                "geometry": geometry,
                "properties": properties(result),
            }
            file.write(b",\n" if count else b"\n")
            file.write(orjson.dumps(feature))
            count += 1
        box = bounds.box()
        tail = {"attribution": ATTRIBUTION, "licence": licences.text()} | ({"bbox": box} if box else {})
        file.write(b"\n]," + orjson.dumps(tail)[1:] + b"\n")
    return count
