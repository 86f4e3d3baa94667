"""Which predicted depth is not to be believed: out of range, at the network's cap, sky, across depth edges."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.records import Float32, ImageArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ValidityRules:
    """Which predicted depths are worth believing."""

    range_m: tuple[float, float]
    """From the model card."""
    cap_margin: float = 0.05
    """Share below the upper end that counts as cap: bounded networks squash everything far, the sky included, there."""
    edge_ratio: float = 1.15
    """Neighbouring pixels whose depths differ by more than this factor are on an edge, a blend of two surfaces."""


def believable(z_m: Float32, image: ImageArray, rules: ValidityRules) -> Float32:
    """z_m (h, w) with nan wherever it gives no point. The image may have another size than the depth."""
    nearest, farthest = rules.range_m
    known = np.isfinite(z_m) & (z_m >= nearest) & (z_m <= farthest * (1.0 - rules.cap_margin))
    known &= ~depth_edges(z_m, rules.edge_ratio)
    known &= ~_at_size(sky(image), z_m.shape)
    return np.where(known, z_m, np.float32(np.nan)).astype(np.float32)


def depth_edges(z_m: Float32, ratio: float) -> Mask:
    """(h, w): pixels whose 3 × 3 neighbourhood spans more than this factor of depth."""
    finite = np.where(np.isfinite(z_m) & (z_m > 0), z_m, np.float32(0.0))
    window = np.ones((3, 3), np.uint8)
    nearest, farthest = cv2.erode(finite, window), cv2.dilate(finite, window)
    return np.asarray(farthest > ratio * nearest)


def sky(image: ImageArray) -> Mask:
    """(H, W): smooth, bright, not reddish, and connected to the upper border.

    Deliberately narrow: it takes clear and overcast sky, not every cloud; its purpose is to catch what a network
    without a cap places at a plausible distance.
    """
    height, width = image.shape[:2]
    small = cv2.resize(image, (min(width, 320), max(1, round(height * min(width, 320) / width))))
    grey = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), (3, 3), 0)
    slope = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    red, blue = small[..., 0].astype(np.int16), small[..., 2].astype(np.int16)
    candidate = (slope < 24) & (grey > 110) & (blue >= red - 8)
    _, labels = cv2.connectedComponents(candidate.astype(np.uint8), connectivity=4)
    from_above = np.unique(labels[0][candidate[0]])
    found = np.isin(labels, from_above[from_above > 0])
    return _at_size(found, (height, width))


def resize_depth(z_m: Float32, size: tuple[int, int]) -> Float32:
    """z_m (h, w) → (height, width) of `size` = (width, height), bilinear; nan spreads to every pixel it touches."""
    return np.asarray(cv2.resize(z_m, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def nearest_depth(z_m: Float32, px: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) depth of a dense map (H, W) at the pixels nearest to (N, 2): interpolation would invent it across edges."""
    height, width = z_m.shape
    column, row = np.clip(np.rint(px).astype(int), 0, [width - 1, height - 1]).T
    return z_m[row, column].astype(float)


def _at_size(mask: Mask, shape: tuple[int, ...]) -> Mask:
    resized = cv2.resize(mask.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized > 0)
