"""The colour of each visible point: texture look-up with a mip pyramid and a few samples along the footprint."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.render.surfaces import Float, Scene
from geocorrect.demo.render.textures import Texture

Float32 = NDArray[np.float32]
Indices = NDArray[np.int64]
MOST_PROBES = 4
"""Samples along the long axis of a pixel's footprint on a slanted surface; the rest of the stretch is blurred."""
_MOST_LEVELS = 32
_LONGEST_ROW = 30000
"""cv2.remap takes fewer than 32768 columns."""


@dataclass(frozen=True, eq=False)
class _Footprint:
    """Where each pixel meets its texture: centre (N, 2) and long axis (N, 2) in texels, mip level (N,), probes (N,)."""

    centre: Float32
    long_axis: Float32
    level: NDArray[np.int16]
    probes: Indices


def shade(scene: Scene, forms: Float, quads: NDArray[np.int32], rays: Float32, steps: Float32) -> Float32:
    """(N, 3) RGB 0…255 of the points where rays (N, 2) hit quads (N,); steps (N, 2) is the pixel pitch of the rays."""
    if not len(quads):
        return np.zeros((0, 3), np.float32)
    look_up = _footprint(forms.astype(np.float32)[quads], scene.texel_window.astype(np.float32)[quads], rays, steps)
    key = scene.texture_index.astype(np.int32)[quads] * _MOST_LEVELS + look_up.level
    order = np.argsort(key.astype(np.uint16), kind="stable")  # 16 bits: numpy sorts them by radix
    probes = look_up.probes[order]
    first = np.concatenate([[0], np.cumsum(probes)])
    samples = _sampled(scene, key[order], first, _sample_positions(look_up, order, first))
    colour = np.empty((len(quads), 3), np.float32)
    colour[order] = np.add.reduceat(samples, first[:-1], axis=0) / probes[:, None]
    colour *= scene.shade.astype(np.float32)[quads, None]
    return colour


def _footprint(forms: Float32, window: Float32, rays: Float32, steps: Float32) -> _Footprint:
    along = forms[:, :, 0] * rays[:, :1] + forms[:, :, 1] * rays[:, 1:] + forms[:, :, 2]
    uv = along[:, :2] / along[:, 2:]
    size = window[:, 2:]
    scale = size / along[:, 2:]
    per_column = (forms[:, :2, 0] - uv * forms[:, 2:, 0]) * scale * steps[:, :1]
    per_row = (forms[:, :2, 1] - uv * forms[:, 2:, 1]) * scale * steps[:, 1:]
    area = np.abs(per_column[:, 0] * per_row[:, 1] - per_column[:, 1] * per_row[:, 0])
    column_length, row_length = _length(per_column), _length(per_row)
    long_axis = np.where((column_length > row_length)[:, None], per_column, per_row)
    length = np.maximum(np.maximum(column_length, row_length), 1e-6)
    width = area / length
    stretch = length / np.maximum(width, 1.0)
    probes = 1 + (stretch > 1.25) + 2 * (stretch > 2.2)
    level = np.rint(np.log2(np.maximum(np.maximum(width, length / probes), 1.0)))
    centre = np.asarray(window[:, :2] + uv * size - np.float32(0.5), np.float32)
    return _Footprint(centre, long_axis, level.astype(np.int16), probes)


def _length(vectors: Float32) -> Float32:
    return np.asarray(np.sqrt(vectors[:, 0] ** 2 + vectors[:, 1] ** 2), np.float32)


def _sample_positions(look_up: _Footprint, order: Indices, first: Indices) -> Float32:
    """(S, 2) texels of all probes of the pixels in `order`, spread evenly along their footprints."""
    probes = look_up.probes[order]
    pixel = np.repeat(order, probes)
    within = np.arange(first[-1]) - np.repeat(first[:-1], probes)
    offset = ((within + 0.5) / np.repeat(probes, probes) - 0.5).astype(np.float32)
    return look_up.centre[pixel] + offset[:, None] * look_up.long_axis[pixel]


def _sampled(scene: Scene, key: NDArray[np.int32], first: Indices, positions: Float32) -> Float32:
    """(S, 3) RGB of the samples; key: texture and level of each pixel, ascending."""
    colour = np.empty((len(positions), 3), np.float32)
    bounds = np.concatenate([[0], np.nonzero(np.diff(key))[0] + 1, [len(key)]])
    for start, end in pairwise(bounds):
        texture, level = divmod(int(key[start]), _MOST_LEVELS)
        part = slice(first[start], first[end])
        colour[part] = _bilinear(scene.textures[texture], level, positions[part])
    return colour


def _bilinear(texture: Texture, level: int, texels: Float32) -> NDArray[np.uint8]:
    """(S, 3) RGB at texels (S, 2) of level 0, read from a mip level."""
    picture = texture.pyramid[min(level, len(texture.pyramid) - 1)]
    scale = np.array([picture.shape[1] / texture.width_px, picture.shape[0] / texture.height_px], np.float32)
    at = (texels + np.float32(0.5)) * scale - np.float32(0.5)
    rows = [
        cv2.remap(picture, row[None], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]  # type: ignore[call-overload]
        for row in np.split(at, range(_LONGEST_ROW, len(at), _LONGEST_ROW))
    ]
    return np.asarray(rows[0] if len(rows) == 1 else np.concatenate(rows), np.uint8)
