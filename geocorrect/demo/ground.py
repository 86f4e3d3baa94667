"""Road and pavement: worn asphalt with patches, cracks, markings and manholes; paving stones; shadows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from geocorrect.demo.noise import Float32, octaves
from geocorrect.demo.openings import fill
from geocorrect.demo.textures import ImageArray, Texture
from geocorrect.demo.walls import blocks

Rectangle = tuple[float, float, float, float]
"""Left, top, right, bottom in metres of the texture: x along the strip, y across it."""


@dataclass(frozen=True)
class Strip:
    """A strip of ground. width_m along the street, height_m across it; shadows: rectangles darkened under objects."""

    seed: tuple[int, ...]
    width_m: float
    height_m: float
    px_per_m: float
    shadows: tuple[Rectangle, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the texture in pixels."""
        return round(self.width_m * self.px_per_m), round(self.height_m * self.px_per_m)


def road(strip: Strip, crossings_m: Sequence[float] = (), centre_line: bool = True) -> Texture:
    """Asphalt; zebra crossings at the given distances along the strip."""
    return Texture(f"road {strip.seed}", *strip.size, partial(_paint_road, strip, tuple(crossings_m), centre_line))


def pavement(strip: Strip) -> Texture:
    """Paving stones."""
    return Texture(f"pavement {strip.seed}", *strip.size, partial(_paint_pavement, strip))


def _paint_road(strip: Strip, crossings_m: tuple[float, ...], centre_line: bool) -> ImageArray:
    rng, p, size = np.random.default_rng(strip.seed), strip.px_per_m, strip.size
    coarse = octaves(rng, size, 6 * p, 0.25 * p, 0.75)
    grain = octaves(rng, size, 4, 1, 1.1)
    canvas = np.array([104, 104, 106], np.float32) * (1 + 0.06 * coarse + 0.10 * grain)[..., None]
    wheel_tracks = 0.06 * np.cos(np.linspace(0, 1, size[1]) * strip.height_m / 1.5 * 2 * np.pi)
    canvas *= (1 - wheel_tracks)[:, None, None].astype(np.float32)
    for _ in range(int(strip.width_m * strip.height_m / 40)):
        _patch(rng, canvas, p)
    for _ in range(int(strip.width_m * strip.height_m / 12)):
        _crack(rng, canvas, p)
    if centre_line:
        _dashes(rng, canvas, p, size[1] // 2)
    for x in crossings_m:
        _crossing(rng, canvas, p, x)
    for _ in range(int(strip.width_m * strip.height_m / 70)):
        _manhole(rng, canvas, p)
    return _shaded(canvas, strip)


def _paint_pavement(strip: Strip) -> ImageArray:
    rng, p = np.random.default_rng(strip.seed), strip.px_per_m
    canvas = blocks(rng, strip.size, (0.5 * p, 0.5 * p), (150, 145, 136), 10)
    for _ in range(int(strip.width_m * strip.height_m / 2)):  # chewing gum, leaves and oil
        x, y = int(rng.integers(strip.size[0])), int(rng.integers(strip.size[1]))
        tone = float(rng.uniform(60, 120))
        cv2.circle(
            canvas, (x, y), int(rng.uniform(0.01, 0.05) * p) + 1, (tone, tone * 0.96, tone * 0.88), -1, cv2.LINE_AA
        )
    kerb = max(int(0.14 * p), 1)
    fill(canvas, (0, 0, strip.size[0], kerb), (176, 172, 164), 0.7)
    fill(canvas, (0, strip.size[1] - kerb, strip.size[0], strip.size[1]), (176, 172, 164), 0.7)
    return _shaded(canvas, strip)


def _patch(rng: np.random.Generator, canvas: Float32, p: float) -> None:
    x, y = rng.integers(canvas.shape[1]), rng.integers(canvas.shape[0])
    w, h = int(rng.uniform(0.6, 4) * p), int(rng.uniform(0.4, 1.6) * p)
    window = canvas[y : y + h, x : x + w]
    window *= np.float32(rng.uniform(0.66, 1.14))
    for edge in (window[:2], window[-2:], window[:, :2], window[:, -2:]):
        edge *= np.float32(0.6)


def _crack(rng: np.random.Generator, canvas: Float32, p: float) -> None:
    steps = rng.normal(0, 0.25 * p, (int(rng.integers(4, 14)), 2)) + rng.normal(0, 0.12 * p, 2)
    path = np.cumsum(steps, axis=0) + rng.uniform([0, 0], canvas.shape[1::-1])
    cv2.polylines(canvas, [path.astype(np.int32)], False, (52.0, 52.0, 54.0), max(int(0.02 * p), 1), cv2.LINE_AA)


def _worn(rng: np.random.Generator, canvas: Float32, box: tuple[int, int, int, int]) -> None:
    """Road paint that the traffic has half rubbed off."""
    left, top, right, bottom = (
        max(box[0], 0),
        max(box[1], 0),
        min(box[2], canvas.shape[1]),
        min(box[3], canvas.shape[0]),
    )
    if right - left < 2 or bottom - top < 2:
        return
    wear = octaves(rng, (right - left, bottom - top), 40, 1.5, 0.8)
    cover = np.clip(0.9 - 0.35 * np.clip(wear - 0.3, 0, 3), 0, 1)[..., None]
    window = canvas[top:bottom, left:right]
    window += cover * (np.array([222, 220, 212], np.float32) - window)


def _dashes(rng: np.random.Generator, canvas: Float32, p: float, y: int) -> None:
    for x in range(0, canvas.shape[1], int(7.5 * p)):
        _worn(rng, canvas, (x, y - int(0.06 * p), x + int(3 * p), y + int(0.06 * p)))


def _crossing(rng: np.random.Generator, canvas: Float32, p: float, x_m: float) -> None:
    for y in np.arange(0.4, canvas.shape[0] / p - 0.4, 1.0):
        _worn(rng, canvas, (int(x_m * p), int(y * p), int((x_m + 3) * p), int((y + 0.5) * p)))


def _manhole(rng: np.random.Generator, canvas: Float32, p: float) -> None:
    centre = (int(rng.integers(canvas.shape[1])), int(rng.integers(canvas.shape[0])))
    radius = int(0.33 * p)
    cv2.circle(canvas, centre, radius, (62.0, 58.0, 54.0), -1, cv2.LINE_AA)
    for k in range(1, 4):
        cv2.circle(canvas, centre, radius * k // 4, (96.0, 92.0, 86.0), max(int(0.02 * p), 1), cv2.LINE_AA)
    cv2.circle(canvas, centre, radius, (138.0, 134.0, 128.0), max(int(0.03 * p), 1), cv2.LINE_AA)


def _shaded(canvas: Float32, strip: Strip) -> ImageArray:
    """Soft dark patches under parked objects, then 8 bits."""
    light = np.ones(canvas.shape[:2], np.float32)
    for left, top, right, bottom in strip.shadows:
        x0, y0, x1, y1 = (round(value * strip.px_per_m) for value in (left, top, right, bottom))
        light[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = 0.32
    blur = max(int(0.22 * strip.px_per_m) | 1, 3)
    light = np.asarray(cv2.blur(light, (blur, blur)), np.float32)
    return np.clip(canvas * light[..., None], 0, 255).astype(np.uint8)
