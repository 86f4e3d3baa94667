"""From the pixels of a network's input back to the pixels of the photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.records import ImageArray, Matches


@dataclass(frozen=True, eq=False)
class NetworkMatches:
    """Matched keypoints of a pair in pixels of the network images (N, 2) each, and scores (N,)."""

    query_px: NDArray[np.float64]
    anchor_px: NDArray[np.float64]
    score: NDArray[np.float64]


def to_photos(
    found: NetworkMatches, photos: tuple[ImageArray, ImageArray], sizes: tuple[tuple[int, int], tuple[int, int]]
) -> Matches:
    """Network pixels → photo pixels, u' = (u + ½)·s − ½ per axis; matches that leave a photo are dropped."""
    coordinates = []
    inside = np.isfinite(found.score)
    for px, photo, size in zip((found.query_px, found.anchor_px), photos, sizes, strict=True):
        photo_size = np.array([photo.shape[1], photo.shape[0]])
        photo_px = (px + 0.5) * (photo_size / np.array(size)) - 0.5
        inside &= ((photo_px >= -0.5) & (photo_px <= photo_size - 0.5)).all(axis=1)
        coordinates.append(photo_px.astype(np.float32))
    return Matches(coordinates[0][inside], coordinates[1][inside], found.score[inside].astype(np.float32))
