"""Explicit scale correction of predicted points by measured ones: the four heuristics of the thesis (§III.D.1).

All compare the same pixels: predicted and measured points (N, 3) in the anchor's camera frame. A scale is (3,): factors
for x, y, z, equal for the isotropic heuristics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geocorrect.geometry.similarity import DegenerateError, umeyama
from geocorrect.records import DepthMap

Float = NDArray[np.float64]
MIN_POINTS = 10


class ScaleHeuristic(StrEnum):
    """How a scale is read off two point sets."""

    PER_AXIS_L1 = "per_axis_l1"
    PER_AXIS_L2 = "per_axis_l2"
    MEAN_PER_AXIS_L2 = "mean_per_axis_l2"
    SIMILARITY = "similarity"


class ScaleError(ValueError):
    """The points do not determine a scale; the text says why."""


def estimate_scale(heuristic: ScaleHeuristic, predicted_m: ArrayLike, measured_m: ArrayLike) -> Float:
    """(3,) factors that take predicted points to measured ones, from the pairs where both are finite.

    Raises ScaleError with fewer than ten pairs, or when an axis or the similarity is degenerate.
    """
    predicted, measured = np.asarray(predicted_m, float), np.asarray(measured_m, float)
    if predicted.shape != measured.shape or predicted.ndim != 2 or predicted.shape[1] != 3:
        raise ValueError(f"points must be two (N, 3) arrays, got {predicted.shape} and {measured.shape}")
    both = np.isfinite(predicted).all(axis=1) & np.isfinite(measured).all(axis=1)
    if both.sum() < MIN_POINTS:
        raise ScaleError(f"{int(both.sum())} common points; a scale needs at least {MIN_POINTS}")
    scale = _ESTIMATORS[heuristic](predicted[both], measured[both])
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ScaleError(f"{heuristic} gives {scale}: an axis of the points is degenerate")
    return scale


def median_scale(scales: Sequence[ArrayLike]) -> Float:
    """(3,) per-axis median of the scales of a training set, for use where nothing is measured."""
    if not scales:
        raise ScaleError("no training scale to take the median of")
    median: Float = np.median(np.asarray(scales, float).reshape(-1, 3), axis=0)
    return median


def scale_points(points_m: ArrayLike, scale: ArrayLike) -> Float:
    """Points (…, 3) times the scale. Unequal factors take a point off its pixel's ray, as in the thesis."""
    scaled: Float = np.asarray(points_m, float) * np.asarray(scale, float)
    return scaled


def scale_depth(depth: DepthMap, scale: ArrayLike) -> DepthMap:
    """The depth map times the z factor: what a scale means where the pixel's ray is kept."""
    factor = float(np.asarray(scale, float)[2])
    name = f"{depth.name}*{factor:.3f}"
    if depth.z_m is not None:
        return replace(depth, name=name, z_m=(depth.z_m * factor).astype(np.float32))
    assert depth.samples_z_m is not None
    return replace(depth, name=name, samples_z_m=depth.samples_z_m * factor)


def _per_axis_l1(predicted: Float, measured: Float) -> Float:
    return _ratio(np.abs(measured).mean(axis=0), np.abs(predicted).mean(axis=0))


def _per_axis_l2(predicted: Float, measured: Float) -> Float:
    return _ratio(np.linalg.norm(measured, axis=0), np.linalg.norm(predicted, axis=0))


def _mean_per_axis_l2(predicted: Float, measured: Float) -> Float:
    norms = np.linalg.norm(measured, axis=0).mean(), np.linalg.norm(predicted, axis=0).mean()
    return np.repeat(_ratio(np.array(norms[0]), np.array(norms[1])), 3)


def _similarity(predicted: Float, measured: Float) -> Float:
    """The scale of Umeyama's similarity; its rotation and translation are dropped."""
    try:
        return np.repeat(umeyama(measured, predicted).scale, 3)
    except DegenerateError as error:
        raise ScaleError(str(error)) from None


def _ratio(measured: Float, predicted: Float) -> Float:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Float = np.asarray(measured / predicted)
    return ratio


_ESTIMATORS = {
    ScaleHeuristic.PER_AXIS_L1: _per_axis_l1,
    ScaleHeuristic.PER_AXIS_L2: _per_axis_l2,
    ScaleHeuristic.MEAN_PER_AXIS_L2: _mean_per_axis_l2,
    ScaleHeuristic.SIMILARITY: _similarity,
}
