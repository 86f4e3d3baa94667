"""The options of the estimators beside the joint one, and their names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from geocorrect.geometry.similarity import PoseWeights
from geocorrect.localize.estimators.metric_covariance import DepthErrorOptions
from geocorrect.localize.estimators.metric_ransac import MetricRansacOptions

EstimatorName = Literal["joint", "poselib", "opencv", "mapanything", "mickey"]
"""What `api.backends.build_estimator` can build."""
OpenCvFlags = Literal["iterative", "sqpnp", "epnp", "p3p", "ap3p"]
OpenCvVariant = Literal["opencv-default", "opencv-sqpnp"]


@dataclass(frozen=True)
class OpenCvOptions:
    """Arguments of OpenCV's `solvePnPRansac`: a named variant, and what differs from it."""

    variant: OpenCvVariant = "opencv-default"
    """`opencv-default`: OpenCV's own defaults, as the final code of the thesis used them. `opencv-sqpnp`: its code of
    2024."""
    flags: OpenCvFlags | None = None
    """Which solver; None, here and below: that of the variant."""
    iterations: int | None = None
    """RANSAC draws at most."""
    reprojection_px: float | None = None
    """Largest reprojection error of an inlier in an image resized to 512 px."""
    confidence: float | None = None
    """Probability that one draw was free of outliers at which the draws end."""

    def __post_init__(self) -> None:
        if self.iterations is not None and self.iterations < 1:
            raise ValueError(f"iterations must be 1 or more, got {self.iterations}")
        if self.reprojection_px is not None and not 0.0 < self.reprojection_px < math.inf:
            raise ValueError(f"reprojection_px must be positive, got {self.reprojection_px}")
        if self.confidence is not None and not 0.0 < self.confidence < 1.0:
            raise ValueError(f"confidence must be between 0 and 1, got {self.confidence}")

    def resolved(self) -> OpenCvArguments:
        """The variant's arguments with those that are given."""
        given = {key: value for key, value in vars(self).items() if key != "variant" and value is not None}
        return replace(OPENCV_VARIANTS[self.variant], **given)


@dataclass(frozen=True)
class OpenCvArguments:
    """What `solvePnPRansac` is called with; see `OpenCvOptions`."""

    flags: OpenCvFlags
    iterations: int
    reprojection_px: float
    confidence: float


OPENCV_VARIANTS: Mapping[OpenCvVariant, OpenCvArguments] = {
    "opencv-default": OpenCvArguments("iterative", 100, 8.0, 0.99),
    "opencv-sqpnp": OpenCvArguments("sqpnp", 10_000, 3.0, 0.9999),
}


@dataclass(frozen=True)
class MapAnythingPoseOptions:
    """How many anchors are shown, and what the answer is worth. The sigmas are assumptions, not measurements."""

    max_anchors: int = 7
    """Anchors in one pass; the best come first."""
    passes: int = 2
    """Passes with another anchor as the first view each; their spread is evidence. Costs as many transformers."""
    max_focal_sigma: float = 0.1
    """A query camera less certain than this (or of unknown certainty) is not told to the network."""
    weights: PoseWeights = field(default_factory=PoseWeights)
    """Expected errors of predicted poses, for the similarity."""
    position_sigma_m: float = 0.5
    """Least standard deviation of the answer's position per axis, metres."""
    rotation_sigma_deg: float = 1.0
    """Least standard deviation of the answer's rotation per axis, degrees."""
    scale_sigma: float = 0.1
    """Relative error of the distance from the anchors where their baselines fix the scale."""
    lone_scale_sigma: float = 0.3
    """The same where only the network's own metres do."""
    max_scale_error: float = 3.0
    """A similarity whose scale is off by more than this factor means that the network did not understand the scene."""

    def __post_init__(self) -> None:
        if self.max_anchors < 1 or self.passes < 1:
            raise ValueError(f"max_anchors and passes must be 1 or more, got {self.max_anchors} and {self.passes}")


@dataclass(frozen=True)
class MickeyPoseOptions:
    """Numbers of the pose solver."""

    ransac: MetricRansacOptions = field(default_factory=MetricRansacOptions)
    """Draws and distances."""
    errors: DepthErrorOptions = field(default_factory=DepthErrorOptions)
    """How predicted depths err: what the covariance is made of."""
    min_support: int = 15
    """Agreeing pairs that share no keypoint. Pairs without any truth reach 6 (simulated, 400 and 1200 points)."""
    min_chance_ratio: float = 2.5
    """Agreeing pairs over those that agree when partners are dealt out anew: crowded points agree by chance."""
    positive_depth_only: bool = True
    """Leave out keypoints that the network puts behind the camera; the published solver does not."""
    inlier_px: float = 12.0
    """Reprojection error up to which a match counts as evidence, for an image 512 px long: predicted depth is wrong by
    more than pixels are."""
