"""Pictures on disk: verified, atomic, resumable. A file under its final name is whole; a temporary one is nothing."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from geocorrect.errors import InputError, OutputError, Reason
from geocorrect.harvest.mapillary import fields
from geocorrect.harvest.mapillary.client import MapillaryClient
from geocorrect.harvest.mapillary.metadata import THUMB_FIELDS, with_camera
from geocorrect.harvest.mapillary.responses import ErrorKind, RequestError
from geocorrect.harvest.mapillary.tiles import IMAGE_ID
from geocorrect.harvest.options import ImageSize
from geocorrect.io.pixels import COUNTER_CLOCKWISE_TURNS, MAX_PIXELS
from geocorrect.records import Image

TEMPORARY_SUFFIX = ".part"
_SIZES: tuple[ImageSize, ...] = ("original", "2048", "1024", "256")
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class Picture:
    """A verified picture: bytes, (width, height) as stored, and the orientation tag in the file itself (1 = none)."""

    data: bytes
    size: tuple[int, int]
    own_orientation: int


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


def verified(data: bytes) -> Picture:
    """The picture in some bytes after a full decode; RequestError MALFORMED saying what is wrong."""
    from PIL import Image as PillowImage

    if not data.startswith(b"\xff\xd8"):
        raise RequestError(ErrorKind.MALFORMED, f"not a JPEG ({len(data)} bytes starting {data[:12]!r})")
    if b"\xff\xd9" not in data[-64:]:
        raise RequestError(ErrorKind.MALFORMED, f"truncated JPEG ({len(data)} bytes, no end marker)")
    try:
        with PillowImage.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise RequestError(ErrorKind.REFUSED, f"{picture.width}×{picture.height} pixels is too large")
            orientation = fields.orientation(picture.getexif().get(_ORIENTATION_TAG))
            picture.load()
            return Picture(data, picture.size, orientation)
    except (OSError, ValueError, SyntaxError, PillowImage.DecompressionBombError) as error:
        raise RequestError(ErrorKind.MALFORMED, f"undecodable JPEG ({error})") from None


def stored(image: Image, path: Path, picture: Picture) -> Image:
    """The image with its file: camera of exactly these pixels, sha256, and a quarantine when the shape contradicts."""
    image = _checked_orientation(image, picture)
    digest = hashlib.sha256(picture.data).hexdigest()
    return with_camera(replace(image, path=path, sha256=digest), picture.size)


def read_stored(path: Path) -> Picture | None:
    """The picture under a final name, decoded again; None when there is none or the disk has spoilt it."""
    try:
        return verified(path.read_bytes())
    except (FileNotFoundError, RequestError):
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def write_atomically(path: Path, data: bytes) -> None:
    """Temporary file, fsync, rename; OutputError naming the path when the disk is full or read-only."""
    temporary = path.with_name(f"{path.name}.{uuid4().hex[:8]}{TEMPORARY_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another folder"
        ) from None


def remove_leftovers(folder: Path) -> int:
    """Delete the temporary files of killed runs; returns how many."""
    leftovers = list(folder.glob(f"*/*{TEMPORARY_SUFFIX}"))
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def fetch(client: MapillaryClient, record: Mapping[str, Any], image: Image, folder: Path) -> Image:
    """The image with its picture on disk, downloaded unless a sound file is there already.

    An expired URL, or an answer that is no picture, is asked for afresh once. RequestError when that fails too,
    NOT_FOUND when the record offers no URL.
    """
    wanted = client.options.image_size
    for attempt in (1, 2):
        choice = best_url(record, wanted)
        if choice is None:
            raise RequestError(ErrorKind.NOT_FOUND, "the service names no picture of this image now")
        size, url = choice
        path = picture_path(folder, image.id, size)
        on_disk = read_stored(path)
        if on_disk is not None:
            return stored(image, path, on_disk)
        try:
            picture = verified(client.picture(url))
            _refuse_wrong_size(image, picture, size)
        except RequestError as failure:
            if attempt == 2 or failure.kind not in (ErrorKind.EXPIRED_URL, ErrorKind.MALFORMED):
                if failure.kind is ErrorKind.EXPIRED_URL:
                    client.picture_refused()
                raise
            record = client.entity(image.id, tuple(THUMB_FIELDS.values()))
            continue
        client.picture_arrived()
        write_atomically(path, picture.data)
        return stored(image, path, picture)
    raise AssertionError("unreachable")


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


def _checked_orientation(image: Image, picture: Picture) -> Image:
    """Quarantine a picture whose shape contradicts "delivered upright" (or whose own tag says it was not turned)."""
    upload = fields.pixel_size(image.provider)
    if image.exif_orientation not in COUNTER_CLOCKWISE_TURNS or upload is None:
        return image
    quarter_turned = COUNTER_CLOCKWISE_TURNS[image.exif_orientation] % 2 == 1
    upright = upload[::-1] if quarter_turned else upload
    if picture.own_orientation not in (1, image.exif_orientation):
        return replace(image, problem=image.problem or Reason.ORIENTATION_AMBIGUOUS)
    if quarter_turned and picture.own_orientation == image.exif_orientation and _same_shape(picture.size, upload):
        # Delivered as uploaded, tag and all: nothing was turned, so nothing is to be undone.
        return image if _same_shape(upload, upright) else replace(image, exif_orientation=1)
    if not _same_shape(picture.size, upright):
        return replace(image, problem=image.problem or Reason.ORIENTATION_AMBIGUOUS)
    if image.exif_orientation != 1 and picture.own_orientation != 1:
        return replace(image, problem=image.problem or Reason.ORIENTATION_AMBIGUOUS)
    return image


def _same_shape(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Equal aspect up to the rounding of the smaller raster's sides by one pixel."""
    (w, h), (full_w, full_h) = first, second
    return abs(w * full_h - h * full_w) <= 1.5 * max(full_w, full_h)
