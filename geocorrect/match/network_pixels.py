"""From the pixels of a network's input back to the pixels of the photos."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geocorrect.records import ImageArray, Matches

Float = NDArray[np.float64]
Size = tuple[int, int]
"""(width, height) in pixels."""


def to_photos(
    network_px: tuple[Float, Float], score: Float, photos: tuple[ImageArray, ImageArray], sizes: tuple[Size, Size]
) -> Matches:
    """Network pixels → photo pixels, u' = (u + ½)·s − ½ per axis; matches that leave a photo are dropped.

    Args:
        network_px: (N, 2) keypoints of query and anchor in their network images.
        score: (N,) of the matches; those that are not finite are dropped.
        photos: Query and anchor.
        sizes: Of their network images.
    """
    coordinates, inside = [], np.isfinite(score)
    for px, photo, size in zip(network_px, photos, sizes, strict=True):
        photo_size = np.array([photo.shape[1], photo.shape[0]])
        photo_px = (px + 0.5) * (photo_size / np.array(size)) - 0.5
        inside &= ((photo_px >= -0.5) & (photo_px <= photo_size - 0.5)).all(axis=1)
        coordinates.append(photo_px.astype(np.float32))
    return Matches(coordinates[0][inside], coordinates[1][inside], score[inside].astype(np.float32))
