"""Where a network's input lies in its photo: pixels there and back, values in the photo's raster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocorrect.records import Float32, ImageArray


@dataclass(frozen=True)
class Placement:
    """Where a network image is in its photo: the photo is resized, then cropped.

    Sizes are (width, height). Pixel centres are integers, so that resizing maps u' = (u + ½)·s − ½.
    """

    photo_size: tuple[int, int]
    resized_size: tuple[int, int]
    crop_origin: tuple[int, int]
    """(left, top) of the crop in the resized photo."""
    size: tuple[int, int]
    """Of the crop, which is the network image."""

    def to_photo(self, network_px: NDArray[Any]) -> NDArray[np.float64]:
        """(N, 2) network pixels → (N, 2) pixels of the photo."""
        return (np.asarray(network_px, np.float64) + 0.5 + self.crop_origin) / self._scale - 0.5

    def to_network(self, photo_px: NDArray[Any]) -> NDArray[np.float64]:
        """(N, 2) pixels of the photo → (N, 2) network pixels, possibly outside the crop."""
        return (np.asarray(photo_px, np.float64) + 0.5) * self._scale - 0.5 - self.crop_origin

    @property
    def _scale(self) -> NDArray[np.float64]:
        return np.array(self.resized_size) / np.array(self.photo_size)


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
