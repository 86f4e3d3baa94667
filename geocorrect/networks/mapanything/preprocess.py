"""Photo → network image of one of the trained sizes, and what is known of the photo at the network's pixels.

The way back to the photo's pixels is `Placement`, exact, shared with our MASt3R.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from geocorrect.geometry.camera import Camera
from geocorrect.networks.placement import Placement
from geocorrect.records import Float32, ImageArray

Size = tuple[int, int]
"""(width, height) in pixels."""

TRAINED_SIZES: dict[float, Size] = {
    0.486: (252, 518),
    0.567: (294, 518),
    0.649: (336, 518),
    0.757: (392, 518),
    1.000: (518, 518),
    1.321: (518, 392),
    1.542: (518, 336),
    1.762: (518, 294),
    2.056: (518, 252),
    3.083: (518, 168),
}
"""The sizes that the published models were trained on, by width over height."""

LARGEST_LOSS = 4.0
"""A photo of which less than a quarter fits into the network's image is refused."""


def common_size(photo_sizes: Sequence[Size], sizes: dict[float, Size] | None = None) -> Size:
    """The trained size nearest in shape to the mean shape of the photos (width, height): one for all views."""
    table = TRAINED_SIZES if sizes is None else sizes
    ratio = sum(width / height for width, height in photo_sizes) / len(photo_sizes)
    return table[min(sorted(table), key=lambda trained: abs(trained - ratio))]


def place(photo_size: Size, size: Size, rounds_even: bool = False) -> Placement:
    """Where the photo goes: resized until it covers `size`, then cropped at the centre.

    rounds_even: an odd margin is halved to the nearest even number, as the official code does where the intrinsics are
    known; it is halved and rounded down else. Raises ValueError when the photo is too thin.
    """
    (width, height), (to_width, to_height) = photo_size, size
    scale = max(to_width / width, to_height / height) + 1e-8
    resized = int(width * scale), int(height * scale)
    if resized[0] * resized[1] > LARGEST_LOSS * to_width * to_height:
        raise ValueError(f"a photo of {width}×{height} pixels is too thin for the network's {to_width}×{to_height}")
    margins = resized[0] - to_width, resized[1] - to_height
    left, top = (round(margin / 2) if rounds_even else margin // 2 for margin in margins)
    return Placement(photo_size, resized, (left, top), size)


def network_image(photo: ImageArray, size: Size, rounds_even: bool = False) -> tuple[ImageArray, Placement]:
    """The photo (H, W, 3) at the network's size (width, height), and where it sits in the photo."""
    placement = place((photo.shape[1], photo.shape[0]), size, rounds_even)
    (left, top), (width, height) = placement.crop_origin, placement.size
    shrinks = placement.resized_size[0] < photo.shape[1] or placement.resized_size[1] < photo.shape[0]
    resample = PillowImage.Resampling.LANCZOS if shrinks else PillowImage.Resampling.BICUBIC
    resized = np.asarray(PillowImage.fromarray(photo).resize(placement.resized_size, resample))
    return np.ascontiguousarray(resized[top : top + height, left : left + width]), placement


def network_rays(camera: Camera, placement: Placement) -> Float32:
    """(H, W, 3) unit rays of the network's pixels through the photo's own lens, distortion included.

    Where the lens model ends before the corner of the picture, its pinhole goes on.
    """
    width, height = placement.size
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    photo_px = placement.to_photo(np.column_stack([u.ravel(), v.ravel()]))
    rays = camera.unproject(photo_px)
    outside = ~np.isfinite(rays).all(axis=1) | ~(rays[:, 2] > 0)
    if outside.any():
        centre_px, focal_px = (
            np.array([camera.principal_x_px, camera.principal_y_px]), np.array([camera.focal_x_px, camera.focal_y_px])
        )  # fmt: skip
        rays[outside] = np.column_stack([(photo_px[outside] - centre_px) / focal_px, np.ones(outside.sum())])
    return (rays / np.linalg.norm(rays, axis=1, keepdims=True)).reshape(height, width, 3).astype(np.float32)


def network_depth(px: NDArray[np.floating], z_m: NDArray[np.floating], placement: Placement) -> Float32:
    """(H, W) z-depth in metres at the network's pixels, 0 = unknown, from samples (N, 2) and (N,) in the photo.

    Projected at the network's resolution, the nearest of several samples in one pixel: resizing a sparse map would lose
    most of it.
    """
    width, height = placement.size
    column, row = np.rint(placement.to_network(px)).T
    z = np.asarray(z_m, np.float32)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & np.isfinite(z) & (z > 0)
    index = row[inside].astype(np.intp) * width + column[inside].astype(np.intp)
    raster = np.full(height * width, np.inf, np.float32)
    np.minimum.at(raster, index, z[inside])
    raster[np.isinf(raster)] = 0.0
    return raster.reshape(height, width)
