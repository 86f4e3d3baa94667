"""Photos to correct, listed in a table with what is known of them: position, heading, time, camera.

Columns: file (relative to the table), and optionally id, lon_deg and lat_deg (WGS84), height_m, heading_deg (from true
north), captured_at, sequence_id, and the camera as in a table of anchors (camera_model, width, height, fx, fy, cx, cy,
coefficients, readout_s). What a row does not say comes from the photo's EXIF.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from geocorrect.anchors.readers.rows import Row, read_rows
from geocorrect.anchors.readers.table import (
    ALL_COEFFICIENTS,
    camera_of,
    captured_at_of,
    refuse_unknown_columns,
)
from geocorrect.errors import InputError, Reason
from geocorrect.harvest.local.exif import read_photo
from geocorrect.harvest.local.folder import Imported
from geocorrect.io.unicode_names import on_disk
from geocorrect.records import Image, Position

CAMERA_COLUMNS = ("camera_model", "width", "height", "fx", "fy", "cx", "cy", *ALL_COEFFICIENTS, "readout_s")
KNOWN_COLUMNS = (
    "file", "id", "lon_deg", "lat_deg", "height_m", "heading_deg", "captured_at", "sequence_id", "note", "fid",
    *CAMERA_COLUMNS,
)  # fmt: skip


def import_table(path: Path) -> Imported:
    """The photos of a CSV or GeoJSON table, in its order; InputError naming row and column."""
    rows = read_rows(path)
    refuse_unknown_columns(rows, KNOWN_COLUMNS)
    images: dict[str, Image] = {}
    for row in rows:
        image = _photo(row)
        if image.id in images:
            raise InputError(f"{row.where}: id {image.id!r} was already used")
        images[image.id] = image
    return Imported(list(images.values()))


def _photo(row: Row) -> Image:
    name = row.text("file")
    image = read_photo(on_disk(row.table.parent / name), row.text_or("id", Path(name).with_suffix("").as_posix()))
    if image.problem in (Reason.IMAGE_MISSING, Reason.IMAGE_UNREADABLE):
        return image
    provider = dict(image.provider)
    if any(row.has(column) for column in CAMERA_COLUMNS):
        camera = camera_of(row)
        size = (provider["width"], provider["height"])
        if (camera.width, camera.height) != size:
            raise InputError(
                f"{row.where}: {name} is {size[0]}×{size[1]} pixels, the row says {camera.width}×{camera.height}"
            )
        image = replace(image, camera=camera)
    if row.has("lon_deg") or row.has("lat_deg"):
        image = replace(image, reported=_position(row))
    if row.has("heading_deg"):
        image = replace(image, heading_deg=row.number("heading_deg") % 360.0)
    moment, sequence = captured_at_of(row), row.text_or("sequence_id", "")
    image = replace(image, captured_at=moment or image.captured_at, sequence_id=sequence or image.sequence_id)
    problem = Reason.CAMERA_UNSUPPORTED if image.camera is None else None
    return replace(image, problem=Reason.POSITION_MISSING if image.reported is None else problem)


def _position(row: Row) -> Position:
    try:
        return Position(row.number("lon_deg"), row.number("lat_deg"), row.number_or("height_m", float("nan")))
    except ValueError as error:
        raise InputError(f"{row.where}: {error}") from None
