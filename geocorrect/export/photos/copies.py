"""Copies of the photos with the corrected position in their EXIF and XMP; the originals are only read.

The compressed picture is copied byte by byte, and so is all other metadata, maker notes included.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

from geocorrect.catalog import Catalog, StoredResult
from geocorrect.export.bundle import Posed, notice, posed_images
from geocorrect.export.photos import exif_gps, jpeg, xmp
from geocorrect.geometry.camera import Projection
from geocorrect.io.atomic_folder import atomic_folder

log = logging.getLogger(__name__)

_NOTICE = (
    "Copies with corrected GPS tags (EXIF and XMP). GPSAltitude is the height above the WGS84 ellipsoid (EXIF 3.0), "
    "GPSImgDirection the heading from true north, GPSHPositioningError the expected horizontal error (68 %) in metres."
)
_READING_FAILS = (OSError, ValueError)


def write_photos(catalog: Catalog, stored: Iterable[StoredResult], path: Path) -> int:
    """Write the folder, photo by photo; returns the number of copies.

    Photos of which no copy can be made (not downloaded, no JPEG, damaged metadata) are listed in `left_out.txt`.
    """
    count, left_out = 0, 0
    with (
        atomic_folder(path) as folder,
        notice(folder, _NOTICE) as add_to_notice,
        (folder / "left_out.txt").open("w", encoding="utf-8") as list_of_others,
    ):
        list_of_others.write("# image_id, tab, file, tab, why there is no copy\n")
        for one in posed_images(catalog, stored):
            why = _copy(one, folder / one.file_name)
            if why is None:
                add_to_notice(one)
                count += 1
            else:
                list_of_others.write(f"{one.image.id}\t{one.image.path or one.file_name}\t{why}\n")
                left_out += 1
        if left_out:
            log.warning("%d photos have no copy; %s says why", left_out, path / "left_out.txt")
        else:
            (folder / "left_out.txt").unlink()
    return count


def _copy(one: Posed, target: Path) -> str | None:
    """Write a copy, or say why there can be none. What goes wrong with the target is an OSError."""
    if one.image.path is None:
        return "the photo is not downloaded"
    try:
        source = one.image.path.open("rb")
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    with source:
        try:
            head = _with_pose(jpeg.read_head(source), one)
        except _READING_FAILS as error:
            return " ".join(str(error).split())
        with target.open("wb") as written:
            head.write(written)
            shutil.copyfileobj(source, written, 1 << 20)
    return None


def _with_pose(head: jpeg.Head, one: Posed) -> jpeg.Head:
    stored, depth = one.stored, one.correction.evidence
    measured = " (measured)" if depth.depth_is_oracle else ""
    tags = exif_gps.GpsTags(
        lon_deg=stored.lon_deg,
        lat_deg=stored.lat_deg,
        height_m=stored.height_m,
        heading_deg=stored.heading_deg,
        error_m=one.correction.expected_error_m,
        method=f"geocorrect run {stored.run_key}; depth {depth.depth or 'none'}{measured}; {stored.status.value}",
        captured_at=one.image.captured_at,
    )
    camera = one.image.camera
    packet = xmp.with_pose(
        head.app1(jpeg.XMP), tags, (stored.heading_deg, stored.pitch_deg, stored.roll_deg), stored.attribution,
        is_panorama=camera is not None and camera.projection is Projection.SPHERICAL,
    )  # fmt: skip
    block = exif_gps.with_gps(head.app1(jpeg.EXIF), tags)
    return head.with_app1(jpeg.EXIF, block).with_app1(jpeg.XMP, packet)
