"""Photo → network input, and network pixels → photo pixels, exactly."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from geocorrect.networks.mickey.sizes import MAX_CELLS, MIN_CELLS, PATCH_PX
from geocorrect.networks.placement import Placement
from geocorrect.records import ImageArray

TRAINED_LONG_SIDE_PX = 720
"""MicKey was trained on 540 × 720 px (width × height)."""

MAX_LONG_SIDE_PX = MAX_CELLS * PATCH_PX


def network_image(photo: ImageArray, long_side_px: int = TRAINED_LONG_SIDE_PX) -> tuple[ImageArray, Placement]:
    """Resize the long side to `long_side_px`, then cut the right and lower edges to whole cells of 14 px.

    Pixels are averaged where the photo shrinks and interpolated linearly where it grows; a photo of the right size is
    left as it is. ValueError when it is too thin.
    """
    placement = place(photo.shape[1], photo.shape[0], long_side_px)
    resized = photo
    if placement.resized_size != placement.photo_size:
        shrinks = placement.resized_size[0] < placement.photo_size[0]
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        resized = np.asarray(cv2.resize(photo, placement.resized_size, interpolation=interpolation), np.uint8)
    width, height = placement.size
    return np.ascontiguousarray(resized[:height, :width]), placement


def place(width: int, height: int, long_side_px: int = TRAINED_LONG_SIDE_PX) -> Placement:
    """Where the network image of a photo of this size lies in it; ValueError when it has too few cells on a side."""
    longest = max(width, height)
    resized = (round(width * long_side_px / longest), round(height * long_side_px / longest))
    size = (resized[0] // PATCH_PX * PATCH_PX, resized[1] // PATCH_PX * PATCH_PX)
    if min(size) < MIN_CELLS * PATCH_PX or max(size) > MAX_LONG_SIDE_PX:
        raise ValueError(
            f"an image of {width}×{height} pixels resized to {long_side_px} px has {size[0] // PATCH_PX}×"
            f"{size[1] // PATCH_PX} cells; MicKey works on {MIN_CELLS} to {MAX_CELLS} per side"
        )
    return Placement((width, height), resized, (0, 0), size)


def is_too_thin(photo: ImageArray, long_side_px: int = TRAINED_LONG_SIDE_PX) -> bool:
    """Whether `place` refuses the photo."""
    try:
        place(photo.shape[1], photo.shape[0], long_side_px)
    except ValueError:
        return True
    return False


def to_tensor(images: Sequence[ImageArray]) -> Tensor:
    """Images of one size, (H, W, 3) RGB uint8 each → (B, 3, H, W) float32 in [0, 1]; no mean is subtracted."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255.0
