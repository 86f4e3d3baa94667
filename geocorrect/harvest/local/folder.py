"""Images without Mapillary: a folder of photos with EXIF, an OpenSfM project, a mapillary_tools description file.

Pictures stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.errors import InputError, Reason
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.harvest.local.exif import read_photo
from geocorrect.harvest.local.opensfm import Reconstruction, Shot, read_reconstructions
from geocorrect.harvest.mapillary import fields
from geocorrect.harvest.mapillary.metadata import SFM_FOCAL_SIGMA
from geocorrect.io.masks import is_mask
from geocorrect.io.text_file import read_json
from geocorrect.records import Image, MetadataQuality, Position

_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})


@dataclass
class Imported:
    """What an import found."""

    images: list[Image] = field(default_factory=list)
    """One per photo; a photo that cannot be read has that as its problem."""
    skipped: list[str] = field(default_factory=list)
    """A sentence for everything that could not be used at all."""


def import_folder(folder: Path) -> Imported:
    """Every photo in a folder and below it, described by its EXIF. Ids are paths relative to the folder."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found = (path for path in folder.rglob("*") if path.suffix.lower() in _ENDINGS and path.is_file())
    paths = sorted(path for path in found if not is_mask(path))
    if not paths:
        raise InputError(f"{folder}: holds no photos ({', '.join(sorted(_ENDINGS))})")
    return Imported([read_photo(path, path.relative_to(folder).as_posix()) for path in paths])


def import_opensfm(project: Path) -> Imported:
    """An OpenSfM project: its images/ with EXIF, cameras and poses from reconstruction.json (computed, quality sfm)."""
    imported = import_folder(project / "images")
    reconstruction = project / "reconstruction.json"
    if not reconstruction.is_file():
        raise InputError(f"{project}: holds no reconstruction.json; use the folder import for images/ alone")
    parts = read_reconstructions(reconstruction)
    by_name = {shot.name: (shot, part) for part in parts for shot in part.shots.values()}
    imported.images = [
        _with_shot(image, *by_name.pop(image.id)) if image.id in by_name else image for image in imported.images
    ]
    imported.skipped += [f"shot {name}: no such image in {project / 'images'}" for name in sorted(by_name)]
    return imported


def import_description(path: Path) -> Imported:
    """A mapillary_tools description file (mapillary_image_description.json); entries with an error are skipped."""
    entries = read_json(path)
    if not isinstance(entries, list):
        raise InputError(f"{path}: must be a JSON array, as mapillary_tools writes it")
    imported = Imported()
    for number, entry in enumerate(entries):
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            imported.skipped.append(f"{path}, entry {number}: has no filename")
        elif "error" in entry:
            error = entry["error"]
            text = error.get("message") or error.get("type") if isinstance(error, dict) else error
            imported.skipped.append(f"{name}: {text}")
        elif entry.get("filetype", "image") == "image":
            imported.images.append(_described(read_photo(path.parent / name, name), entry))
    return imported


def _with_shot(image: Image, shot: Shot, part: Reconstruction) -> Image:
    """Camera and computed pose of a reconstructed image, in the ENU frame at its own position."""
    if image.problem in (Reason.IMAGE_UNREADABLE, Reason.IMAGE_MISSING):
        return image
    camera = part.camera(shot, int(image.provider["width"]), int(image.provider["height"]))
    if camera is None:
        return replace(image, problem=Reason.CAMERA_UNSUPPORTED, camera=None)
    camera = replace(camera, focal_sigma=SFM_FOCAL_SIGMA)
    image = replace(image, camera=camera, captured_at=image.captured_at or shot.captured_at)
    image = replace(image, sequence_id=image.sequence_id or shot.sequence_id)
    if part.reference is None:
        return image
    lon, lat, height_m = map(float, part.reference.wgs84_from_enu(shot.world_from_cam.translation_m))
    here = Frame("here", lon, lat, height_m)
    return replace(
        image,
        computed=Position(lon, lat, height_m, "unknown"),
        computed_heading_deg=part.reference.heading_deg(shot.world_from_cam),
        computed_enu_from_cam=Pose((here.this_from(part.reference) @ shot.world_from_cam).rotation, np.zeros(3)),
        quality=MetadataQuality.SFM,
    )


def _described(photo: Image, entry: Mapping[str, Any]) -> Image:
    """The photo with what the description file says, which goes before its EXIF."""
    coordinates = [entry.get("MAPLongitude"), entry.get("MAPLatitude")]
    position = fields.position({"coordinates": coordinates}, fields.altitude_m(entry.get("MAPAltitude")), "unknown")
    heading = entry.get("MAPCompassHeading")
    heading_deg = fields.compass_deg(heading.get("TrueHeading")) if isinstance(heading, dict) else photo.heading_deg
    problem = photo.problem
    if problem in (None, Reason.POSITION_MISSING):
        problem = None if position is not None else Reason.POSITION_MISSING
    return replace(
        photo,
        reported=position,
        heading_deg=heading_deg,
        captured_at=_capture_time(entry.get("MAPCaptureTime")) or photo.captured_at,
        sequence_id=fields.text(entry.get("MAPSequenceUUID")),
        device_make=fields.text(entry.get("MAPDeviceMake")) or photo.device_make,
        device_model=fields.text(entry.get("MAPDeviceModel")) or photo.device_model,
        problem=problem,
    )


def _capture_time(value: Any) -> datetime | None:
    """YYYY_MM_DD_HH_MM_SS_mmm, UTC."""
    try:
        return datetime.strptime(f"{value}000", "%Y_%m_%d_%H_%M_%S_%f").replace(tzinfo=UTC)
    except ValueError:
        return None
