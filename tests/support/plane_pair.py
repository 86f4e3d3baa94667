"""Two views of a plane full of corners, the second moved by whole pixels: a pair whose matches are known."""

from __future__ import annotations

import numpy as np

from geocorrect.records import ImageArray

SHIFT_PX = (12, 5)
"""A point at (x, y) of the second view is at (x + 12, y + 5) of the first."""


def plane_pair(width: int = 320, height: int = 240) -> tuple[ImageArray, ImageArray]:
    """Rectangles of random size, place and colour."""
    random = np.random.default_rng(0)
    plane = np.full((height + 40, width + 40, 3), 127, np.uint8)
    for _ in range(150):
        left, top = random.integers(0, width + 20), random.integers(0, height + 20)
        wide, high = random.integers(8, 50, 2)
        plane[top : top + high, left : left + wide] = random.integers(0, 256, 3)
    x, y = SHIFT_PX
    return plane[:height, :width].copy(), plane[y : y + height, x : x + width].copy()
