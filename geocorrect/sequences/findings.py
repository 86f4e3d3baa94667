"""What a sequence's corrected poses say about the device that took it: constant offset, heading bias, time lag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.frame import angle_difference_deg
from geocorrect.records import NAN

Float = NDArray[np.float64]

MIN_IMAGES = 5
MIN_SPEED_M_S = 1.0


@dataclass(frozen=True)
class SequenceFindings:
    """Signs: corrected minus reported. nan where too few images say something.

    The fields are columns of the catalog's `SequenceFinding`.
    """

    median_east_m: float = NAN
    median_north_m: float = NAN
    """Median of the position's offset."""
    spread_m: float = NAN
    """1.48 × median absolute deviation from it."""
    heading_bias_deg: float = NAN
    """Median of the heading's offset."""
    lag_s: float = NAN
    """By how much the reported positions trail the images (positive: the position is old)."""


def sequence_findings(
    reported_enu_m: Float,
    corrected_enu_m: Float,
    reported_heading_deg: Float,
    corrected_heading_deg: Float,
    time_s: Float,
) -> SequenceFindings:
    """Findings from (N, 2 or 3) positions, (N,) headings and (N,) capture times in seconds; nan = unknown."""
    corrected_m = np.asarray(corrected_enu_m, float)[:, :2]
    off = corrected_m - np.asarray(reported_enu_m, float)[:, :2]
    known = np.isfinite(off).all(axis=1)
    turns = angle_difference_deg(corrected_heading_deg, reported_heading_deg)
    turns = turns[np.isfinite(turns)]
    bias = NAN
    if len(turns) >= MIN_IMAGES:
        centre = float(np.degrees(np.angle(np.exp(1j * np.radians(turns)).sum())))
        bias = float(angle_difference_deg(centre + float(np.median(angle_difference_deg(turns, centre))), 0.0))
    if known.sum() < MIN_IMAGES:
        return SequenceFindings(heading_bias_deg=bias)
    median = np.median(off[known], axis=0)
    spread = 1.4826 * float(np.median(np.linalg.norm(off[known] - median, axis=1)))
    lag = _lag_s(off, corrected_m, np.asarray(time_s, float), known)
    return SequenceFindings(float(median[0]), float(median[1]), spread, bias, lag)


def _lag_s(off: Float, corrected: Float, time_s: Float, known: NDArray[np.bool_]) -> float:
    """Slope of the offset along the velocity: a late position lies behind by speed × lag, whatever the constant offset.

    Speed or direction must vary: along one straight line at one speed a lag and an offset look the same.
    """
    use = known & np.isfinite(time_s)
    if use.sum() < 2 * MIN_IMAGES:
        return NAN
    order = np.argsort(time_s[use], kind="stable")
    t, p, o = time_s[use][order], corrected[use][order], off[use][order]
    if (np.diff(t) <= 0).any():
        return NAN
    velocity = np.stack([np.gradient(p[:, axis], t) for axis in range(2)], axis=1)
    centred = velocity - velocity.mean(axis=0)
    variation = float((centred**2).sum())
    if variation < MIN_SPEED_M_S**2 * len(t) * 0.25:
        return NAN
    return float((centred * (o - o.mean(axis=0))).sum() / variation)
