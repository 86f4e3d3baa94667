"""Photo → network input, and network pixels → photo pixels, exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor

from geocorrect.networks.mast3r.sizes import PATCH_PX
from geocorrect.networks.placement import Placement
from geocorrect.records import ImageArray

TRAINED_RATIOS = (4 / 3, 32 / 21, 16 / 9, 2 / 1, 16 / 5)
"""Width to height of the training resolutions 512 × {384, 336, 288, 256, 160}; others work, but were never seen."""


def network_image(photo: ImageArray, long_side_px: int = 512) -> tuple[ImageArray, Placement]:
    """Resize the long side to `long_side_px`, crop symmetrically to multiples of 16; see `docs/models.md`.

    A square photo loses a quarter of its height: the network was never trained on squares. At most 15 px are lost else.
    """
    placement = place(photo.shape[1], photo.shape[0], long_side_px)
    shrinks = max(placement.photo_size) > long_side_px
    resample = PillowImage.Resampling.LANCZOS if shrinks else PillowImage.Resampling.BICUBIC
    resized = np.asarray(PillowImage.fromarray(photo).resize(placement.resized_size, resample))
    (left, top), (width, height) = placement.crop_origin, placement.size
    return np.ascontiguousarray(resized[top : top + height, left : left + width]), placement


def is_too_thin(photo: ImageArray, long_side_px: int = 512) -> bool:
    """Whether the photo leaves no row or column of patches at the network's size (longer than about 32 to 1)."""
    height, width = photo.shape[:2]
    scale = long_side_px / max(width, height)
    return min(round(width * scale), round(height * scale)) // 2 * 2 < PATCH_PX


def place(width: int, height: int, long_side_px: int = 512) -> Placement:
    """The placement of a photo of this size; ValueError when it is too thin to leave a row of patches."""
    longest = max(width, height)
    resized = (round(width * long_side_px / longest), round(height * long_side_px / longest))
    centre_x, centre_y = resized[0] // 2, resized[1] // 2
    half_width, half_height = (2 * centre // PATCH_PX * PATCH_PX // 2 for centre in (centre_x, centre_y))
    if resized[0] == resized[1]:
        half_height = 3 * half_width // 4
    if not half_width or not half_height:
        raise ValueError(f"an image of {width}×{height} pixels is too thin for MASt3R")
    size = (2 * half_width, 2 * half_height)
    return Placement((width, height), resized, (centre_x - half_width, centre_y - half_height), size)


def trained_size(width: int, height: int, long_side_px: int = 512) -> tuple[int, int]:
    """(width, height) of the training resolution nearest in shape to a photo; a square counts as landscape 4:3."""
    ratio = max(width, height) / min(width, height)
    nearest = min(TRAINED_RATIOS, key=lambda trained: abs(trained - ratio))
    short_side_px = round(long_side_px / nearest / PATCH_PX) * PATCH_PX
    return (long_side_px, short_side_px) if width >= height else (short_side_px, long_side_px)


def to_tensor(images: Sequence[ImageArray]) -> Tensor:
    """Images of one size, (H, W, 3) uint8 each → (B, 3, H, W) float32 in [−1, 1]."""
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    return (stacked / 255.0 - 0.5) / 0.5
