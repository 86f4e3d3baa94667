"""What a real camera does to light: exposure, colour cast, falling off to the corners, blur, noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from geocorrect.records import Float32, ImageArray


@dataclass(frozen=True)
class Exposure:
    """How one picture was taken."""

    stops: float = 0.0
    """Against the normal exposure."""
    warmth: float = 0.0
    """> 0 redder, < 0 bluer."""
    contrast: float = 1.0
    """1 = as seen."""
    vignette: float = 0.15
    """Share of light lost in the corners."""
    noise: float = 2.0
    """Standard deviation in grey levels."""
    defocus_px: float = 0.5
    """Gaussian sigma."""
    motion_px: float = 0.0
    """Length of the smear."""
    motion_deg: float = 0.0
    """Its direction in the image."""


def photograph(radiance: Float32, exposure: Exposure, seed: tuple[int, ...]) -> ImageArray:
    """(H, W, 3) RGB uint8 of a rendered view (0…255 float32)."""
    picture = radiance
    if exposure.defocus_px > 0:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), exposure.defocus_px), np.float32)
    if exposure.motion_px >= 1:
        picture = np.asarray(cv2.filter2D(picture, -1, _smear(exposure.motion_px, exposure.motion_deg)), np.float32)
    gain = 2.0 ** (exposure.stops / 2.2) * np.array([1 + exposure.warmth, 1.0, 1 - exposure.warmth], np.float32)
    picture = picture * (_falloff(picture.shape[:2], exposure.vignette)[..., None] * gain.astype(np.float32))
    picture = 128 + np.float32(exposure.contrast) * (picture - 128)
    strength = exposure.noise * (0.6 + 0.4 * np.sqrt(np.clip(picture, 0, 255) / 128))
    picture += strength * np.random.default_rng(seed).standard_normal(picture.shape, np.float32)
    return np.asarray(np.clip(picture + np.float32(0.5), 0, 255), np.uint8)


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
    """(H, W) share of light that reaches each pixel."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) * (side / np.hypot(*shape)) for side in shape)
    return np.asarray(1 - np.float32(corner_loss) * (x**2 + (y**2)[:, None]), np.float32)
