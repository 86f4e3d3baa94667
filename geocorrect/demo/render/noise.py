"""Multi-octave value noise: the stains, grain and clouds of the synthetic street."""

from __future__ import annotations

import cv2
import numpy as np

from geocorrect.records import Float32

_SMOOTHING = 0.82
"""Standard deviation that is left of white noise once it has been enlarged, about."""


def octaves(
    rng: np.random.Generator, size: tuple[int, int], coarsest_px: float, finest_px: float, falloff: float = 0.55
) -> Float32:
    """(H, W) noise of zero mean and about unit standard deviation; size is (width, height).

    Octaves run from cells of `coarsest_px` down to `finest_px`; each is `falloff` times as strong as the one before.
    Coarse octaves are made small and enlarged step by step, so all of them cost little more than the finest.
    """
    cells = [float(finest_px)]
    while cells[-1] * 2 <= coarsest_px:
        cells.append(cells[-1] * 2)
    total, weight, power = None, 1.0, 0.0
    for cell in reversed(cells):
        shape = max(round(size[1] / cell), 2), max(round(size[0] / cell), 2)
        layer = np.float32(weight) * rng.standard_normal(shape, np.float32)
        total = layer if total is None else layer + _enlarged(total, (shape[1], shape[0]))
        power += (weight * (1 if cell <= 1 else _SMOOTHING)) ** 2
        weight *= falloff
    assert total is not None
    return _enlarged(total, size) / np.float32(np.sqrt(power))


def _enlarged(layer: Float32, size: tuple[int, int]) -> Float32:
    if (layer.shape[1], layer.shape[0]) == size:
        return layer
    return np.asarray(cv2.resize(layer, size, interpolation=cv2.INTER_CUBIC), np.float32)
