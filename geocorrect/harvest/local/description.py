"""What mapillary_tools says about a photo (MAP… keys), in its description file or inside the photo."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from geocorrect.errors import Reason
from geocorrect.harvest.mapillary import fields
from geocorrect.io.capture_time import plausible
from geocorrect.records import Image

SEQUENCE_KEY = "sequence_key"
"""Where a photo's `provider` keeps the sequence key as it was written."""


def embedded_description(value: Any) -> dict[str, Any]:
    """The MAP… entries that mapillary_tools writes into EXIF's ImageDescription; empty when there are none."""
    try:
        content = json.loads(value) if isinstance(value, str | bytes) else None
    except (ValueError, RecursionError):
        return {}
    return {key: content[key] for key in content if key.startswith("MAP")} if isinstance(content, dict) else {}


def described(photo: Image, entry: Mapping[str, Any]) -> Image:
    """The photo with what the description says, which goes before its EXIF; what it does not say stays.

    `MAPSequenceUUID` is left out: see `with_sequences`.
    """
    coordinates = [entry.get("MAPLongitude"), entry.get("MAPLatitude")]
    height_m = fields.altitude_m(entry.get("MAPAltitude"))
    position = fields.position({"coordinates": coordinates}, height_m, "unknown") or photo.reported
    heading, provider = entry.get("MAPCompassHeading"), dict(photo.provider)
    heading_deg = fields.compass_deg(heading.get("TrueHeading")) if isinstance(heading, Mapping) else math.nan
    if math.isnan(heading_deg):
        heading_deg = photo.heading_deg
    else:
        # What EXIF said about its own heading does not hold for this one.
        for name in ("heading_reference", "magnetic_heading_deg", "declination_deg", "declination_sigma_deg"):
            provider.pop(name, None)
    said = entry.get("MAPCaptureTime")
    captured_at = plausible(_moment(said))
    if said is not None and captured_at is None:
        provider["notes"] = [*provider.get("notes", ()), f"MAPCaptureTime {fields.text(str(said))} is not believed"]
    problem = None if photo.problem is Reason.POSITION_MISSING and position is not None else photo.problem
    if problem is None and photo.camera is None:
        problem = Reason.CAMERA_UNSUPPORTED
    return replace(
        photo,
        reported=position,
        heading_deg=heading_deg,
        captured_at=captured_at or photo.captured_at,
        device_make=fields.text(entry.get("MAPDeviceMake")) or photo.device_make,
        device_model=fields.text(entry.get("MAPDeviceModel")) or photo.device_model,
        problem=problem,
        provider=provider,
    )


def with_sequences(images: Sequence[Image]) -> list[Image]:
    """The images with sequence ids from the sequence keys in their files.

    A key is a counter of one run of mapillary_tools, so it is qualified by the first photo of the sequence: file and
    time. Two trips stay two recordings; the same file read again gives the same ids.
    """
    members: dict[str, list[Image]] = defaultdict(list)
    for image in images:
        if image.provider.get(SEQUENCE_KEY):
            members[image.provider[SEQUENCE_KEY]].append(image)
    qualifiers = {key: hashlib.sha256(repr(min(map(_order, found))).encode()) for key, found in members.items()}
    ids = {key: fields.text(f"{key[:60]}-{value.hexdigest()[:10]}") for key, value in qualifiers.items()}
    return [
        replace(image, sequence_id=ids[image.provider[SEQUENCE_KEY]]) if image.provider.get(SEQUENCE_KEY) else image
        for image in images
    ]


def _order(image: Image) -> tuple[str, str]:
    return (image.captured_at.isoformat() if image.captured_at else "", str(image.path))


def _moment(value: Any) -> datetime | None:
    """YYYY_MM_DD_HH_MM_SS_mmm, UTC."""
    try:
        return datetime.strptime(f"{value}000", "%Y_%m_%d_%H_%M_%S_%f").replace(tzinfo=UTC)
    except ValueError:
        return None
