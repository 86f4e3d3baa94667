"""Error of corrected poses against known truth. Every figure comes with its sample size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from geocorrect.geometry.pose import Pose, rotation_angle_deg

FALSE_ACCEPT_M = 1.0
"""An accepted pose further than this from the truth is a false accept."""


@dataclass(frozen=True)
class PoseError:
    """Error of one image: camera-centre distance (3-D and horizontal) in metres, rotation angle in degrees."""

    image_id: str
    position_m: float
    horizontal_m: float
    rotation_deg: float
    reported_m: float
    expected_error_m: float


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
        return (float("nan"),) * 3
    picks = np.random.default_rng(seed).integers(0, len(sample), (draws, len(sample)))
    low, high = np.percentile(np.median(sample[picks], axis=1), [2.5, 97.5])
    return float(np.median(sample)), float(low), float(high)


def summarise_errors(errors: Sequence[PoseError], n_queries: int) -> dict[str, Any]:
    """Medians, maxima, failures and false accepts over the accepted images of a set of queries."""
    position = [error.position_m for error in errors]
    median_m, low_m, high_m = median_interval(position)
    return {
        "n_queries": n_queries,
        "n_accepted": len(errors),
        "n_failed": n_queries - len(errors),
        "reported_median_m": _median([error.reported_m for error in errors]),
        "position_median_m": median_m,
        "position_median_95_m": [low_m, high_m],
        "position_max_m": max(position, default=float("nan")),
        "rotation_median_deg": _median([error.rotation_deg for error in errors]),
        "rotation_max_deg": max((error.rotation_deg for error in errors), default=float("nan")),
        "false_accepts": sum(error.horizontal_m > FALSE_ACCEPT_M for error in errors),
    }


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else float("nan")
