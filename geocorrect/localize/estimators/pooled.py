"""Pose by PnP from the lifted matches of all anchors together: PoseLib, or OpenCV as the thesis used it.

Depth is taken as it is, which suits measured depth (LiDAR); the joint estimator treats it as one more noisy residual.
All coordinates are relative to the mean of the anchors: OpenCV computes in float32 inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from geocorrect.errors import Reason
from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.pose import Pose
from geocorrect.localize import pnp
from geocorrect.localize.covariance import georeference_covariance
from geocorrect.localize.estimators.consider_covariance import pose_covariance
from geocorrect.localize.estimators.options import OpenCvOptions
from geocorrect.localize.joint.problem import MEASURED_LOG_SIGMA
from geocorrect.localize.observations import Observations, focal_px
from geocorrect.localize.options import REFERENCE_LONG_SIDE_PX, LocalizeOptions, pixel_scale
from geocorrect.localize.solution import AnchorFit, Solution
from geocorrect.records import NAN, Query, ScaleSource

Float = NDArray[np.float64]
PREDICTED_INFLATION = 3.2
"""On the covariance where depth is predicted: matches are chosen by how they agree with wrong depth, which the
linearisation does not see. Simulator, one anchor, n = 16: squared errors are so many times what is expected."""
OPENCV_INFLATION = 2.3
"""The same for OpenCV with measured depth: it weighs all inliers alike, also those 8 px off."""
PoseSolver = Callable[[Float, Float], pnp.RobustPose | None]
"""(query rays (N, 3), points (N, 3) near the origin) → pose and inliers."""


class PoseLibEstimator:
    """PoseLib's LO-RANSAC with refinement, numbers of `[localize.pnp]`."""

    fingerprint = "poselib"

    def solve(
        self, observations: Sequence[Observations], query: Query, options: LocalizeOptions, seed: int
    ) -> Solution | Reason:
        """See `localize.estimators.base.Estimator`."""
        camera = query.camera
        focal, tolerance_px = focal_px(camera), options.pnp.max_reprojection_px * pixel_scale(camera)

        def solver(rays: Float, points_m: Float) -> pnp.RobustPose | None:
            return pnp.absolute_pose(rays, points_m, focal, tolerance_px, options.pnp, seed)

        return solve_pooled(observations, camera, options, solver, tolerance_px, 1.0)


class OpenCvEstimator:
    """OpenCV's `solvePnPRansac` on the photo's plane z = 1; numbers of `[localize.opencv]`."""

    def __init__(self, options: OpenCvOptions) -> None:
        self.options = options.resolved()
        self.fingerprint = f"opencv/{self.options}"

    def solve(
        self, observations: Sequence[Observations], query: Query, options: LocalizeOptions, seed: int
    ) -> Solution | Reason:
        """See `localize.estimators.base.Estimator`; a spherical photo has no image plane."""
        camera = query.camera
        if camera.projection is Projection.SPHERICAL:
            return Reason.CAMERA_UNSUPPORTED
        focal = focal_px(camera)
        # In proportion to the image, unlike the other tolerances: the thesis worked on images resized to 512 px.
        tolerance_px = self.options.reprojection_px * max(camera.width, camera.height) / REFERENCE_LONG_SIDE_PX

        def solver(rays: Float, points_m: Float) -> pnp.RobustPose | None:
            return pnp.opencv_pose(rays, points_m, focal, tolerance_px, self.options, seed)

        return solve_pooled(observations, camera, options, solver, tolerance_px, OPENCV_INFLATION)


def solve_pooled(
    observations: Sequence[Observations],
    camera: Camera,
    options: LocalizeOptions,
    solver: PoseSolver,
    tolerance_px: float,
    inflation: float,
) -> Solution | Reason:
    """Best pose of the photo given the anchors' lifted matches, or the Reason why there is none.

    The solver gives one hypothesis from all anchors and one from each; the one with most inliers counts.

    Args:
        observations: of at least one anchor.
        camera: describes the photo's pixels.
        options: smallest number of points, noise of the covariance.
        solver: finds a pose.
        tolerance_px: largest reprojection error of an inlier, in pixels of the photo.
        inflation: of the covariance where depth is measured.
    """
    if pnp.looks_everywhere(np.concatenate([o.query_rays for o in observations])):
        return Reason.CAMERA_UNSUPPORTED  # the covariance is that of one image plane
    if sum(int(o.has_depth.sum()) for o in observations) < options.pnp.min_points:
        return Reason.TOO_FEW_POINTS
    origin_m = np.mean([o.anchor.world_from_cam.translation_m for o in observations], axis=0)
    points = [o.points_m - origin_m for o in observations]
    rays = [o.query_rays for o in observations]
    singles = [solver(r, p) for r, p in zip(rays, points, strict=True)]
    pooled = [solver(np.concatenate(rays), np.concatenate(points))] if len(observations) > 1 else []
    hypotheses = [h.world_from_cam for h in (*pooled, *singles) if h is not None]
    if not hypotheses:
        return Reason.TOO_FEW_INLIERS
    focal = focal_px(camera)
    support = [
        sum(int((pnp.reprojection_px(h, r, p, focal) < tolerance_px).sum()) for r, p in zip(rays, points, strict=True))
        for h in hypotheses
    ]
    best = hypotheses[int(np.argmax(support))]
    distant = [
        s
        for h, s in zip(hypotheses, support, strict=True)
        if np.linalg.norm(h.translation_m - best.translation_m) > options.gate.distant_m
    ]
    fits = []
    for o, p, single in zip(observations, points, singles, strict=True):
        residual = pnp.reprojection_px(best, o.query_rays, p, focal)
        shift = NAN
        if single is not None:
            shift = float(np.linalg.norm(single.world_from_cam.translation_m - best.translation_m))
        fits.append(AnchorFit(residual < tolerance_px, np.where(np.isfinite(residual), residual, NAN), shift))
    covariance = pose_covariance(best, observations, points, fits, camera, options.covariance)
    if covariance is None:
        return Reason.DEGENERATE_GEOMETRY
    position_m = best.translation_m + origin_m
    if any(o.common_log_sigma > MEASURED_LOG_SIGMA for o in observations):
        inflation = PREDICTED_INFLATION
    covariance = inflation * covariance + georeference_covariance(observations, fits, position_m, options.joint)
    pose = Pose(best.rotation, position_m, covariance)
    return Solution(pose, tuple(fits), max(distant, default=0) / max(support), ScaleSource.DEPTH)
