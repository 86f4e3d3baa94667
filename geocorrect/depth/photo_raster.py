"""Depth at a network's resolution → the photo's raster, and the part of the photo that the network saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geocorrect.records import Float32, ImageArray

if TYPE_CHECKING:
    from geocorrect.networks.mast3r.preprocess import Placement


def cropped_view(image: ImageArray, placement: Placement) -> ImageArray:
    """The part of the photo that the network saw, at the photo's resolution."""
    corners = np.array([[-0.5, -0.5], [placement.size[0] - 0.5, placement.size[1] - 0.5]])
    (left, top), (right, bottom) = np.rint(placement.to_photo(corners) + 0.5).astype(int)
    return image[max(top, 0) : bottom, max(left, 0) : right]


def at_photo_size(values: Float32, placement: Placement) -> Float32:
    """(h, w) at network pixels → the photo's raster, bilinear, nan outside the crop and next to nan."""
    import cv2

    width, height = placement.photo_size
    x, y = (_network_axis(placement, axis, length) for axis, length in ((0, width), (1, height)))
    columns, rows = np.meshgrid(x, y)
    resampled = cv2.remap(
        values, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=float("nan")
    )
    return np.asarray(resampled, dtype=np.float32)


def _network_axis(placement: Placement, axis: int, length: int) -> NDArray[np.float32]:
    photo_px = np.zeros((length, 2))
    photo_px[:, axis] = np.arange(length)
    return placement.to_network(photo_px)[:, axis].astype(np.float32)
