"""Reading photos: the one place that turns files into pixels, and delivered pixels back into raw sensor pixels."""

from __future__ import annotations

import functools
import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from geocorrect.errors import InputError
from geocorrect.io.containers import outline_of
from geocorrect.records import ImageArray

if TYPE_CHECKING:
    from PIL import Image as PillowImage

MAX_PIXELS = 300_000_000
"""The one limit, 0.9 GB decoded; larger rasters are refused undecoded: a small file can unpack into all memory."""

MAX_PROGRESSIVE_PIXELS = 100_000_000
"""The same for progressive JPEGs, whose decoder holds up to six bytes more per pixel."""

_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "PPM", "BMP")
"""What a file may be, whatever its name says: some of Pillow's other readers start programs (EPS)."""

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
    _refuse_damaged(path, data)
    rgb = _decoded(data)
    if rgb is None:
        raise InputError(f"{path}: not a readable image ({len(data)} bytes); download it again")
    if rgb.dtype != np.uint8:
        raise InputError(f"{path}: {rgb.dtype} pixels; only 8-bit images are supported")
    return np.ascontiguousarray(np.rot90(rgb, COUNTER_CLOCKWISE_TURNS[exif_orientation]))


def _decoded(data: bytes) -> ImageArray | None:
    """(H, W, 3) RGB of a whole file; None when nothing can decode it. HEIC is left to Pillow's plugin."""
    with suppress(cv2.error):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if pixels is not None:
            return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels))
    with suppress(InputError), open_picture(data, "") as picture:
        return np.array(picture.convert("RGB"))
    return None


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels from the file's header, without decoding; InputError as in `read_image`."""
    return _size(path, str(path))


def _size(source: Path | bytes, name: str) -> tuple[int, int]:
    """(width, height) of a file or of its bytes; InputError that begins with `name`."""
    with open_picture(source, name) as picture:
        return picture.size


@contextmanager
def open_picture(source: Path | bytes, name: str) -> Iterator[PillowImage.Image]:
    """A picture opened by Pillow: its header is read, its pixels are not decoded yet.

    Whatever a decoder raises inside the block is the file's error: InputError that begins with `name`. So is a raster
    above `MAX_PIXELS`.
    """
    from PIL import Image as PillowImage

    formats = (*_FORMATS, "HEIF") if reads_heif() else _FORMATS
    try:
        with PillowImage.open(io.BytesIO(source) if isinstance(source, bytes) else source, "r", formats) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                text = f"{picture.width}×{picture.height} pixels is above the limit of {MAX_PIXELS}; make it smaller"
                raise InputError(f"{name}: {text}")
            yield picture
    except (InputError, MemoryError):
        raise
    except FileNotFoundError:
        raise InputError(f"{name}: no such image file") from None
    except Exception as error:
        what = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(f"{name}: not a readable image ({what})") from None


@functools.cache
def reads_heif() -> bool:
    """Whether HEIC pictures can be read (`pip install 'geocorrect[heif]'`); prepares Pillow."""
    from PIL import Image as PillowImage

    # Ours is the one limit on pixels; Pillow's own would refuse pictures that are within it.
    PillowImage.MAX_IMAGE_PIXELS = None
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def whole_image_sha256(path: Path) -> str:
    """Hex sha256 of an image file that is whole (header readable, end marker there), without decoding it.

    InputError as in `read_image`.
    """
    data = read_bytes(path)
    _refuse_damaged(path, data)
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


def require_whole(data: bytes, name: str) -> None:
    """InputError, beginning with `name`, for a JPEG or PNG that is cut, or that would cost too much to decode.

    To be asked before any decoder sees the bytes. OpenCV decodes half a JPEG to half a picture with grey below; a photo
    must be whole.
    """
    try:
        outline = outline_of(data)
    except ValueError as error:
        raise InputError(f"{name}: {error}; copy or download it again") from None
    if outline is not None and outline.progressive_pixels > MAX_PROGRESSIVE_PIXELS:
        text = f"{outline.progressive_pixels} pixels is above the limit of {MAX_PROGRESSIVE_PIXELS}"
        raise InputError(f"{name}: {text} for progressive JPEGs")


def _refuse_damaged(path: Path, data: bytes) -> None:
    require_whole(data, str(path))
    _size(data, str(path))
