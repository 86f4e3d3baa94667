"""The sky: a blue gradient with drifting clouds, different at every hour of capture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geocorrect.demo.render.noise import octaves
from geocorrect.demo.render.textures import bilinear
from geocorrect.records import Float32

_SIDE_PX = 1024
_CEILING = 8.0
"""Clouds are drawn on a flat layer out to this many times its height; beyond, all is haze."""


@dataclass(frozen=True, eq=False)
class Sky:
    """Clouds on a flat layer overhead."""

    layer: Float32
    """(S, S) density 0…1."""
    cloudiness: float
    """0 clear … 1 overcast."""

    @classmethod
    def painted(cls, seed: int, cloudiness: float = 0.5) -> Sky:
        """A sky with soft clouds."""
        rng = np.random.default_rng([seed, 71])
        clouds = octaves(rng, (_SIDE_PX, _SIDE_PX), 190, 3, 0.58)
        return cls((1 / (1 + np.exp(-2.6 * (clouds + 2.4 * (cloudiness - 0.5))))).astype(np.float32), cloudiness)

    def colour(self, directions: Float32) -> Float32:
        """(N, 3) RGB 0…255 along (N, 3) directions, z up, of any length."""
        flat = np.sqrt(directions[:, 0] ** 2 + directions[:, 1] ** 2)
        sine = np.clip(directions[:, 2] / np.sqrt(flat**2 + directions[:, 2] ** 2), 0, 1)[:, None]
        at = directions[:, :2] / np.maximum(directions[:, 2:], 1e-3 * flat[:, None] + 1e-6)
        reach = np.sqrt((at**2).sum(axis=1, keepdims=True))
        at = at * np.minimum(1, _CEILING / np.maximum(reach, 1e-6))
        density = bilinear(self.layer, (at / _CEILING + 1) * np.float32(0.5 * (_SIDE_PX - 1)))
        clear = sine ** np.float32(0.5)
        blue = np.array([74, 124, 200], np.float32) * clear + np.array([206, 219, 232], np.float32) * (1 - clear)
        white = np.array([244, 244, 243], np.float32) - (22 * self.cloudiness * density)[:, None]
        far = np.clip(2 * reach / _CEILING - 1, 0, 1)
        share = (density * (0.35 + 0.5 * self.cloudiness))[:, None] * (1 - far)
        return np.asarray(blue + share * (white - blue), np.float32)
