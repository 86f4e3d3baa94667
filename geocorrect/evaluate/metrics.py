"""What an estimate is wrong by: the transform of a pair, the camera centre, depth; medians with their intervals.

The transform of a pair is `query_from_anchor`: it maps points of the anchor's camera into the query's. The error of its
translation (the thesis' MTE is the median of it) is not the distance of the camera centres: the two differ by about the
rotation error times the baseline.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geocorrect.geometry.pose import Pose, rotation_angle_deg
from geocorrect.records import NAN

Float = NDArray[np.float64]
MIN_AXIS_M = 0.1
"""Coordinates of true points nearer to zero than this are left out of the relative error of an axis."""


@dataclass(frozen=True)
class TransformError:
    """What an estimated query_from_anchor is wrong by."""

    transform_m: float
    """Length of the difference of the translations: |t − t*|."""
    centre_m: float
    """Distance of the query's camera centre from the true one."""
    rotation_deg: float
    """Angle between the two rotations, 0 to 180."""
    axes_m: tuple[float, float, float]
    """|t − t*| along x (right), y (down), z (forward) of the true query camera."""


def transform_error(query_from_anchor: Pose, truth: Pose) -> TransformError:
    """Compare an estimated query_from_anchor with the true one."""
    difference = query_from_anchor.translation_m - truth.translation_m
    centres = query_from_anchor.inverse().translation_m - truth.inverse().translation_m
    x_m, y_m, z_m = (float(value) for value in np.abs(difference))
    return TransformError(
        transform_m=float(np.linalg.norm(difference)),
        centre_m=float(np.linalg.norm(centres)),
        rotation_deg=rotation_angle_deg(query_from_anchor.rotation, truth.rotation),
        axes_m=(x_m, y_m, z_m),
    )


def abs_rel(predicted_m: ArrayLike, measured_m: ArrayLike) -> float:
    """Mean of |measured − predicted| / |measured| over 3-D points (N, 3), those finite in both; nan for none."""
    predicted, measured = _both_known(predicted_m, measured_m)
    if not len(measured):
        return NAN
    return float((np.linalg.norm(measured - predicted, axis=1) / np.linalg.norm(measured, axis=1)).mean())


def abs_rel_axes(predicted_m: ArrayLike, measured_m: ArrayLike, min_axis_m: float = MIN_AXIS_M) -> Float:
    """(3,) the same for x, y and z alone, over the points whose true coordinate is beyond ±min_axis_m.

    x and y pass through zero, so these numbers depend on min_axis_m, which has to be stated with them.
    """
    predicted, measured = _both_known(predicted_m, measured_m)
    found = np.full(3, NAN)
    for axis in range(3):
        used = np.abs(measured[:, axis]) > min_axis_m
        if used.any():
            true = measured[used, axis]
            found[axis] = float((np.abs(true - predicted[used, axis]) / np.abs(true)).mean())
    return found


def _both_known(predicted_m: ArrayLike, measured_m: ArrayLike) -> tuple[Float, Float]:
    predicted, measured = np.asarray(predicted_m, float), np.asarray(measured_m, float)
    if predicted.shape != measured.shape or predicted.ndim != 2 or predicted.shape[1] != 3:
        raise ValueError(f"points must be two (N, 3) arrays, got {predicted.shape} and {measured.shape}")
    with np.errstate(invalid="ignore"):
        known = np.isfinite(predicted).all(axis=1) & np.isfinite(measured).all(axis=1)
        known &= np.linalg.norm(measured, axis=1) > 0
    return predicted[known], measured[known]


@dataclass(frozen=True)
class Median:
    """A median with its 95 % bootstrap interval and its sample size; nan for no values, inf where failures win."""

    value: float
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end."""
    n: int


@dataclass(frozen=True)
class ErrorMedians:
    """The median error of estimates some of which failed."""

    without_failures: Median
    """Of the estimates there are, as the thesis has it: a method that answers less looks better."""
    with_failures: Median
    """A failure counts as an infinite error."""

    @property
    def n_failed(self) -> int:
        """Estimates that failed."""
        return self.with_failures.n - self.without_failures.n


def error_medians(errors: Iterable[float], seed: int = 0) -> ErrorMedians:
    """Medians of errors, nan being a failure."""
    every = np.fromiter(errors, float)
    failed = np.isnan(every)
    return ErrorMedians(
        Median(*median_interval(every[~failed], seed), n=int((~failed).sum())),
        Median(*median_interval(np.where(failed, np.inf, every), seed), n=len(every)),
    )


def median_interval(values: ArrayLike, seed: int = 0, draws: int = 2000) -> tuple[float, float, float]:
    """Median and its 95 % bootstrap interval; nan for no values. Values may be infinite."""
    sample = np.asarray(values, float)
    if not len(sample):
        return NAN, NAN, NAN
    picks = np.random.default_rng(seed).integers(0, len(sample), (draws, len(sample)))
    medians = np.median(sample[picks], axis=1)
    # Between two infinite values nothing can be interpolated.
    method = "linear" if np.isfinite(medians).all() else "inverted_cdf"
    low, high = np.percentile(medians, [2.5, 97.5], method=method)  # type: ignore[call-overload]
    return float(np.median(sample)), float(low), float(high)
