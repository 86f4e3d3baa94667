"""A STAC item of Panoramax → `records.Image`: what cannot be used is nan, None or a problem.

Fields: docs/panoramax.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from geocorrect.errors import Reason
from geocorrect.geometry.camera import Camera
from geocorrect.harvest.mapillary import fields
from geocorrect.harvest.mapillary.metadata import ASSUMED_FOCAL_SIGMA, DEFAULT_FOCAL
from geocorrect.harvest.options import ImageSize
from geocorrect.io.capture_time import plausible
from geocorrect.records import Attribution, Image

PICTURE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Ids are UUIDs; nothing else is put into a path."""
ASSETS: dict[ImageSize, tuple[str, ...]] = {
    "original": ("hd", "sd"), "2048": ("sd", "hd"), "1024": ("sd", "hd"), "256": ("thumb", "sd"),
}  # fmt: skip
"""Which picture is asked for, best first: hd is the original raster, sd 2048 and thumb 500 pixels wide."""
_WIDEST_PERSPECTIVE_DEG = 150.0
"""Fields of view from here on are fisheyes, whose projection the item does not state."""
_FIELD_OF_VIEW_SIGMA = 0.05
"""Relative, of the focal length: the instance takes it from EXIF and a table of sensors."""
_LENS = "pers:interior_orientation"
_KEPT = (_LENS, "pers:pitch", "pers:roll", "pers:yaw", "updated", "license", "geovisio:rank_in_collection")


def read_item(item: Mapping[str, Any], harvested_at: datetime) -> Image | None:
    """The picture that an item describes, not downloaded yet; None for an item without a usable id."""
    picture_id = str(item.get("id", "")).lower()
    if not PICTURE_ID.fullmatch(picture_id):
        return None
    values = _mapping(item.get("properties"))
    lens = _mapping(values.get(_LENS))
    reported = fields.position(item.get("geometry"), math.nan, "unknown")
    provider = {"source": "panoramax", "page_host": _host(item)} | {
        key: fields.storable(values[key]) for key in _KEPT if key in values
    }
    accuracy_m = fields.number(values.get("quality:horizontal_accuracy"))
    if math.isfinite(accuracy_m):
        provider["accuracy_m"] = accuracy_m
    return Image(
        id=picture_id,
        reported=reported,
        camera=None,
        path=None,
        sequence_id=fields.text(item.get("collection")),
        captured_at=_moment(values.get("datetime")),
        heading_deg=fields.compass_deg(values.get("view:azimuth")),
        device_make=fields.text(lens.get("camera_manufacturer")),
        device_model=fields.text(lens.get("camera_model")),
        attribution=_attribution(item, values, picture_id),
        harvested_at=harvested_at,
        problem=None if reported is not None else Reason.POSITION_MISSING,
        provider=provider,
    )


def with_camera(image: Image, width: int, height: int) -> Image:
    """The image with the camera of a picture of this size, as it lies in the file: no orientation tag is applied."""
    lens = _mapping(image.provider.get(_LENS))
    view_deg = fields.number(lens.get("field_of_view"))
    if view_deg >= 360.0:
        # A part of the sphere has no camera model of ours.
        whole = not any(fields.numbers(lens.get("visible_area")) or ()) and width == 2 * height
        camera = Camera.spherical(width, height) if whole else None
        problem = None if whole else Reason.CAMERA_UNSUPPORTED
        return replace(image, camera=camera, problem=image.problem or problem)
    if view_deg >= _WIDEST_PERSPECTIVE_DEG:
        return replace(image, camera=None, problem=image.problem or Reason.CAMERA_UNSUPPORTED)
    ratio, sigma, origin = DEFAULT_FOCAL, ASSUMED_FOCAL_SIGMA, "assumed"
    if view_deg > 5.0:
        # Across the longer side, as EXIF's 35 mm equivalent is.
        ratio, sigma, origin = 0.5 / math.tan(math.radians(view_deg) / 2), _FIELD_OF_VIEW_SIGMA, "provider"
    camera = replace(Camera.from_opensfm_vector("perspective", (ratio, 0.0, 0.0), width, height), focal_sigma=sigma)
    return replace(image, camera=camera, provider={**image.provider, "camera_origin": origin})


def picture_url(item: Mapping[str, Any], size: ImageSize) -> str | None:
    """The address of the picture of this size or the next best; None when the item names none."""
    assets = _mapping(item.get("assets"))
    for name in ASSETS[size]:
        href = _mapping(assets.get(name)).get("href")
        if isinstance(href, str) and href.startswith(("http://", "https://")):
            return href
    return None


def _attribution(item: Mapping[str, Any], values: Mapping[str, Any], picture_id: str) -> Attribution:
    """Creators and licence of this very picture: every instance, and there every account, has its own."""
    providers = [_mapping(one) for one in _listed(item.get("providers"))]
    names = [fields.text(one.get("name")) for one in providers if "producer" in _listed(one.get("roles"))]
    creator = ", ".join(dict.fromkeys(name for name in names if name)) or fields.text(values.get("geovisio:producer"))
    page = f"{_host(item)}/#focus=pic&pic={picture_id}" if _host(item) else ""
    return Attribution(creator or "unknown", page, fields.text(values.get("license")) or _licence_link(item))


def _licence_link(item: Mapping[str, Any]) -> str:
    return next((str(link.get("title") or link["href"]) for link in _links(item, "license")), "unknown")


def _host(item: Mapping[str, Any]) -> str:
    """Scheme and host of the instance that holds the picture: a federated item links to it as `via`."""
    for rel in ("via", "self"):
        for link in _links(item, rel):
            with suppress(ValueError):  # no address
                parts = urlsplit(link["href"])
                if parts.scheme in ("http", "https") and parts.netloc:
                    return f"{parts.scheme}://{parts.netloc}"
    return ""


def _links(item: Mapping[str, Any], rel: str) -> list[Mapping[str, Any]]:
    found = [_mapping(link) for link in _listed(item.get("links"))]
    return [link for link in found if link.get("rel") == rel and isinstance(link.get("href"), str)]


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
        return None if moment.tzinfo is None else plausible(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
