"""Road and pavement: worn asphalt with patches, cracks, markings and manholes; paving stones; shadows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.render.textures import Texture, octaves
from geocorrect.demo.street.canvas import Box, Canvas, Seed, blocks, painted
from geocorrect.records import Float, Float32

Point = tuple[float, float]
KERB_COLOUR = (176, 172, 164)


@dataclass(frozen=True, eq=False)
class Shade:
    """What keeps light from the ground, as outlines (N, 2) in street metres."""

    contacts_m: tuple[Float, ...]
    """Of objects standing on it."""
    shadows_m: tuple[Float, ...]
    """Of the buildings' shadows."""


@dataclass(frozen=True)
class Strip:
    """A rectangle of ground; its texture's top is at high_m[1]."""

    seed: Seed
    low_m: Point
    """Corner with the smallest street coordinates (x, y)."""
    high_m: Point
    """Opposite corner."""
    px_per_m: float

    @property
    def extent_m(self) -> Point:
        """Length along the street and across it."""
        return self.high_m[0] - self.low_m[0], self.high_m[1] - self.low_m[1]

    def texels(self, points_m: Float) -> NDArray[np.int32]:
        """(N, 2) texture pixels of (N, 2) street points."""
        offset = (np.asarray(points_m) - [self.low_m[0], self.high_m[1]]) * [1, -1]
        return np.rint(offset * self.px_per_m).astype(np.int32)


def road(strip: Strip, shade: Shade, crossings_m: Sequence[float] = (), centre_line: bool = True) -> Texture:
    """Asphalt; zebra crossings begin at the given street x."""

    def paint(canvas: Canvas) -> None:
        area_m2 = strip.extent_m[0] * strip.extent_m[1]
        _asphalt(canvas, strip.extent_m[1])
        for _ in range(int(area_m2 / 40)):
            _patch(canvas)
        for _ in range(int(area_m2 / 12)):
            _crack(canvas)
        if centre_line:
            y, half = canvas.size[1] // 2, canvas.px(0.06)
            for x in range(0, canvas.size[0], canvas.px(7.5)):
                _worn(canvas, (x, y - half, x + canvas.px(3), y + half))
        for x_m in crossings_m:
            left, right = canvas.px(x_m - strip.low_m[0]), canvas.px(x_m - strip.low_m[0] + 3)
            for y_m in np.arange(0.4, canvas.size[1] / canvas.px_per_m - 0.4, 1.0):
                _worn(canvas, (left, canvas.px(y_m), right, canvas.px(y_m + 0.5)))
        for _ in range(int(area_m2 / 70)):
            _manhole(canvas)

    return _shaded("road", strip, shade, paint)


def pavement(strip: Strip, shade: Shade) -> Texture:
    """Paving stones."""

    def paint(canvas: Canvas) -> None:
        rng, (width, height) = canvas.rng, canvas.size
        blocks(canvas, (0.5, 0.5), (150, 145, 136), 10)
        for _ in range(int(strip.extent_m[0] * strip.extent_m[1] / 2)):  # chewing gum, leaves and oil
            centre = int(rng.integers(width)), int(rng.integers(height))
            tone = float(rng.uniform(60, 120))
            radius = canvas.px(rng.uniform(0.01, 0.05)) + 1
            cv2.circle(canvas.pixels, centre, radius, (tone, tone * 0.96, tone * 0.88), -1, cv2.LINE_AA)
        kerb = canvas.px(0.14, 1)
        canvas.fill((0, 0, width, kerb), KERB_COLOUR, 0.7)
        canvas.fill((0, height - kerb, width, height), KERB_COLOUR, 0.7)

    return _shaded("pavement", strip, shade, paint)


