"""Validation of what enters a camera: sizes, lengths, coefficients, arrays of points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geocorrect.geometry.projection import COEFFICIENTS, DEFAULT_TRANSITION, Projection

Float = NDArray[np.float64]


def rows_of(name: str, values: ArrayLike, columns: int) -> Float:
    """An (N, columns) float64 array, or ValueError naming it."""
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != columns:
        raise ValueError(f"{name} must be (N, {columns}), got shape {rows.shape}")
    return rows


def finite_rows(rows: Float) -> NDArray[np.bool_]:
    """(N,) whether every number of a row is finite."""
    # x·0 is 0 for finite x and nan otherwise: one pass and no wide boolean array.
    finite: NDArray[np.bool_] = (rows * 0.0).sum(axis=1) == 0.0
    return finite


def checked_size(name: str, value: int) -> int:
    """A whole number of pixels ≥ 1, or ValueError naming the field."""
    if isinstance(value, bool) or not math.isfinite(value) or int(value) != value or value < 1:
        raise ValueError(f"camera {name} must be a whole number ≥ 1, got {value!r}")
    return int(value)


def checked_distortion(projection: Projection, values: Sequence[float]) -> tuple[float, ...]:
    """Coefficients in the model's order with the missing tail filled; ValueError when too many or not finite."""
    names = COEFFICIENTS[projection]
    given = tuple(float(value) for value in values)
    if len(given) > len(names):
        raise ValueError(f"camera distortion of a {projection} camera has {len(names)} terms, got {len(given)}")
    for name, value in zip(names, given, strict=False):
        if not math.isfinite(value):
            raise ValueError(f"camera distortion {name} must be finite, got {value}")
    missing = [DEFAULT_TRANSITION if name == "transition" else 0.0 for name in names[len(given) :]]
    complete = given + tuple(missing)
    if projection is Projection.DUAL and not 0.0 <= complete[2] <= 1.0:
        raise ValueError(f"camera transition must be in 0…1, got {complete[2]}")
    return complete


def checked_number(name: str, value: float, positive: bool) -> float:
    """A finite number, above zero where it must be positive, or ValueError naming the field."""
    number = float(value)
    if not math.isfinite(number) or (positive and number <= 0):
        raise ValueError(f"camera {name} must be a {'positive' if positive else 'finite'} number, got {number}")
    return number
