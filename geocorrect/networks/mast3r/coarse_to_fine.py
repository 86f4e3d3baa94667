"""Pairs of crops that cover the coarse matches of two large images (MASt3R, Leroy et al. 2024, §3.4).

The selection rule was recovered from published crop lists and reproduces them exactly; see `docs/models.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Size = tuple[int, int]
"""(width, height) in pixels."""

OVERLAP = 0.5
MIN_MATCHES = 10
MIN_SPREAD_PX = 20.0
COVERAGE = 0.9


@dataclass(frozen=True)
class Crop:
    """A window of an image, in pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class CropPair:
    """Windows of images a and b that show the same thing."""

    a: Crop
    b: Crop


@dataclass(frozen=True, eq=False)
class _Side:
    """One of the two images."""

    px: Float
    """(N, 2) matched points."""
    image: Size
    crop: Size


def crop_pairs(a_px: Float, b_px: Float, images: tuple[Size, Size], crops: tuple[Size, Size]) -> list[CropPair]:
    """Crop pairs in order of importance, until 90 % of the attainable weight of all matches is covered.

    Every window of a grid over one image that contains at least ten matches proposes a pair: itself and a window of the
    other image around the mean of its matches. A match weighs more, the nearer it is to the centres of both.

    Args:
        a_px: (N, 2) coarse matches in pixels of image a.
        b_px: (N, 2) the same matches in pixels of image b.
        images: Sizes of the two images.
        crops: Sizes of their crops.
    """
    a, b = _Side(a_px, images[0], crops[0]), _Side(b_px, images[1], crops[1])
    proposed = [(CropPair(one, two), weight) for one, two, weight in _proposals(a, b)]
    proposed += [(CropPair(two, one), weight) for one, two, weight in _proposals(b, a)]
    if not proposed:
        return []
    weights = np.stack([weight for _, weight in proposed])
    attainable = COVERAGE * weights.max(axis=0).sum()
    covered, chosen = np.zeros(weights.shape[1]), list[int]()
    while covered.sum() < attainable:
        gain = np.maximum(weights - covered, 0.0).sum(axis=1)
        chosen.append(int(gain.argmax()))
        covered = np.maximum(covered, weights[chosen[-1]])
    return [proposed[index][0] for index in chosen]


def _proposals(here: _Side, there: _Side) -> Iterator[tuple[Crop, Crop, Float]]:
    for window in _grid(here.image, here.crop):
        corner = np.array([window.left, window.top])
        inside = ((here.px >= corner) & (here.px < corner + here.crop)).all(axis=1)
        if inside.sum() < MIN_MATCHES:
            continue
        centre = there.px[inside].mean(axis=0)
        magnification = float((_spread(there.px[inside]) / _spread(here.px[inside])).mean())
        partner = _centred(centre, there)
        weight = _weight(here.px, corner + np.array(here.crop) / 2, window.width)
        weight = weight + _weight(there.px, centre, window.width * magnification)
        yield window, partner, weight


def _grid(image: Size, crop: Size) -> Iterator[Crop]:
    columns, rows = (_starts(whole, part) for whole, part in zip(image, crop, strict=True))
    for top in rows:
        for left in columns:
            yield Crop(left, top, *crop)


def _starts(whole: int, part: int) -> list[int]:
    room = max(whole - part, 0)
    count = int(np.ceil(room / (part * (1 - OVERLAP)))) + 1
    return [int(start) for start in np.rint(np.linspace(0, room, count))]


def _centred(centre: Float, side: _Side) -> Crop:
    room = np.maximum(np.subtract(side.image, side.crop), 0)
    left, top = np.clip(np.floor(centre - np.array(side.crop) / 2), 0, room)
    return Crop(int(left), int(top), *side.crop)


def _spread(px: Float) -> Float:
    low, high = np.quantile(px, [0.1, 0.9], axis=0)
    return np.maximum(high - low, MIN_SPREAD_PX)


def _weight(px: Float, centre: Float, width: float) -> Float:
    offset = (px - centre) / (width / 2)
    return np.asarray(np.exp(-np.square(offset).sum(axis=1)))
