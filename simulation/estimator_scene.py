"""A street canyon of boxes and its ray caster: façades with protrusions and side streets, parked cars,
poles, ground.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

STREET_LENGTH_M = 160.0
"""The street runs along +y from 0; cameras stay in its middle third."""

REACH_M = 70.0
"""Boxes further along the street than this are left out: nothing that far is matched."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Axis-aligned boxes low…high, (M, 3) metres each, standing on the ground plane z = 0."""

    low_m: Float
    high_m: Float

    def distance_m(self, origin_m: Float, directions: Float) -> Float:
        """(N,) distance from a point (3,) along unit directions (N, 3) to the first surface; inf for sky and
        far off.
        """
        near_by = (self.low_m[:, 1] < origin_m[1] + REACH_M) & (self.high_m[:, 1] > origin_m[1] - REACH_M)
        low = (self.low_m[near_by] - origin_m).astype(np.float32)
        high = (self.high_m[near_by] - origin_m).astype(np.float32)
        inverse = (1.0 / np.where(np.abs(directions) < 1e-9, 1e-9, directions)).astype(np.float32)
        enter = np.full((len(directions), len(low)), 1e-6, np.float32)
        leave = np.full_like(enter, np.inf)
        for axis in range(3):
            first, second = inverse[:, axis, None] * low[:, axis], inverse[:, axis, None] * high[:, axis]
            np.maximum(enter, np.minimum(first, second), out=enter)
            np.minimum(leave, np.maximum(first, second), out=leave)
        boxes = np.where(enter <= leave, enter, np.inf).min(axis=1)
        ground = np.where(directions[:, 2] < 0, -origin_m[2] * inverse[:, 2], np.inf)
        nearest: Float = np.minimum(boxes, ground).astype(np.float64)
        return nearest


def make_scene(rng: np.random.Generator) -> Scene:
    """A random street, 12–24 m wide, façades 6–20 m high."""
    width_m = rng.uniform(12.0, 24.0)
    boxes: list[tuple[list[float], list[float]]] = []
    for side in (-1.0, 1.0):
        _facades(boxes, rng, side, width_m / 2)
        _cars(boxes, rng, side, width_m / 2)
    for _ in range(int(rng.integers(8, 16))):
        x = rng.choice([-1.0, 1.0]) * (width_m / 2 - rng.uniform(0.5, 1.5))
        _add(boxes, (x, rng.uniform(0, STREET_LENGTH_M)), (0.2, 0.2), rng.uniform(4, 8))
    low, high = (np.array(corner, float) for corner in zip(*boxes, strict=True))
    return Scene(low, high)


def _facades(
    boxes: list[tuple[list[float], list[float]]], rng: np.random.Generator, side: float, half_m: float
) -> None:
    y = -10.0
    while y < STREET_LENGTH_M + 10.0:
        length_m = rng.uniform(6.0, 18.0)
        if rng.random() > 0.12:  # else a side street
            front = half_m + rng.normal(0.0, 0.4)
            height = rng.uniform(6.0, 20.0)
            _add(boxes, (side * (front + 6.0), y + length_m / 2), (12.0, length_m), height)
            for _ in range(int(rng.integers(1, 4))):  # bay windows, porches, signs
                at = y + rng.uniform(0.1, 0.9) * length_m
                base = rng.uniform(0.0, 5.0)
                size = (2 * rng.uniform(0.2, 1.0), rng.uniform(0.8, 3.0))
                _add(boxes, (side * front, at), size, base + rng.uniform(1.0, 3.0), base)
        y += length_m


def _cars(boxes: list[tuple[list[float], list[float]]], rng: np.random.Generator, side: float, half_m: float) -> None:
    y = rng.uniform(0.0, 6.0)
    while y < STREET_LENGTH_M:
        if rng.random() < 0.5:
            _add(boxes, (side * (half_m - 2.6), y), (1.8, 4.2), rng.uniform(1.4, 1.9))
        y += 6.0


def _add(
    boxes: list[tuple[list[float], list[float]]],
    centre: tuple[float, float],
    size: tuple[float, float],
    top_m: float,
    base_m: float = 0.0,
) -> None:
    (x, y), (dx, dy) = centre, size
    boxes.append(([x - dx / 2, y - dy / 2, base_m], [x + dx / 2, y + dy / 2, top_m]))
