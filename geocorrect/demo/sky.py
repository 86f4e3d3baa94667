"""The sky: a blue gradient with drifting clouds, different at every hour of capture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from geocorrect.demo.noise import Float32, octaves

_WIDTH_PX, _HEIGHT_PX = 1024, 256


@dataclass(frozen=True, eq=False)
class Sky:
    """panorama: (H, W, 3) float32 RGB 0…255; columns run once round the horizon, rows from the zenith to the horizon."""

    panorama: Float32

    @classmethod
    def painted(cls, seed: int, cloudiness: float = 0.5) -> Sky:
        """A sky with soft clouds; cloudiness 0 is clear blue, 1 nearly overcast."""
        rng = np.random.default_rng([seed, 71])
        half = octaves(rng, (_WIDTH_PX // 2, _HEIGHT_PX), 96, 3, 0.6)
        clouds = np.concatenate([half, half[:, ::-1]], axis=1)  # mirrored, so that it closes round the horizon
        up = np.linspace(1, 0, _HEIGHT_PX, dtype=np.float32)[:, None]
        blue = np.array([92, 140, 208], np.float32) * up[..., None] ** 0.6
        haze = np.array([214, 224, 234], np.float32) * (1 - up[..., None] ** 0.6)
        cover = 1 / (1 + np.exp(-2.2 * (clouds + 2.4 * (cloudiness - 0.5))))
        white = np.array([243, 243, 242], np.float32) - 14 * np.clip(clouds, 0, 2)[..., None]
        share = (cover * (0.35 + 0.5 * cloudiness))[..., None]
        return cls(((blue + haze) * (1 - share) + white * share).astype(np.float32))

    def colour(self, directions_world: Float32) -> Float32:
        """(N, 3) RGB 0…255 along (N, 3) directions in a z-up frame, of any length."""
        if not len(directions_world):
            return np.zeros((0, 3), np.float32)
        east, north, up = directions_world.T
        column = (np.arctan2(east, north) / (2 * np.pi) + 0.5) * (_WIDTH_PX - 1)
        elevation = np.arctan2(up, np.hypot(east, north))
        row = (1 - np.clip(elevation, 0, np.pi / 2) / (np.pi / 2)) * (_HEIGHT_PX - 1)
        out = np.empty((len(column), 3), np.float32)
        for start in range(0, len(column), 30000):  # cv2.remap takes at most 32767 rows
            part = slice(start, start + 30000)
            at = np.stack([column[part], row[part]], axis=1).astype(np.float32)[:, None]
            out[part] = cv2.remap(self.panorama, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]  # type: ignore[call-overload]
        return out
