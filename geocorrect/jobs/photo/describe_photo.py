"""What is known about one photo on disk: its harvested record, its EXIF, and what the user says about it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from geocorrect.catalog.store import Catalog
from geocorrect.errors import InputError, Reason
from geocorrect.geometry.camera import Camera
from geocorrect.harvest.local.exif import read_photo
from geocorrect.harvest.mapillary.metadata import ASSUMED_FOCAL_SIGMA
from geocorrect.io.pixels import image_size, read_bytes
from geocorrect.records import NAN, Image, Position


@dataclass(frozen=True)
class PhotoOptions:
    """What the user says about a photo; it goes before its record and its EXIF."""

    camera: Path | None = None
    """OpenSfM camera as JSON (one camera, or a file with a single one)."""
    focal_px: float | None = None
    """Of a pinhole."""
    position: Position | None = None
    """Roughly where it was taken."""
    heading_deg: float | None = None
    """Roughly which way, clockwise from true north."""


def describe_photo(path: Path, options: PhotoOptions, catalog: Catalog | None = None) -> Image:
    """The photo with camera, position and heading as far as they are known.

    catalog: where its harvested record may be. InputError naming the file when it is missing, unreadable, or its camera
    is unknown.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    photo = _harvested(path, catalog) or _by_exif(path)
    camera = _stated_camera(path, options) or photo.camera
    if camera is None:
        raise InputError(f"{path}: the intrinsics on record are unusable; give --camera FILE.json or --focal PIXELS")
    if camera is photo.camera and photo.provider.get("source") == "exif" and camera.focal_sigma == ASSUMED_FOCAL_SIGMA:
        raise InputError(f"{path}: its EXIF names no focal length; give --focal PIXELS or --camera FILE.json")
    if options.heading_deg is not None:  # it goes before what the provider computed, too
        photo = replace(photo, heading_deg=options.heading_deg % 360.0, computed_heading_deg=NAN)
    return replace(photo, camera=camera, reported=options.position or photo.reported)


def _harvested(path: Path, catalog: Catalog | None) -> Image | None:
    """The record of a photo that was harvested or imported; it must be about this very file."""
    if catalog is None:
        return None
    found = catalog.images(_possible_ids(path))
    same = (image for image in found.values() if image.path is not None and image.path.resolve() == path.resolve())
    return next(same, None)


def _possible_ids(path: Path) -> list[str]:
    """Harvested files are `<id>_<size>.jpg`; imported photos have their path below the imported folder as id."""
    parts = path.resolve().parts
    tails = ["/".join(parts[start:]) for start in range(1, len(parts))]
    return [path.stem.rsplit("_", 1)[0], path.stem, *tails]


def _by_exif(path: Path) -> Image:
    photo = read_photo(path, path.stem)
    if photo.problem in (Reason.IMAGE_UNREADABLE, Reason.IMAGE_MISSING):
        raise InputError(str(photo.provider["error"]))
    return photo


def _stated_camera(path: Path, options: PhotoOptions) -> Camera | None:
    """The camera that was given, for the size of the picture."""
    width, height = image_size(path)
    if options.focal_px is not None:
        return Camera.pinhole(width, height, options.focal_px, options.focal_px, (width - 1) / 2, (height - 1) / 2)
    if options.camera is None:
        return None
    try:
        content = json.loads(read_bytes(options.camera))
        if isinstance(content, dict) and "projection_type" not in content and len(content) == 1:
            (content,) = content.values()
        if not isinstance(content, dict):
            raise ValueError("expected one camera object")
        camera = Camera.from_opensfm(content, width, height)
        return replace(camera, focal_sigma=float(content.get("focal_sigma", NAN)))
    except (ValueError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise InputError(f"{options.camera}: not an OpenSfM camera as JSON ({error})") from None
