"""Wall materials of the synthetic façades: plaster, brick and cut stone, all with stains that never repeat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.render.noise import octaves
from geocorrect.demo.street.canvas import Canvas, Colour

PLASTER: tuple[Colour, ...] = (
    (214, 178, 122), (222, 196, 150), (196, 132, 94), (206, 158, 118), (186, 174, 152), (228, 214, 186), (176, 108, 82),
    (204, 188, 140), (190, 196, 186),
)  # fmt: skip
BRICK: tuple[Colour, ...] = ((150, 84, 62), (166, 104, 76), (132, 78, 64), (176, 128, 98))
STONE: tuple[Colour, ...] = ((188, 180, 164), (170, 164, 154), (204, 194, 172))


def wall(canvas: Canvas) -> None:
    """Cover the canvas with one randomly chosen material."""
    rng = canvas.rng
    kind = rng.choice(["plaster", "brick", "stone"], p=[0.64, 0.18, 0.18])
    if kind == "plaster":
        _plaster(canvas, PLASTER[rng.integers(len(PLASTER))])
    elif kind == "brick":
        blocks(canvas, (0.25, 0.072), BRICK[rng.integers(len(BRICK))], 15)
    else:
        blocks(canvas, (0.72, 0.36), STONE[rng.integers(len(STONE))], 9)


def _plaster(canvas: Canvas, colour: Colour) -> None:
    """Painted render: clouds of damp, peeled patches that show an older coat, rain streaks and fine grain."""
    rng, size, p = canvas.rng, canvas.size, canvas.px_per_m
    stains = octaves(rng, size, 3.0 * p, 6, 0.62)
    grain = octaves(rng, size, 5, 1, 0.9)
    coat = np.array(colour, np.float32) * (1 + 0.055 * stains + 0.035 * grain)[..., None]
    older = np.array(colour, np.float32) * rng.uniform(0.74, 0.9) + np.array([22, 20, 18], np.float32)
    peel = octaves(rng, size, 0.9 * p, 3, 0.6)
    picture = np.where((peel > 2.1)[..., None], older * (1 + 0.05 * grain[..., None]), coat)
    streaks = octaves(rng, (size[0], max(size[1] // 24, 2)), 10, 1, 0.8)
    rows = np.linspace(0, len(streaks) - 1, size[1]).astype(int)
    canvas.pixels[:] = picture * (1 - 0.028 * np.clip(streaks[rows], 0, 2.5)[..., None])


def blocks(canvas: Canvas, block_m: tuple[float, float], colour: Colour, spread: float) -> None:
    """Masonry in running bond: each block its own tone (spread in grey levels), mortar between, stains over all."""
    rng, (width, height) = canvas.rng, canvas.size
    length_px, height_px = block_m[0] * canvas.px_per_m, block_m[1] * canvas.px_per_m
    row = (np.arange(height) / height_px).astype(int)
    shift = rng.uniform(0, 1, row[-1] + 1) * 0.2 + 0.5 * (np.arange(row[-1] + 1) % 2)
    along = np.arange(width)[None, :] / length_px + shift[row][:, None]
    column = along.astype(int)
    tone, tint = (
        rng.standard_normal((row[-1] + 1, int(column.max()) + 1, channels), np.float32) * strength
        for channels, strength in ((1, spread), (3, spread * 0.25))
    )
    picture = np.array(colour, np.float32) + (tone + tint)[row[:, None], column]
    joint = _joints(along - column, length_px) | _joints(np.arange(height) / height_px - row, height_px)[:, None]
    picture[joint] = np.array(colour, np.float32) * 0.45 + np.float32(82)
    stains = octaves(rng, canvas.size, 160, 8, 0.6)
    grain = octaves(rng, canvas.size, 4, 1, 0.9)
    canvas.pixels[:] = picture * (1 + 0.05 * stains + 0.04 * grain)[..., None]


def _joints(fraction: NDArray[np.float64], block_px: float) -> NDArray[np.bool_]:
    """Mortar covers about 1 px, more on large blocks."""
    return fraction < max(1.0, 0.035 * block_px) / block_px
