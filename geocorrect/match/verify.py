"""Which matches of a pair one fundamental matrix explains: on pixels, without knowing either camera.

The other test, `localize.verify`, knows both cameras and is the default. This one is what the thesis judged pairs by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.match.base import Matcher, enough_verified

REFERENCE_LONG_SIDE_PX = 512.0
FUNDAMENTAL_PX = 1.0
"""Default tolerance, at that size."""
MIN_MATCHES = 8
"""Fewer fix no fundamental matrix."""
CONFIDENCE = 0.99


@dataclass(frozen=True)
class PairVerifyOptions:
    """Which two-view model the matches of a pair must obey, and how many of them."""

    model: Literal["essential", "fundamental"] = "essential"
    """`essential` tests rays of calibrated cameras; `fundamental` pixels as they are, lens distortion included, and
    verifies nothing of a spherical photo."""
    px: float | None = None
    """Distance from the epipolar line up to which a match agrees. essential: as `localize.verify.max_epipolar_px`,
    which is the default; fundamental: in images resized to 512 px, default 1."""
    min_inliers: int = 0
    """A pair with fewer matches that agree is not used at all; at least what the matcher declares of itself."""

    def __post_init__(self) -> None:
        if self.px is not None and not 0.0 < self.px < float("inf"):
            raise ValueError(f"match.verify: px must be positive, got {self.px}")
        if self.min_inliers < 0:
            raise ValueError(f"match.verify: min_inliers must not be negative, got {self.min_inliers}")


ESSENTIAL = PairVerifyOptions()
"""The default."""


def verification_of(matcher: Matcher | None, options: PairVerifyOptions) -> PairVerifyOptions:
    """The options for pairs of this matcher: at least as many matches must agree as it declares of itself."""
    return replace(options, min_inliers=max(options.min_inliers, enough_verified(matcher)))


def fundamental_inliers(
    first_px: NDArray[np.floating],
    second_px: NDArray[np.floating],
    first_size: tuple[int, int],
    second_size: tuple[int, int],
    *,
    px: float = FUNDAMENTAL_PX,
    seed: int = 0,
) -> NDArray[np.bool_]:
    """(N,) matches that one fundamental matrix explains (OpenCV's RANSAC, confidence 0.99); all False where none does.

    Args:
        first_px: (N, 2) pixels of the first image.
        second_px: (N, 2) pixels of the second.
        first_size: (width, height) of the first image.
        second_size: (width, height) of the second.
        px: distance from the epipolar line, in images resized to 512 px.
        seed: of OpenCV's random numbers.
    """
    none = np.zeros(len(first_px), bool)
    if len(first_px) < MIN_MATCHES:
        return none
    first, second = (
        np.ascontiguousarray(np.asarray(pixels, float) * (REFERENCE_LONG_SIDE_PX / max(size)))
        for pixels, size in ((first_px, first_size), (second_px, second_size))
    )
    cv2.setRNGSeed(seed)
    _, mask = cv2.findFundamentalMat(first, second, cv2.FM_RANSAC, px, CONFIDENCE)
    return none if mask is None else np.asarray(mask.ravel() > 0)
