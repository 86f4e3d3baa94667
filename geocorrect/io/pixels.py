"""Reading photos: the one place that turns files into pixels, and delivered pixels back into raw sensor pixels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np

from geocorrect.errors import InputError
from geocorrect.records import ImageArray

MAX_PIXELS = 400_000_000
"""Larger rasters are refused before decoding: a small file can unpack into all the memory there is."""

COUNTER_CLOCKWISE_TURNS = {1: 0, 3: 2, 6: 1, 8: 3}
"""Quarter turns that bring an upright picture back to the raw sensor, per EXIF orientation (docs/mapillary_api.md).

Mirrored orientations (2, 4, 5, 7) are not listed: it is unknown what the provider did with them.
"""


def read_image(path: Path, exif_orientation: int = 1) -> ImageArray:
    """(H, W, 3) RGB uint8 of an image file, in raw sensor orientation.

    The file's own EXIF orientation tag is *not* applied; `exif_orientation` is the tag that a provider has already
    applied to the delivered pixels, and which is undone here. Raises InputError naming the file when it is missing,
    empty, truncated, not an image or too large.
    """
    if exif_orientation not in COUNTER_CLOCKWISE_TURNS:
        raise InputError(
            f"{path}: EXIF orientation {exif_orientation} is mirrored or invalid; 1, 3, 6 and 8 are usable"
        )
    data = read_bytes(path)
    _refuse_truncated(path, data)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None:
        raise InputError(f"{path}: not a readable image ({len(data)} bytes); download it again")
    if pixels.dtype != np.uint8:
        raise InputError(f"{path}: {pixels.dtype} pixels; only 8-bit images are supported")
    rgb = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(np.rot90(rgb, COUNTER_CLOCKWISE_TURNS[exif_orientation]))


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels from the file's header, without decoding; InputError as in `read_image`."""
    from PIL import Image as PillowImage
    from PIL import UnidentifiedImageError

    try:
        with PillowImage.open(path) as picture:
            return picture.size
    except FileNotFoundError:
        raise InputError(f"{path}: no such image file") from None
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"{path}: not a readable image ({error})") from None


def whole_image_sha256(path: Path) -> str:
    """Hex sha256 of an image file that is whole (header readable, end marker there), without decoding it.

    InputError as in `read_image`.
    """
    data = read_bytes(path)
    _refuse_truncated(path, data)
    return hashlib.sha256(data).hexdigest()


def read_bytes(path: Path) -> bytes:
    """The bytes of a file; InputError naming it when it is missing, a folder, unreadable or empty."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if not data:
        raise InputError(f"{path}: the file is empty; download it again")
    return data


def _refuse_truncated(path: Path, data: bytes) -> None:
    """OpenCV decodes half a JPEG to half a picture with grey below; a photo must be whole."""
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-64:]:
        raise InputError(f"{path}: truncated JPEG ({len(data)} bytes, no end marker); download it again")
    if data[:8] == b"\x89PNG\r\n\x1a\n" and b"IEND" not in data[-64:]:
        raise InputError(f"{path}: truncated PNG ({len(data)} bytes, no end chunk); copy it again")
    width, height = image_size(path)
    if width * height > MAX_PIXELS:
        raise InputError(f"{path}: {width}×{height} pixels is above the limit of {MAX_PIXELS}")
