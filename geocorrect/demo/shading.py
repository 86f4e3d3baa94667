"""The colour of each visible point: texture look-up with a mip pyramid and a few samples along the footprint."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.surfaces import Float, Scene
from geocorrect.demo.textures import Texture

Float32 = NDArray[np.float32]
MOST_PROBES = 4
"""Samples along the long axis of a pixel's footprint on a slanted surface; the rest of the stretch is blurred."""
_ROW = 1024


def shade(scene: Scene, forms: Float, quads: NDArray[np.int32], rays: Float32, steps: Float32) -> Float32:
    """(N, 3) RGB 0…255 of the points where rays (N, 2) hit quads (N,); steps (N, 2) is the pixel pitch of the rays."""
    colour = np.zeros((len(quads), 3), np.float32)
    texture_of_pixel = scene.texture_index.astype(np.int16)[quads]
    order = np.argsort(texture_of_pixel, kind="stable")
    bounds = np.searchsorted(texture_of_pixel[order], np.arange(len(scene.textures) + 1))
    for texture, start, end in zip(scene.textures, bounds[:-1], bounds[1:], strict=True):
        if start < end:
            pixels = order[start:end]
            here = quads[pixels]
            texels, major, lod, probes = _footprint(
                forms[here].astype(np.float32), scene.texel_window[here].astype(np.float32), rays[pixels], steps[pixels]
            )
            colour[pixels] = _filtered(texture, texels, major, lod, probes) * scene.shade[here, None].astype(np.float32)
    return colour


def _footprint(
    forms: Float32, window: Float32, rays: Float32, steps: Float32
) -> tuple[Float32, Float32, Float32, NDArray[np.int8]]:
    """Where each ray meets the texture: position (N, 2), long footprint axis (N, 2), both in texels; mip level; probes."""
    along = forms[:, :, 0] * rays[:, :1] + forms[:, :, 1] * rays[:, 1:] + forms[:, :, 2]
    uv = along[:, :2] / along[:, 2:]
    size = window[:, 2:]
    texels = window[:, :2] + uv * size - 0.5
    per_column = (forms[:, :2, 0] - uv * forms[:, 2:, 0]) / along[:, 2:] * size * steps[:, :1]
    per_row = (forms[:, :2, 1] - uv * forms[:, 2:, 1]) / along[:, 2:] * size * steps[:, 1:]
    area = np.abs(per_column[:, 0] * per_row[:, 1] - per_column[:, 1] * per_row[:, 0])
    long_column = (per_column**2).sum(axis=1) > (per_row**2).sum(axis=1)
    major = np.where(long_column[:, None], per_column, per_row)
    length = np.maximum(np.hypot(major[:, 0], major[:, 1]), 1e-6)
    width = area / length
    stretch = length / np.maximum(width, 1.0)
    probes = np.where(stretch > 2, MOST_PROBES, np.where(stretch > 1.2, 2, 1)).astype(np.int8)
    lod = np.log2(np.maximum(np.maximum(width, length / probes), 1.0))
    return texels, major, lod, probes


def _filtered(texture: Texture, texels: Float32, major: Float32, lod: Float32, probes: NDArray[np.int8]) -> Float32:
    colour = np.zeros((len(texels), 3), np.float32)
    for count in (1, 2, MOST_PROBES):
        chosen = np.nonzero(probes == count)[0]
        if not len(chosen):
            continue
        total = np.zeros((len(chosen), 3), np.float32)
        for probe in range(count):
            offset = np.float32((probe + 0.5) / count - 0.5)
            total += _trilinear(texture, texels[chosen] + offset * major[chosen], lod[chosen])
        colour[chosen] = total / count
    return colour


def _trilinear(texture: Texture, texels: Float32, lod: Float32) -> Float32:
    """Bilinear in the two nearest mip levels, linear between them."""
    top = len(texture.pyramid) - 1
    lod = np.clip(lod, 0, top)
    lower = np.minimum(lod.astype(np.int8), top)
    upper_share = lod - lower
    colour = np.zeros((len(texels), 3), np.float32)
    for level in range(int(lower.min()), min(int(lower.max()) + 1, top) + 1):
        weight = np.where(lower == level, 1 - upper_share, np.where(lower == level - 1, upper_share, 0))
        chosen = np.nonzero(weight > 0)[0]
        if len(chosen):
            colour[chosen] += weight[chosen, None] * _bilinear(texture, level, texels[chosen])
    return colour


def _bilinear(texture: Texture, level: int, texels: Float32) -> Float32:
    picture = texture.pyramid[level]
    scale = np.array([picture.shape[1] / texture.width_px, picture.shape[0] / texture.height_px], np.float32)
    at = (texels + np.float32(0.5)) * scale - np.float32(0.5)
    padded = np.zeros((-len(at) % _ROW + len(at), 2), np.float32)
    padded[: len(at)] = at
    grid = padded.reshape(-1, _ROW, 2)
    sampled = cv2.remap(picture, grid, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(sampled, np.float32).reshape(-1, 3)[: len(at)]
