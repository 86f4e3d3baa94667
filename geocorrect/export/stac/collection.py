"""A STAC collection with its items in one file: `collection.json` and `items.json` (an ItemCollection), streamed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from geocorrect.catalog import Catalog, StoredResult
from geocorrect.export.bundle import notice, posed_images, write_json
from geocorrect.export.features import ATTRIBUTION, Bounds, Licences
from geocorrect.export.stac.item import COLLECTION, STAC_VERSION, item_of, spdx
from geocorrect.geometry.frame import Frame
from geocorrect.io.atomic_folder import atomic_folder

_EARTH = [-180.0, -90.0, 180.0, 90.0]


def write_stac(catalog: Catalog, stored: Iterable[StoredResult], path: Path) -> int:
    """Write the folder, item by item; returns their number. Photos without a time of capture are in `left_out.txt`."""
    frame, bounds, licences, count = frame_of(catalog), Bounds(), Licences(), 0
    times: list[str] = []
    left_out: list[str] = []
    with (
        atomic_folder(path) as folder,
        notice(folder) as add_to_notice,
        (folder / "items.json").open("wb") as file,
    ):
        file.write(b'{"type":"FeatureCollection","features":[')
        for one in posed_images(catalog, stored):
            item = item_of(one, frame, path)
            if item is None:
                left_out.append(f"{one.image.id}\tthe time of capture is unknown\n")
                continue
            file.write((b",\n" if count else b"\n") + orjson.dumps(item))
            bounds.add(np.array([item["geometry"]["coordinates"]], dtype=float))
            moment = item["properties"]["datetime"]
            times = [min(moment, *times), max(moment, *times)] if times else [moment, moment]
            licences.add([one.stored.attribution.licence])
            add_to_notice(one)
            count += 1
        file.write(b"\n]}\n")
        write_json(folder / "collection.json", _collection(catalog, bounds, times, licences))
        if left_out:
            (folder / "left_out.txt").write_text("".join(left_out), encoding="utf-8")
    return count


def frame_of(catalog: Catalog) -> Frame:
    """The scene's frame; that of an empty catalog matters to nobody."""
    return catalog.frame() or Frame("empty", 0.0, 0.0, 0.0)


def _collection(catalog: Catalog, bounds: Bounds, times: list[str], licences: Licences) -> dict[str, Any]:
    names = {spdx(name) for name in licences.names}
    frame = catalog.frame()
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": COLLECTION,
        "title": f"Corrected poses of street photos{'' if frame is None else f', {frame.name}'}",
        "description": f"{ATTRIBUTION} Heights are above the WGS84 ellipsoid. Licences: {licences.text()}.",
        "license": names.pop() if len(names) == 1 else "other",
        "extent": {
            "spatial": {"bbox": [bounds.box() or _EARTH]},
            "temporal": {"interval": [times or [None, None]]},
        },
        "links": [{"rel": "items", "href": "./items.json", "type": "application/geo+json"}],
    }
