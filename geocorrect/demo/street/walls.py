"""Wall materials of the synthetic façades: plaster, brick and cut stone, all with stains that never repeat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.render.noise import Float32, octaves

Colour = tuple[float, float, float]
PLASTER: tuple[Colour, ...] = (
    (214, 178, 122), (222, 196, 150), (196, 132, 94), (206, 158, 118), (186, 174, 152), (228, 214, 186), (176, 108, 82),
    (204, 188, 140), (190, 196, 186),
)  # fmt: skip
BRICK: tuple[Colour, ...] = ((150, 84, 62), (166, 104, 76), (132, 78, 64), (176, 128, 98))
STONE: tuple[Colour, ...] = ((188, 180, 164), (170, 164, 154), (204, 194, 172))


def wall(rng: np.random.Generator, size: tuple[int, int], px_per_m: float) -> Float32:
    """(H, W, 3) of one randomly chosen material; size is (width, height) in pixels."""
    kind = rng.choice(["plaster", "brick", "stone"], p=[0.64, 0.18, 0.18])
    if kind == "plaster":
        return plaster(rng, size, px_per_m, PLASTER[rng.integers(len(PLASTER))])
    if kind == "brick":
        return blocks(rng, size, (0.25 * px_per_m, 0.072 * px_per_m), BRICK[rng.integers(len(BRICK))], 15)
    return blocks(rng, size, (0.72 * px_per_m, 0.36 * px_per_m), STONE[rng.integers(len(STONE))], 9)


def plaster(rng: np.random.Generator, size: tuple[int, int], px_per_m: float, colour: Colour) -> Float32:
    """Painted render: clouds of damp, peeled patches that show an older coat, rain streaks and fine grain."""
    stains = octaves(rng, size, 3.0 * px_per_m, 6, 0.62)
    grain = octaves(rng, size, 5, 1, 0.9)
    picture = np.array(colour, np.float32) * (1 + 0.055 * stains + 0.035 * grain)[..., None]
    older = np.array(colour, np.float32) * rng.uniform(0.74, 0.9) + np.array([22, 20, 18], np.float32)
    peel = octaves(rng, size, 0.9 * px_per_m, 3, 0.6)
    picture = np.where((peel > 2.1)[..., None], older * (1 + 0.05 * grain[..., None]), picture)
    streaks = octaves(rng, (size[0], max(size[1] // 24, 2)), 10, 1, 0.8)
    rows = np.linspace(0, len(streaks) - 1, size[1]).astype(int)
    picture *= 1 - 0.028 * np.clip(streaks[rows], 0, 2.5)[..., None]
    return picture.astype(np.float32)


def blocks(
    rng: np.random.Generator, size: tuple[int, int], block_px: tuple[float, float], colour: Colour, spread: float
) -> Float32:
    """Masonry in running bond: each block its own tone (spread in grey levels), mortar between, stains over all."""
    width, height = size
    row = (np.arange(height) / block_px[1]).astype(int)
    shift = rng.uniform(0, 1, row[-1] + 1) * 0.2 + 0.5 * (np.arange(row[-1] + 1) % 2)
    along = np.arange(width)[None, :] / block_px[0] + shift[row][:, None]
    column = along.astype(int)
    tone = rng.standard_normal((row[-1] + 1, int(column.max()) + 1, 1), np.float32) * spread
    tint = rng.standard_normal((row[-1] + 1, int(column.max()) + 1, 3), np.float32) * spread * 0.25
    picture = np.array(colour, np.float32) + (tone + tint)[row[:, None], column]
    joint = _joints(along - column, block_px[0]) | _joints(np.arange(height) / block_px[1] - row, block_px[1])[:, None]
    picture[joint] = np.array(colour, np.float32) * 0.45 + np.float32(82)
    stains = octaves(rng, size, 160, 8, 0.6)
    grain = octaves(rng, size, 4, 1, 0.9)
    return np.asarray(picture * (1 + 0.05 * stains + 0.04 * grain)[..., None], np.float32)


def _joints(fraction: NDArray[np.float64], block_px: float) -> NDArray[np.bool_]:
    """Mortar covers about 1 px, more on large blocks."""
    return fraction < max(1.0, 0.035 * block_px) / block_px