def _shaded(name: str, strip: Strip, shade: Shade, paint: Callable[[Canvas], None]) -> Texture:
    """What `paint` gives, under the sharp-edged shade of buildings and soft dark patches below parked objects."""
    size = round(strip.extent_m[0] * strip.px_per_m), round(strip.extent_m[1] * strip.px_per_m)

    def paint_all(blank: Canvas) -> None:
        canvas = replace(blank, px_per_m=strip.px_per_m)
        paint(canvas)
        light = _light(canvas, strip, shade.shadows_m, 0.66, 0.08)
        canvas.pixels[:] *= (light * _light(canvas, strip, shade.contacts_m, 0.3, 0.3))[..., None]

    return painted(f"{name} {strip.seed}", size, strip.seed, paint_all)


def _light(canvas: Canvas, strip: Strip, outlines_m: Sequence[Float], share: float, blur_m: float) -> Float32:
    """(H, W) light that is left: a share within the outlines, 1 elsewhere, with edges blurred."""
    light = np.ones(canvas.pixels.shape[:2], np.float32)
    for outline in outlines_m:
        cv2.fillConvexPoly(light, strip.texels(outline), share)
    blur_px = max(canvas.px(blur_m) | 1, 3)
    return np.asarray(cv2.blur(light, (blur_px, blur_px)), np.float32)


def _asphalt(canvas: Canvas, width_m: float) -> None:
    """Coarse and fine grain, and darker wheel tracks."""
    size, p = canvas.size, canvas.px_per_m
    coarse = octaves(canvas.rng, size, 6 * p, 0.5 * p, 0.7)
    grain = octaves(canvas.rng, size, 2, 1, 1.2)
    tracks = 0.06 * np.cos(np.linspace(0, 1, size[1]) * width_m / 1.5 * 2 * np.pi)
    canvas.pixels[:] = np.array([112, 112, 114], np.float32) * (1 + 0.045 * coarse + 0.085 * grain)[..., None]
    canvas.pixels[:] *= (1 - tracks)[:, None, None].astype(np.float32)


def _patch(canvas: Canvas) -> None:
    rng, (width, height) = canvas.rng, canvas.size
    x, y = rng.integers(width), rng.integers(height)
    w, h = canvas.px(rng.uniform(0.6, 4)), canvas.px(rng.uniform(0.4, 1.6))
    window = canvas.pixels[y : y + h, x : x + w]
    window *= np.float32(rng.uniform(0.66, 1.14))
    for edge in (window[:2], window[-2:], window[:, :2], window[:, -2:]):
        edge *= np.float32(0.6)


def _crack(canvas: Canvas) -> None:
    rng, p = canvas.rng, canvas.px_per_m
    steps = rng.normal(0, 0.25 * p, (int(rng.integers(4, 14)), 2)) + rng.normal(0, 0.12 * p, 2)
    path = np.cumsum(steps, axis=0) + rng.uniform([0, 0], canvas.size)
    cv2.polylines(canvas.pixels, [path.astype(np.int32)], False, (52, 52, 54), canvas.px(0.02, 1), cv2.LINE_AA)


def _worn(canvas: Canvas, box: Box) -> None:
    """Road paint that the traffic has half rubbed off."""
    window = canvas.window(box)
    height, width = window.shape[:2]
    if width < 2 or height < 2:
        return
    wear = octaves(canvas.rng, (width, height), 40, 1.5, 0.8)
    cover = np.clip(0.9 - 0.35 * np.clip(wear - 0.3, 0, 3), 0, 1)[..., None]
    window += cover * (np.array([222, 220, 212], np.float32) - window)


def _manhole(canvas: Canvas) -> None:
    centre = int(canvas.rng.integers(canvas.size[0])), int(canvas.rng.integers(canvas.size[1]))
    radius, thin = canvas.px(0.33), canvas.px(0.02, 1)
    cv2.circle(canvas.pixels, centre, radius, (62, 58, 54), -1, cv2.LINE_AA)
    for k in range(1, 4):
        cv2.circle(canvas.pixels, centre, radius * k // 4, (96, 92, 86), thin, cv2.LINE_AA)
    cv2.circle(canvas.pixels, centre, radius, (138, 134, 128), canvas.px(0.03, 1), cv2.LINE_AA)
