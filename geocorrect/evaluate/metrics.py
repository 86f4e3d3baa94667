"""Error of corrected poses against known truth. Every figure comes with its sample size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from geocorrect.geometry.pose import Pose, rotation_angle_deg
from geocorrect.records import NAN
from geocorrect.report.statistics import FALSE_ACCEPT_M, median_of


@dataclass(frozen=True)
class PoseError:
    """Error of one image."""

    image_id: str
    position_m: float
    """Distance of the camera centre from the true one, in three dimensions."""
    horizontal_m: float
    """Its horizontal part."""
    rotation_deg: float
    """Angle between estimated and true orientation."""
    reported_m: float
    """Horizontal error of the reported position."""
    expected_error_m: float
    """Horizontal error (68 %) that the system predicted."""


def pose_error(
    image_id: str, estimate: Pose, truth: Pose, reported_enu_m: ArrayLike, expected_error_m: float
) -> PoseError:
    """Compare an estimated world_from_cam with the true one, in the same ENU frame."""
    offset = estimate.translation_m - truth.translation_m
    reported = np.asarray(reported_enu_m, float) - truth.translation_m
    return PoseError(
        image_id=image_id,
        position_m=float(np.linalg.norm(offset)),
        horizontal_m=float(np.hypot(offset[0], offset[1])),
        rotation_deg=rotation_angle_deg(estimate.rotation, truth.rotation),
        reported_m=float(np.hypot(reported[0], reported[1])),
        expected_error_m=expected_error_m,
    )


def median_interval(values: ArrayLike, seed: int = 0, draws: int = 2000) -> tuple[float, float, float]:
    """Median and its 95 % bootstrap interval; nan for no values."""
    sample = np.asarray(values, float)
    if not len(sample):
        return NAN, NAN, NAN
    picks = np.random.default_rng(seed).integers(0, len(sample), (draws, len(sample)))
    low, high = np.percentile(np.median(sample[picks], axis=1), [2.5, 97.5])
    return float(np.median(sample)), float(low), float(high)


def summarise_errors(errors: Sequence[PoseError], n_queries: int) -> dict[str, Any]:
    """Medians, maxima, failures and false accepts; errors: of the accepted images among the queries."""
    position = [error.position_m for error in errors]
    median_m, low_m, high_m = median_interval(position)
    return {
        "n_queries": n_queries,
        "n_accepted": len(errors),
        "n_failed": n_queries - len(errors),
        "reported_median_m": median_of(error.reported_m for error in errors).value,
        "position_median_m": median_m,
        "position_median_95_m": [low_m, high_m],
        "position_max_m": max(position, default=NAN),
        "rotation_median_deg": median_of(error.rotation_deg for error in errors).value,
        "rotation_max_deg": max((error.rotation_deg for error in errors), default=NAN),
        "false_accepts": sum(error.horizontal_m > FALSE_ACCEPT_M for error in errors),
    }
