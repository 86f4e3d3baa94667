"""Textures: RGB pictures with their mip pyramids, so that far surfaces are averaged rather than sampled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.render.noise import octaves
from geocorrect.records import Float32, ImageArray

_LONGEST_ROW = 30000
"""cv2.remap takes fewer than 32768 columns."""


@dataclass(frozen=True, eq=False)
class Texture:
    """A picture painted when it is first needed."""

    name: str
    width_px: int
    height_px: int
    paint: Callable[[], ImageArray]
    """Returns (height_px, width_px, 3) RGB, the same every time: it closes over its own seed."""

    @cached_property
    def pyramid(self) -> list[ImageArray]:
        """Level 0 is the painted picture; each further level averages 2 × 2 pixels, down to one pixel on a side."""
        levels = [np.ascontiguousarray(self.paint())]
        if levels[0].shape != (self.height_px, self.width_px, 3):
            promised = f"{self.height_px}×{self.width_px}"
            raise ValueError(f"texture {self.name}: painted {levels[0].shape}, promised {promised}")
        while min(levels[-1].shape[:2]) > 1:
            height, width = levels[-1].shape[:2]
            half = (max(width // 2, 1), max(height // 2, 1))
            levels.append(np.asarray(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA), np.uint8))
        return levels


def plain(name: str, rgb: tuple[int, int, int], grain: float, seed: int) -> Texture:
    """A 256 × 256 painted metal or plaster surface: one colour with fine grain (standard deviation in grey levels)."""

    def paint() -> ImageArray:
        rng = np.random.default_rng(seed)
        grey = octaves(rng, (256, 256), 64, 1, 0.8)[..., None] * grain
        return np.clip(np.array(rgb, np.float32) + grey, 0, 255).astype(np.uint8)

    return Texture(name, 256, 256, paint)


def bilinear(picture: NDArray[Any], at_px: Float32) -> NDArray[Any]:
    """Values of a picture (H, W[, C]) at (N, 2) places (column, row), interpolated; outside, those of its edge."""
    if not len(at_px):
        return np.zeros((0, *picture.shape[2:]), picture.dtype)
    rows = np.split(at_px, range(_LONGEST_ROW, len(at_px), _LONGEST_ROW))
    edge = cv2.BORDER_REPLICATE
    return np.concatenate([cv2.remap(picture, row[None], None, cv2.INTER_LINEAR, borderMode=edge)[0] for row in rows])  # type: ignore[call-overload]
