"""Multi-octave value noise: the stains, grain and clouds of the synthetic street."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def octaves(
    rng: np.random.Generator, size: tuple[int, int], coarsest_px: float, finest_px: float, falloff: float = 0.55
) -> Float32:
    """(H, W) noise of zero mean and about unit standard deviation; size is (width, height).

    Octaves run from cells of `coarsest_px` down to `finest_px`; each is `falloff` times as strong as the one before.
    """
    width, height = size
    total = np.zeros((height, width), np.float32)
    cell, weight, power = max(coarsest_px, finest_px), 1.0, 0.0
    while cell >= finest_px:
        grid_size = (max(int(np.ceil(height / cell)), 1) + 3, max(int(np.ceil(width / cell)), 1) + 3)
        grid = rng.standard_normal(grid_size, dtype=np.float32)
        total += weight * _stretched(grid, cell, size)
        power += weight**2
        cell, weight = cell / 2, weight * falloff
    total /= np.float32(0.62 * np.sqrt(power))
    return total


def _stretched(grid: Float32, cell_px: float, size: tuple[int, int]) -> Float32:
    """The grid interpolated so that one cell covers cell_px pixels."""
    if cell_px <= 1:
        return grid[: size[1], : size[0]]
    scale = np.array([[cell_px, 0, -1.5 * cell_px], [0, cell_px, -1.5 * cell_px]], np.float64)
    stretched: Float32 = cv2.warpAffine(grid, scale, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return stretched
