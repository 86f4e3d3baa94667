"""Road and pavement: worn asphalt with patches, cracks, markings and manholes; paving stones; shadows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.render.noise import Float32, octaves
from geocorrect.demo.render.surfaces import Float
from geocorrect.demo.render.textures import ImageArray, Texture
from geocorrect.demo.street.openings import fill
from geocorrect.demo.street.walls import blocks

Point = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Shade:
    """What keeps light from the ground: outlines (N, 2) in street metres of objects standing on it, and of shadows."""

    contacts_m: tuple[Float, ...]
    shadows_m: tuple[Float, ...]


@dataclass(frozen=True)
class Strip:
    """A rectangle of ground from low_m to high_m (x, y) in street metres; its texture's top is at high_m[1]."""

    seed: tuple[int, ...]
    low_m: Point
    high_m: Point
    px_per_m: float

    @property
    def extent_m(self) -> Point:
        """Length along the street and across it."""
        return self.high_m[0] - self.low_m[0], self.high_m[1] - self.low_m[1]

    @property
    def area_m2(self) -> float:
        """Area, which decides how many patches and cracks there are."""
        return self.extent_m[0] * self.extent_m[1]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the texture in pixels."""
        return round(self.extent_m[0] * self.px_per_m), round(self.extent_m[1] * self.px_per_m)

    def texels(self, points_m: Float) -> NDArray[np.int32]:
        """(N, 2) texture pixels of (N, 2) street points."""
        offset = (np.asarray(points_m) - [self.low_m[0], self.high_m[1]]) * [1, -1]
        return np.rint(offset * self.px_per_m).astype(np.int32)


def road(strip: Strip, shade: Shade, crossings_m: Sequence[float] = (), centre_line: bool = True) -> Texture:
    """Asphalt; zebra crossings begin at the given street x."""
    paint = partial(_paint_road, strip, shade, tuple(crossings_m), centre_line)
    return Texture(f"road {strip.seed}", *strip.size, paint)


def pavement(strip: Strip, shade: Shade) -> Texture:
    """Paving stones."""
    return Texture(f"pavement {strip.seed}", *strip.size, partial(_paint_pavement, strip, shade))


def _paint_road(strip: Strip, shade: Shade, crossings_m: tuple[float, ...], centre_line: bool) -> ImageArray:
    rng, p, size = np.random.default_rng(strip.seed), strip.px_per_m, strip.size
    coarse = octaves(rng, size, 6 * p, 0.5 * p, 0.7)
    grain = octaves(rng, size, 2, 1, 1.2)
    canvas = np.array([112, 112, 114], np.float32) * (1 + 0.045 * coarse + 0.085 * grain)[..., None]
    wheel_tracks = 0.06 * np.cos(np.linspace(0, 1, size[1]) * strip.extent_m[1] / 1.5 * 2 * np.pi)
    canvas *= (1 - wheel_tracks)[:, None, None].astype(np.float32)
    for _ in range(int(strip.area_m2 / 40)):
        _patch(rng, canvas, p)
    for _ in range(int(strip.area_m2 / 12)):
        _crack(rng, canvas, p)
    if centre_line:
        _dashes(rng, canvas, p, size[1] // 2)
    for x in crossings_m:
        _crossing(rng, canvas, p, x - strip.low_m[0])
    for _ in range(int(strip.area_m2 / 70)):
        _manhole(rng, canvas, p)
    return _shaded(canvas, strip, shade)


def _paint_pavement(strip: Strip, shade: Shade) -> ImageArray:
    rng, p = np.random.default_rng(strip.seed), strip.px_per_m
    canvas = blocks(rng, strip.size, (0.5 * p, 0.5 * p), (150, 145, 136), 10)
    for _ in range(int(strip.area_m2 / 2)):  # chewing gum, leaves and oil
        x, y = int(rng.integers(strip.size[0])), int(rng.integers(strip.size[1]))
        tone = float(rng.uniform(60, 120))
        cv2.circle(
            canvas, (x, y), int(rng.uniform(0.01, 0.05) * p) + 1, (tone, tone * 0.96, tone * 0.88), -1, cv2.LINE_AA
        )
    kerb = max(int(0.14 * p), 1)
    fill(canvas, (0, 0, strip.size[0], kerb), (176, 172, 164), 0.7)
    fill(canvas, (0, strip.size[1] - kerb, strip.size[0], strip.size[1]), (176, 172, 164), 0.7)
    return _shaded(canvas, strip, shade)


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


def _shaded(canvas: Float32, strip: Strip, shade: Shade) -> ImageArray:
    """Sharp-edged shade of the buildings, soft dark patches under parked objects, then 8 bits."""
    contact, light = (np.ones(canvas.shape[:2], np.float32) for _ in range(2))
    for outline in shade.contacts_m:
        cv2.fillConvexPoly(contact, strip.texels(outline), 0.3)
    for outline in shade.shadows_m:
        cv2.fillConvexPoly(light, strip.texels(outline), 0.66)
    light = cv2.blur(light, (_odd(0.08 * strip.px_per_m),) * 2) * cv2.blur(contact, (_odd(0.3 * strip.px_per_m),) * 2)
    return np.asarray(np.clip(canvas * light[..., None], 0, 255), np.uint8)


def _odd(length_px: float) -> int:
    return max(int(length_px) | 1, 3)
