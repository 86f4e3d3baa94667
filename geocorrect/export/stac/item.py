"""One corrected photo as a STAC item with the extensions view, perspective-imagery and projection.

The pose is stated in ECEF (EPSG:4978), where a rotation matrix means something: `pers:rotation_matrix` turns its axes
into those of photogrammetry (x right, y up, z out of the picture towards the viewer). Values of ours have the prefix
`geocorrect:` and their unit in the name.
"""

from __future__ import annotations

import mimetypes
import os
import re
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.export.bundle import Posed
from geocorrect.export.features import rounded
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame

STAC_VERSION = "1.1.0"
EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("view/v1.1.0", "perspective-imagery/v1.0.0", "projection/v2.0.0")
]
COLLECTION = "geocorrect"
OURS = (
    "status", "pitch_deg", "roll_deg", "expected_error_m", "expected_heading_error_deg", "semi_major_m", "semi_minor_m",
    "ellipse_azimuth_deg", "displacement_m", "heading_change_deg", "reported_lon_deg", "reported_lat_deg",
    "reported_heading_deg", "matcher", "depth", "depth_is_oracle", "scale_source", "n_anchors", "n_inliers",
    "median_residual_px", "run_key", "sequence_id", "recorded_at",
)  # fmt: skip
"""Values of `features.PROPERTIES` that keep their name behind the prefix."""
_PHOTOGRAMMETRY_FROM_CAM = np.diag([1.0, -1.0, -1.0])
_SPDX = re.compile(r"[A-Za-z0-9.+-]+")


def item_of(one: Posed, frame: Frame, folder: Path) -> dict[str, Any] | None:
    """The item, with the picture's address relative to a folder; None when the time of capture is unknown (STAC has no
    item without one).
    """
    if one.image.captured_at is None:
        return None
    lon, lat, height = rounded(one.stored.lon_deg, 7), rounded(one.stored.lat_deg, 7), rounded(one.stored.height_m, 3)
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": EXTENSIONS,
        "id": one.image.id,
        "geometry": {"type": "Point", "coordinates": [lon, lat, height]},
        "bbox": [lon, lat, height, lon, lat, height],
        "properties": _properties(one, frame),
        "links": _links(one),
        "assets": _assets(one, folder),
        "collection": COLLECTION,
    }


def spdx(licence: str) -> str:
    """The licence as STAC wants it: an SPDX identifier, or "other"."""
    name = licence.replace(" ", "-")
    return name if _SPDX.fullmatch(name) else "other"


def _properties(one: Posed, frame: Frame) -> dict[str, Any]:
    assert one.image.captured_at is not None
    ecef_from_cam = frame.ecef_from_enu @ one.correction.world_from_cam
    rotation = _PHOTOGRAMMETRY_FROM_CAM @ ecef_from_cam.rotation.inv().as_matrix()
    values: dict[str, Any] = {
        "datetime": one.image.captured_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "license": spdx(one.stored.attribution.licence),
        "providers": [
            {"name": one.stored.attribution.creator or "unknown", "roles": ["producer"]},
            {"name": "geocorrect", "roles": ["processor"]},
        ],
        "view:azimuth": rounded(one.stored.heading_deg, 3),
        "pers:crs": 4978,
        "pers:perspective_center": [round(v, 4) for v in ecef_from_cam.translation_m.tolist()],
        "pers:rotation_matrix": [round(v, 9) for v in rotation.ravel().tolist()],
        "proj:code": "EPSG:4979",
    }
    if one.image.camera is not None:
        values["pers:interior_orientation"] = _interior(one, one.image.camera)
        values["proj:shape"] = [one.image.camera.height, one.image.camera.width]
    values |= {f"geocorrect:{name}": one.properties[name] for name in OURS}
    return {name: value for name, value in values.items() if value is not None}


def _interior(one: Posed, camera: Camera) -> dict[str, Any]:
    """In pixels and degrees; the extension's millimetres need a size of the sensor that nobody knows."""
    known = {
        "camera_manufacturer": one.image.device_make,
        "camera_model": one.image.device_model,
        "sensor_array_dimensions": [camera.width, camera.height],
        "field_of_view": rounded(camera.horizontal_fov_deg, 3),
    }
    return {name: value for name, value in known.items() if value is not None}


def _links(one: Posed) -> list[dict[str, str]]:
    links = [{"rel": "collection", "href": "./collection.json", "type": "application/json"}]
    if one.stored.attribution.page_url:
        links.append({"rel": "via", "href": one.stored.attribution.page_url, "type": "text/html"})
    return links


def _assets(one: Posed, folder: Path) -> dict[str, Any]:
    if one.image.path is None:
        return {}
    href = Path(os.path.relpath(one.image.path.absolute(), folder.absolute())).as_posix()
    kind = mimetypes.guess_type(one.image.path.name)[0] or "image/jpeg"
    return {"image": {"href": href, "type": kind, "roles": ["data"], "title": "Photo as delivered"}}
