"""Textures: RGB pictures at halved widths and heights, so that far surfaces are averaged rather than sampled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.records import Float32, ImageArray

_LONGEST_ROW = 30000
"""cv2.remap takes fewer than 32768 columns."""


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


@dataclass(frozen=True, eq=False)
class Texture:
    """A picture painted when it is first needed."""

    name: str
    width_px: int
    height_px: int
    paint: Callable[[], ImageArray]
    """Returns (height_px, width_px, 3) RGB, the same every time: it closes over its own seed."""

    def __post_init__(self) -> None:
        if 2 * max(self.width_px, self.height_px) > _LONGEST_ROW:
            raise ValueError(f"texture {self.name}: {self.width_px}×{self.height_px}, sides up to {_LONGEST_ROW // 2}")

    @cached_property
    def columns(self) -> Levels:
        """Where the levels of each halved width lie in `levels`."""
        return Levels.of(self.width_px)

    @cached_property
    def rows(self) -> Levels:
        """Where the levels of each halved height lie in `levels`."""
        return Levels.of(self.height_px)

    @cached_property
    def levels(self) -> ImageArray:
        """All levels beside and below each other in one picture; those are filled in that `level` was asked for."""
        picture = self.paint()
        if picture.shape != (self.height_px, self.width_px, 3):
            promised = f"{self.height_px}×{self.width_px}"
            raise ValueError(f"texture {self.name}: painted {picture.shape}, promised {promised}")
        levels = np.zeros((2 * self.height_px, 2 * self.width_px, 3), np.uint8)
        levels[: self.height_px, : self.width_px] = picture
        return levels

    @cached_property
    def _filled(self) -> dict[tuple[int, int], ImageArray]:
        return {(0, 0): self.levels[: self.height_px, : self.width_px]}

    def level(self, across: int, down: int) -> ImageArray:
        """The picture averaged over 2**across columns and 2**down rows, as far as it has them; part of `levels`."""
        key = across, down = min(across, self.columns.last), min(down, self.rows.last)
        if key not in self._filled:
            finer = self.level(across - 1, down) if across > down else self.level(across, down - 1)
            place = self.levels[self.rows.part(down), self.columns.part(across)]
            place[:] = cv2.resize(finer, (place.shape[1], place.shape[0]), interpolation=cv2.INTER_AREA)
            self._filled[key] = place
        return self._filled[key]


@dataclass(frozen=True, eq=False)
class Levels:
    """One side of a texture, halved again and again: where each length begins when all lie one after the other."""

    start_px: Float32
    """(L,) whole numbers."""
    end_px: Float32
    """(L,) the last pixel of each length, counted from its beginning."""
    share: Float32
    """(L,) of the whole side."""

    @classmethod
    def of(cls, side_px: int) -> Levels:
        """Of a side in pixels."""
        lengths = np.array([side_px >> level for level in range(side_px.bit_length())])
        numbers = np.cumsum(lengths) - lengths, lengths - 1, lengths / side_px
        return cls(*(values.astype(np.float32) for values in numbers))

    @property
    def last(self) -> int:
        """The coarsest level: of one pixel."""
        return len(self.start_px) - 1

    def part(self, level: int) -> slice:
        """The pixels of a level."""
        start = int(self.start_px[level])
        return slice(start, start + int(self.end_px[level]) + 1)


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
