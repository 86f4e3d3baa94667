"""Photo → input of a network, and its pixels back to those of the photo.

Resized with antialiasing and without the processors of transformers, which need torchvision, round coordinates and read
their settings from files that vary between hub revisions.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor

from geocorrect.records import Float, ImageArray, Matches

Size = tuple[int, int]
"""(width, height) in pixels."""
Triple = tuple[float, float, float]
Normalisation = tuple[Triple, Triple]
"""Per-channel mean and standard deviation of pixel values in [0, 1]."""

IMAGENET: Normalisation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SYMMETRIC: Normalisation = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def resized(photo: ImageArray, size: tuple[int, int], bicubic: bool = False) -> ImageArray:
    """The photo at (width, height), antialiased."""
    resample = PillowImage.Resampling.BICUBIC if bicubic else PillowImage.Resampling.BILINEAR
    return np.asarray(PillowImage.fromarray(photo).resize(size, resample))


def resized_by_area(photo: ImageArray, size: Size) -> ImageArray:
    """The photo at (width, height): pixels averaged where no side grows, else bicubic."""
    grows = size[0] > photo.shape[1] or size[1] > photo.shape[0]
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_CUBIC if grows else cv2.INTER_AREA))


def normalised(photo: ImageArray, normalisation: Normalisation) -> Tensor:
    """(H, W, 3) uint8 → (3, H, W) float32."""
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in normalisation)
    return (torch.from_numpy(np.array(photo)).permute(2, 0, 1).float() / 255.0 - mean) / deviation


def grey(photo: ImageArray) -> Tensor:
    """(H, W, 3) uint8 → (3, H, W) float32 in [0, 1], luma in every channel as the matchers expect it."""
    pixels = torch.from_numpy(np.array(photo)).float() / 255.0
    luma = pixels @ torch.tensor([0.2989, 0.587, 0.114])
    return luma.expand(3, -1, -1)


def size_with_short_side(width: int, height: int, short_side_px: int, multiple: int) -> tuple[int, int]:
    """(width, height) with the short side at `short_side_px` and both rounded to a multiple, aspect kept as far."""
    scale = short_side_px / min(width, height)
    return _rounded(width * scale, multiple), _rounded(height * scale, multiple)


def size_within(photo: ImageArray, long_side_px: int) -> Size:
    """(width, height) of the photo scaled by one factor to this long side at most; small photos are not enlarged."""
    height, width = photo.shape[:2]
    scale = min(1.0, long_side_px / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def padded(photo: ImageArray, multiple: int) -> ImageArray:
    """The photo with its last row and column repeated until both sides are multiples; its own pixels do not move."""
    return one_canvas([photo], multiple)[0]


def one_canvas(photos: Sequence[ImageArray], multiple: int) -> list[ImageArray]:
    """The photos padded (see `padded`) to one size, the smallest that holds all of them."""
    height, width = (max(photo.shape[axis] for photo in photos) for axis in (0, 1))
    height, width = height + -height % multiple, width + -width % multiple
    return [
        np.pad(photo, ((0, height - photo.shape[0]), (0, width - photo.shape[1]), (0, 0)), mode="edge")
        for photo in photos
    ]


def to_photos(
    network_px: tuple[Float, Float], score: Float, photos: tuple[ImageArray, ImageArray], sizes: tuple[Size, Size]
) -> Matches:
    """Network pixels → photo pixels, u' = (u + ½)·s − ½ per axis; matches that leave a photo are dropped.

    Args:
        network_px: (N, 2) keypoints of query and anchor in their network images.
        score: (N,) of the matches; those that are not finite are dropped.
        photos: Query and anchor.
        sizes: (width, height) to which the photos were resized.
    """
    coordinates, inside = [], np.isfinite(score)
    for px, photo, size in zip(network_px, photos, sizes, strict=True):
        photo_size = np.array([photo.shape[1], photo.shape[0]])
        photo_px = (px + 0.5) * (photo_size / np.array(size)) - 0.5
        inside &= ((photo_px >= -0.5) & (photo_px <= photo_size - 0.5)).all(axis=1)
        coordinates.append(photo_px.astype(np.float32))
    return Matches(coordinates[0][inside], coordinates[1][inside], score[inside].astype(np.float32))


def _rounded(value: float, multiple: int) -> int:
    return max(multiple, round(value / multiple) * multiple)
