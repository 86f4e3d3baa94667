"""Where a reconstruction's pictures were taken, by their own tags: EXIF GPS, and DJI's RTK deviations in XMP.

The height of such a tag is measured from what the receiver was set to, so it must be declared. The sigma is DJI's
RtkStd…, else GPSHPositioningError, else `--position-sigma`: never guessed.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.place import declared_height_reference, height_on_ellipsoid_m
from geocorrect.anchors.readers.reconstruction.model import Reconstruction, Ties, folder_of
from geocorrect.errors import InputError
from geocorrect.geometry.crs import WGS84
from geocorrect.harvest.local.exif import read_photo
from geocorrect.io.unicode_names import on_disk
from geocorrect.records import Image

EXIF = "exif"
"""Instead of a file of positions: the tags of the pictures."""
HEAD_BYTES = 262_144
"""XMP stands before the pixels."""
_RTK_STD = re.compile(rb"drone-dji:RtkStd(Lon|Lat|Hgt)(?:=\"|>)\s*\+?([0-9.]+)")


def exif_ties(model: Reconstruction, folders: list[Path], options: AnchorOptions) -> Ties:
    """The camera centres and their tags; InputError naming the picture, or when fewer than three have a position."""
    source = f"EXIF of {model.source}"
    reference = declared_height_reference(source, WGS84, options.height_reference, "GPSAltitude is")
    folder, local, values = folder_of(model, folders), [], []
    for image in model.images:
        path = on_disk(folder / image.name)
        photo = read_photo(path, image.name)
        place = photo.reported
        if place is None or not np.isfinite(place.height_m):
            continue
        rtk_m = rtk_sigma_m(path)
        sigma_m = max(rtk_m) if rtk_m else plan_sigma_m(path, photo, options.position_sigma_m)
        height_m = height_on_ellipsoid_m(
            str(path), place.lon_deg, place.lat_deg, place.height_m, reference, options.undulation_m
        )
        local.append(image.local_from_cam.translation_m)
        values.append([place.lon_deg, place.lat_deg, height_m, sigma_m])
    if len(local) < 3:
        raise InputError(f"{source}: {len(local)} pictures have position and height in their tags; 3 are needed")
    rows = np.array(values, float)
    return Ties(source, np.array(local), rows[:, :3], rows[:, 3])


def plan_sigma_m(path: Path, photo: Image, given_m: float | None) -> float:
    """GPSHPositioningError, else what is given; InputError without both."""
    sigma_m = photo.provider.get("accuracy_m") or given_m
    if not sigma_m:
        raise InputError(f"{path}: its tags do not say how good its position is; add --position-sigma METRES")
    return float(sigma_m)


def rtk_sigma_m(path: Path) -> tuple[float, float, float] | None:
    """DJI's three deviations east, north, up in metres, None where they are not there."""
    with path.open("rb") as file:
        found = {name: float(value) for name, value in _RTK_STD.findall(file.read(HEAD_BYTES))}
    if len(found) != 3 or max(found.values()) <= 0:
        return None
    return found[b"Lon"], found[b"Lat"], found[b"Hgt"]
