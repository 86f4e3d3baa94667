"""Pictures on disk: verified, atomic, resumable. A file under its final name is whole; a temporary one is nothing.

What the service delivers: docs/mapillary_api.md, "Pictures" and "Orientation".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geocorrect.errors import InputError, OutputError, Reason
from geocorrect.harvest.mapillary import fields
from geocorrect.harvest.mapillary.client import MapillaryClient
from geocorrect.harvest.mapillary.metadata import THUMB_FIELDS, is_quarter_turned, with_camera
from geocorrect.harvest.mapillary.responses import ErrorKind, RequestError
from geocorrect.harvest.mapillary.tiles import IMAGE_ID
from geocorrect.harvest.options import ImageSize
from geocorrect.io.atomic_file import write_atomically
from geocorrect.io.pixels import COUNTER_CLOCKWISE_TURNS, open_picture, require_whole
from geocorrect.records import Image

_ORIENTATION_TAG = 0x0112
_TEMPORARY_SUFFIX = ".part"
_SIZES: tuple[ImageSize, ...] = ("original", "2048", "1024", "256")


@dataclass(frozen=True)
class Picture:
    """A verified picture."""

    data: bytes
    """The JPEG file."""
    size: tuple[int, int]
    """(width, height) in pixels, as stored."""
    own_orientation: int
    """The EXIF orientation in the file itself; 1 when it has none."""


def picture_path(folder: Path, image_id: str, size: ImageSize) -> Path:
    """Where a picture lies: two-digit sub-folders, so that no folder grows too large."""
    if not IMAGE_ID.fullmatch(image_id):
        raise ValueError(f"image id {image_id!r} is not a number; no path is built from it")
    return folder / image_id[-2:].zfill(2) / f"{image_id}_{size}.jpg"


def best_url(record: Mapping[str, Any], wanted: ImageSize) -> tuple[ImageSize, str] | None:
    """The URL of the wanted size or of the next smaller one that the record has; None when it has none."""
    for size in _SIZES[_SIZES.index(wanted) :]:
        url = record.get(THUMB_FIELDS[size])
        if isinstance(url, str) and url.startswith(("http://", "https://")):
            return size, url
    return None


def fetch(
    client: MapillaryClient, record: Mapping[str, Any], image: Image, folder: Path, *, is_fresh: bool = False
) -> Image:
    """The image with its picture on disk, downloaded unless a sound file is there already.

    URLs of a record that is not fresh are asked for again when one does not work.

    Raises:
        RequestError: the picture cannot be had; NOT_FOUND when the record offers no URL.
        OutputError: it cannot be written.
    """
    choice = best_url(record, client.options.image_size)
    if choice is None:
        raise RequestError(ErrorKind.NOT_FOUND, "the service names no picture of this image now")
    size, url = choice
    path = picture_path(folder, image.id, size)
    picture = _read_stored(path)
    if picture is None:
        try:
            picture = verified(client.picture(url))
            _refuse_wrong_size(image, picture, size)
        except RequestError as failure:
            if not is_fresh and failure.kind in (ErrorKind.EXPIRED_URL, ErrorKind.MALFORMED):
                record = client.entity(image.id, tuple(THUMB_FIELDS.values()))
                return fetch(client, record, image, folder, is_fresh=True)
            if failure.kind is ErrorKind.EXPIRED_URL:
                client.picture_missed()
            raise
        client.picture_arrived()
        write_file(path, picture.data)
    return _with_picture(image, path, picture)


def with_stored_picture(image: Image, path: Path) -> Image | None:
    """The image with a picture that an earlier run stored; None when the file is missing or spoilt."""
    picture = _read_stored(path)
    return None if picture is None else _with_picture(image, path, picture)


def _with_picture(image: Image, path: Path, picture: Picture) -> Image:
    digest = hashlib.sha256(picture.data).hexdigest()
    provider = {**image.provider, "file_orientation": picture.own_orientation}
    image = replace(image, path=path, sha256=digest, provider=provider)
    return with_camera(_with_orientation(image, picture), picture.size)


def verified(data: bytes) -> Picture:
    """The picture in some bytes after a full decode; RequestError MALFORMED saying what is wrong."""
    if not data.startswith(b"\xff\xd8"):
        raise RequestError(ErrorKind.MALFORMED, f"not a JPEG ({len(data)} bytes starting {data[:12]!r})")
    try:
        require_whole(data, "picture")
        with open_picture(data, "picture") as picture:
            orientation = fields.orientation(picture.getexif().get(_ORIENTATION_TAG))
            size = picture.size
            # An eighth of the size: the whole stream is read, but its pixels need no memory.
            picture.draft("RGB", (size[0] // 8, size[1] // 8))
            picture.load()
            return Picture(data, size, orientation)
    except InputError as error:
        raise RequestError(ErrorKind.MALFORMED, str(error)) from None


def write_file(path: Path, data: bytes) -> None:
    """Write a file completely or not at all; OutputError naming it when the disk is full or read-only."""
    try:
        write_atomically(path, data, _TEMPORARY_SUFFIX)
    except OSError as error:
        text = f"{path}: cannot be written ({error.strerror}); free space or choose another folder"
        raise OutputError(text) from None


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of killed runs."""
    for path in folder.glob(f"*/*{_TEMPORARY_SUFFIX}"):
        path.unlink(missing_ok=True)


def _read_stored(path: Path) -> Picture | None:
    """The picture under a final name, decoded again; None when there is none or the disk has spoilt it."""
    try:
        return verified(path.read_bytes())
    except (FileNotFoundError, RequestError):
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _refuse_wrong_size(image: Image, picture: Picture, size: ImageSize) -> None:
    """A placeholder or a mix-up shows by its size: below half of what was asked for, or above the upload."""
    upload = fields.pixel_size(image.provider)
    if upload is None:
        return
    longest, ours = max(upload), max(picture.size)
    expected = longest if size == "original" else min(longest, int(size))
    if ours < 0.5 * expected or ours > longest + 1:
        text = f"picture of {picture.size[0]}×{picture.size[1]} pixels, expected about {expected} on the longer side"
        raise RequestError(ErrorKind.MALFORMED, text)


def _with_orientation(image: Image, picture: Picture) -> Image:
    """Quarantine a picture whose shape contradicts "delivered upright", or whose own tag says it was not turned."""
    upload = fields.pixel_size(image.provider)
    if image.exif_orientation not in COUNTER_CLOCKWISE_TURNS or upload is None:
        return image
    quarter_turned = is_quarter_turned(image)
    upright = upload[::-1] if quarter_turned else upload
    if quarter_turned and picture.own_orientation == image.exif_orientation and _same_shape(picture.size, upload):
        # Delivered as uploaded, tag and all: nothing was turned, so nothing is to be undone.
        return image if _same_shape(upload, upright) else replace(image, exif_orientation=1)
    if picture.own_orientation != 1 or not _same_shape(picture.size, upright):
        return replace(image, problem=image.problem or Reason.ORIENTATION_AMBIGUOUS)
    return image


def _same_shape(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Equal aspect up to the rounding of the smaller raster's sides by one pixel."""
    (w, h), (full_w, full_h) = first, second
    return abs(w * full_h - h * full_w) <= 1.5 * max(full_w, full_h)
