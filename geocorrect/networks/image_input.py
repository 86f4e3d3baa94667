"""Photo → tensor for the transformers models, resized with antialiasing and without their processors.

The processors need torchvision, round coordinates and read their settings from files that vary between hub revisions.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor

from geocorrect.records import ImageArray

Triple = tuple[float, float, float]
Normalisation = tuple[Triple, Triple]
"""Per-channel mean and standard deviation of pixel values in [0, 1]."""

IMAGENET: Normalisation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SYMMETRIC: Normalisation = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def resized(photo: ImageArray, size: tuple[int, int], bicubic: bool = False) -> ImageArray:
    """The photo at (width, height), antialiased."""
    resample = PillowImage.Resampling.BICUBIC if bicubic else PillowImage.Resampling.BILINEAR
    return np.asarray(PillowImage.fromarray(photo).resize(size, resample))


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


def size_with_long_side(width: int, height: int, long_side_px: int, multiple: int) -> tuple[int, int]:
    """(width, height) with the long side at `long_side_px` and both rounded to a multiple, aspect kept as far."""
    scale = long_side_px / max(width, height)
    return _rounded(width * scale, multiple), _rounded(height * scale, multiple)


def _rounded(value: float, multiple: int) -> int:
    return max(multiple, round(value / multiple) * multiple)
