"""Outlines of what moves in the photos, as Mapillary's own networks see it, as masks beside the pictures.

One request per photo: detections make batch calls fail (docs/mapillary_api.md, "Detections"). The mask of `ID_2048.jpg`
is `ID_2048.detections.json`; `[localize.verify] masks = "detections"` uses it. A photo that has one is not asked for
again, one that the service has not looked at yet is.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geocorrect.errors import InputError, RemoteError
from geocorrect.harvest.mapillary.client import Json, MapillaryClient
from geocorrect.harvest.mapillary.download import write_file
from geocorrect.harvest.mapillary.responses import ErrorKind, RequestError
from geocorrect.harvest.mapillary.tiles import IMAGE_ID, refuse_too_much
from geocorrect.io.pixels import image_size
from geocorrect.records import Image

MASKS = "detections"
"""Name of the set of masks."""
MOVES = ("object--vehicle", "human", "animal", "void--ego-vehicle", "void--car-mount", "void--dynamic")
"""Beginnings of the classes that are masked: what may move, and the camera's own car, which moves along."""
_LAYER = "mpy-or"

Outline = list[list[float]]


@dataclass
class DetectionReport:
    """What was fetched."""

    n_photos: int = 0
    """New masks."""
    n_outlines: int = 0
    """Outlines in them."""
    n_waiting: int = 0
    """Photos of which the service says nothing yet: no detection of any class."""
    failures: list[str] = field(default_factory=list)
    """A sentence per photo without an answer."""

    def sentence(self) -> str:
        """One line for people."""
        without = f"; {self.n_waiting} photos without any detection yet" if self.n_waiting else ""
        failed = f"; {len(self.failures)} without an answer" if self.failures else ""
        return f"{self.n_photos} new masks with {self.n_outlines} outlines of what moves{without}{failed}"


def mask_path(picture: Path) -> Path:
    """Where a picture's mask lies."""
    return picture.with_name(f"{picture.stem}.{MASKS}.json")


def harvest_detections(client: MapillaryClient, images: Iterable[Image]) -> DetectionReport:
    """Store the masks of harvested photos that have a picture and no mask yet; run again for what is missing."""
    due = [
        (image.id, image.path)
        for image in images
        if image.path is not None and image.path.is_file() and not mask_path(image.path).exists()
        and "picture_size" in image.provider and IMAGE_ID.fullmatch(image.id)
    ]  # fmt: skip
    report = DetectionReport()
    with ThreadPoolExecutor(client.options.graph_workers, "detections") as asking:
        futures = [(image_id, path, asking.submit(_fetch, client, image_id, path)) for image_id, path in due]
        try:
            for image_id, path, future in futures:
                try:
                    outlines = future.result()
                except (RequestError, InputError) as failure:
                    report.failures.append(f"image {image_id}: {failure}")
                    continue
                if outlines is None:
                    report.n_waiting += 1
                    continue
                write_file(mask_path(path), json.dumps({"ignore": outlines}).encode())
                report.n_photos, report.n_outlines = report.n_photos + 1, report.n_outlines + len(outlines)
        except RemoteError as failure:
            report.failures.append(str(failure))
        finally:
            asking.shutdown(wait=True, cancel_futures=True)
    return report


def _fetch(client: MapillaryClient, image_id: str, picture: Path) -> list[Outline] | None:
    """Outlines of what moves in pixels of the picture; None where nothing at all was detected."""
    entries = client.detections(image_id)
    width, height = image_size(picture)
    moving = [entry for entry in entries if str(entry.get("value", "")).startswith(MOVES)]
    return [ring for entry in moving for ring in outlines_of(entry, width, height)] if entries else None


def outlines_of(entry: Json, width: int, height: int) -> list[Outline]:
    """Outer rings of a detection in pixels of the delivered, upright picture; RequestError MALFORMED.

    One that cannot be read spoils the photo's mask: a mask without it would let its matches pass.
    """
    import mapbox_vector_tile

    try:
        content = base64.b64decode(str(entry.get("geometry", "")), validate=True)
        refuse_too_much(memoryview(content))
        layer = mapbox_vector_tile.decode(content, default_options={"y_coord_down": True})[_LAYER]
        scale = width / layer["extent"], height / layer["extent"]
        rings = [ring for feature in layer["features"] for ring in _outer_rings(feature["geometry"])]
        return [[[x * scale[0] - 0.5, y * scale[1] - 0.5] for x, y in ring] for ring in rings]
    except Exception as error:
        # Decoders of protobuf, vector tiles and geometries raise whatever strange bytes make them raise.
        text = f"a detection's outline cannot be read ({type(error).__name__}: {error})"
        raise RequestError(ErrorKind.MALFORMED, text) from None


def _outer_rings(geometry: dict[str, Any]) -> list[Any]:
    polygons = {"Polygon": [geometry["coordinates"]], "MultiPolygon": geometry["coordinates"]}[geometry["type"]]
    return [polygon[0] for polygon in polygons]
