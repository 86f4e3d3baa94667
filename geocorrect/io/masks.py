"""Masks beside photos: which pixels matching must not trust (sky, vehicles, pedestrians, the car of the camera).

`photo.NAME.png`, where black is left out, or `photo.NAME.json` with polygons, is beside `photo.jpg`; or, as OpenSfM has
them, `NAME/photo.jpg.png` beside the folder of the photo. NAME is the name of a set of masks, `[localize.verify]
masks`: it is part of a run's configuration, so another set makes photos due again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.errors import InputError
from geocorrect.io.pixels import COUNTER_CLOCKWISE_TURNS, image_size, read_bytes, read_image

Mask = NDArray[np.bool_]
PHOTO_ENDINGS = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp"})
HEIF_ENDINGS = frozenset({".heic", ".heif", ".hif"})
"""Of the files that are taken for photos, in any case; HEIF with an extra."""


def mask_beside(photo: Path, name: str, exif_orientation: int = 1) -> Mask | None:
    """(H, W) True where the photo may be trusted, in the orientation of `read_image`; None where there is no mask.

    A mask is drawn on the picture as the file shows it. InputError naming a mask that is damaged or of another size.
    """
    polygons = photo.with_name(f"{photo.stem}.{name}.json")
    beside = photo.with_name(f"{photo.stem}.{name}.png"), photo.parent.parent / name / f"{photo.name}.png"
    drawn = next((path for path in beside if path.is_file()), None)
    if drawn is not None:
        usable = (read_image(drawn) > 0).any(axis=2)
        width, height = image_size(photo)
        if usable.shape != (height, width):
            raise InputError(f"{drawn}: {usable.shape[1]}×{usable.shape[0]} pixels, its photo is {width}×{height}")
    elif polygons.is_file():
        usable = _without(polygons, *image_size(photo))
    else:
        return None
    return np.ascontiguousarray(np.rot90(usable, COUNTER_CLOCKWISE_TURNS[exif_orientation]))


def unmasked(pixels: NDArray[np.floating], mask: Mask | None) -> Mask:
    """(N,) which pixels (N, 2) may be trusted; all where there is no mask.

    mask: (H, W) True = trusted. Pixels outside the picture are not.
    """
    if mask is None:
        return np.ones(len(pixels), bool)
    column, row = np.rint(pixels).astype(int).T.reshape(2, -1)
    inside = (column >= 0) & (row >= 0) & (column < mask.shape[1]) & (row < mask.shape[0])
    trusted: Mask = inside & mask[np.clip(row, 0, mask.shape[0] - 1), np.clip(column, 0, mask.shape[1] - 1)]
    return trusted


def is_mask(path: Path) -> bool:
    """Whether a picture is a mask of another one in its folder: `photo.NAME.png` beside `photo.…`."""
    base, dot, _ = path.stem.rpartition(".")
    if not dot or path.suffix.lower() != ".png":
        return False
    spelled = (case(ending) for ending in PHOTO_ENDINGS | HEIF_ENDINGS for case in (str.lower, str.upper, str.title))
    return any(path.with_name(base + ending).is_file() for ending in spelled)


def _without(path: Path, width: int, height: int) -> Mask:
    """All but the polygons of {"ignore": [[[x, y], …], …]}, in pixels of the file."""
    try:
        rings = [np.asarray(ring, float) for ring in _polygons(json.loads(read_bytes(path)))]
        if any(ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 3 or not np.isfinite(ring).all() for ring in rings):
            raise ValueError("a polygon needs three or more points [x, y]")
    except (ValueError, TypeError, UnicodeDecodeError) as error:
        raise InputError(f'{path}: expected {{"ignore": [[[x, y], …], …]}} ({error})') from None
    covered = np.zeros((height, width), np.uint8)
    if rings:
        cv2.fillPoly(covered, [np.rint(ring).astype(np.int32) for ring in rings], 1)
    usable: Mask = covered == 0
    return usable


def _polygons(content: Any) -> list[Any]:
    if not isinstance(content, dict) or not isinstance(content.get("ignore"), list):
        raise ValueError("no list `ignore`")
    polygons: list[Any] = content["ignore"]
    return polygons
