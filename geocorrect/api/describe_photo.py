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
from geocorrect.io.checksum import sha256_of
from geocorrect.io.pixels import image_size, read_bytes
from geocorrect.records import NAN, Image, Position


class PhotoError(InputError):
    """One photo cannot be used; others may."""

    def __init__(self, reason: Reason, message: str) -> None:
        """Say why (reason) and how to fix it (message, naming the file)."""
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class PhotoOptions:
    """What the user says about a photo; it goes before its record and its EXIF."""

    camera: Camera | str | Path | float | None = None
    """A camera, a file with one OpenSfM camera as JSON, or the focal length of a pinhole in pixels."""
    position: Position | None = None
    """Roughly where it was taken."""
    heading_deg: float | None = None
    """Roughly which way, clockwise from true north."""


def describe_photo(path: Path, options: PhotoOptions, catalog: Catalog | None = None) -> Image:
    """The photo with camera, position and heading as far as they are known.

    catalog: where its harvested record may be. PhotoError naming the file when it is missing, unreadable, or its camera
    is unknown.
    """
    if not path.is_file():
        raise PhotoError(Reason.IMAGE_MISSING, f"{path}: no such file")
    photo = _harvested(path, catalog) or _by_exif(path)
    camera = photo.camera if options.camera is None else stated_camera(options.camera, *image_size(path))
    if camera is None:
        message = f"{path}: the intrinsics on record are unusable; give --camera FILE.json or --focal PIXELS"
        raise PhotoError(Reason.CAMERA_UNSUPPORTED, message)
    if camera is photo.camera and photo.provider.get("source") == "exif" and camera.focal_sigma == ASSUMED_FOCAL_SIGMA:
        message = f"{path}: its EXIF names no focal length; give --focal PIXELS or --camera FILE.json"
        raise PhotoError(Reason.CAMERA_UNSUPPORTED, message)
    return with_stated(replace(photo, camera=camera, problem=None), options)


def with_stated(photo: Image, options: PhotoOptions) -> Image:
    """The photo with the position and heading that the user states; a stated heading goes before a computed one."""
    if options.position is not None:
        photo = replace(photo, reported=options.position)
    if options.heading_deg is not None:
        photo = replace(photo, heading_deg=options.heading_deg % 360.0, computed_heading_deg=NAN)
    return photo


def _harvested(path: Path, catalog: Catalog | None) -> Image | None:
    """The record of a photo that was harvested or imported; it must be about this very file."""
    if catalog is None:
        return None
    found = catalog.images(_possible_ids(path))
    same = (image for image in found.values() if image.path is not None and image.path.resolve() == path.resolve())
    record = next(same, None)
    if record is None and found:  # the folder may have been moved or copied since
        content = sha256_of(path)
        record = next((replace(image, path=path) for image in found.values() if image.sha256 == content), None)
    return record


def _possible_ids(path: Path) -> list[str]:
    """Harvested files are `<id>_<size>.jpg`; imported photos have their path below the imported folder as id."""
    parts = path.resolve().parts
    tails = ["/".join(parts[start:]) for start in range(1, len(parts))]
    return [path.stem.rsplit("_", 1)[0], path.stem, *tails]


def _by_exif(path: Path) -> Image:
    photo = read_photo(path, path.stem)
    if photo.problem in (Reason.IMAGE_UNREADABLE, Reason.IMAGE_MISSING):
        raise PhotoError(photo.problem, str(photo.provider["error"]))
    return photo


def stated_camera(stated: Camera | str | Path | float, width: int, height: int) -> Camera:
    """The camera that was given, for pictures of this size; InputError naming a file that holds none."""
    if isinstance(stated, Camera):
        return stated
    if isinstance(stated, float | int):
        try:
            return Camera.pinhole(width, height, stated, stated, (width - 1) / 2, (height - 1) / 2)
        except ValueError as error:
            raise InputError(f"focal length {stated:g} px: {error}") from None
    try:
        content = json.loads(read_bytes(Path(stated)))
        if isinstance(content, dict) and "projection_type" not in content and len(content) == 1:
            (content,) = content.values()
        if not isinstance(content, dict):
            raise ValueError("expected one camera object")
        camera = Camera.from_opensfm(content, width, height)
        focal_sigma, readout_s = (float(content.get(name, NAN)) for name in ("focal_sigma", "readout_s"))
        return replace(camera, focal_sigma=focal_sigma, readout_s=readout_s)
    except (ValueError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise InputError(f"{stated}: not an OpenSfM camera as JSON ({error})") from None
