"""What a real camera does to light: exposure, colour cast, falling off to the corners, blur, noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.render.noise import Float32

ImageArray = NDArray[np.uint8]


@dataclass(frozen=True)
class Exposure:
    """How one picture was taken.

    stops: exposure against normal. warmth: > 0 redder, < 0 bluer. contrast: 1 = as seen. vignette: share of light lost
    in the corners. noise: standard deviation in grey levels. defocus_px: Gaussian sigma. motion_px: length of the
    smear, and motion_deg its direction in the image.
    """

    stops: float = 0.0
    warmth: float = 0.0
    contrast: float = 1.0
    vignette: float = 0.15
    noise: float = 2.0
    defocus_px: float = 0.5
    motion_px: float = 0.0
    motion_deg: float = 0.0


def photograph(radiance: Float32, exposure: Exposure, seed: tuple[int, ...]) -> ImageArray:
    """(H, W, 3) RGB uint8 of a rendered view (0…255 float32)."""
    picture = _blurred(radiance, exposure)
    gain = 2.0 ** (exposure.stops / 2.2) * np.array([1 + exposure.warmth, 1.0, 1 - exposure.warmth], np.float32)
    picture = picture * (_falloff(picture.shape[:2], exposure.vignette)[..., None] * gain.astype(np.float32))
    picture = 128 + np.float32(exposure.contrast) * (picture - 128)
    rng = np.random.default_rng(seed)
    strength = exposure.noise * (0.6 + 0.4 * np.sqrt(np.clip(picture, 0, 255) / 128))
    picture += strength * rng.standard_normal(picture.shape, np.float32)
    return np.asarray(np.clip(picture + np.float32(0.5), 0, 255), np.uint8)


def _blurred(picture: Float32, exposure: Exposure) -> Float32:
    if exposure.defocus_px > 0:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), exposure.defocus_px), np.float32)
    if exposure.motion_px >= 1:
        picture = np.asarray(cv2.filter2D(picture, -1, _smear(exposure.motion_px, exposure.motion_deg)), np.float32)
    return picture


def _smear(length_px: float, angle_deg: float) -> Float32:
    """Line kernel, symmetric about its centre so that nothing moves."""
    half = int(np.ceil(length_px / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    end = length_px / 2 * np.array([np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))])
    for step in np.linspace(-1, 1, 8 * half + 1):
        x, y = half + step * end
        kernel[round(y), round(x)] += 1
    return np.asarray(kernel / kernel.sum(), np.float32)


def _falloff(shape: tuple[int, int], corner_loss: float) -> Float32:
    height, width = shape
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * (height / np.hypot(height, width))
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * (width / np.hypot(height, width))
    return np.asarray(1 - np.float32(corner_loss) * (x**2 + y**2), np.float32)
