"""Metric relative pose from keypoints whose depth a network predicts in both photos (MicKey, CVPR 2024).

One anchor is enough: the scale comes from the network. The network itself stays outside; whatever pairs metric
keypoints (`match.metric_keypoints.KeypointMatcher`) can stand behind this estimator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.errors import Reason
from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.pose import Pose
from geocorrect.io.masks import unmasked
from geocorrect.localize import pnp
from geocorrect.localize.covariance import georeference_covariance
from geocorrect.localize.estimators.metric_covariance import motion_covariance
from geocorrect.localize.estimators.metric_ransac import estimate_motion
from geocorrect.localize.estimators.options import MickeyPoseOptions
from geocorrect.localize.observations import Observations, focal_px
from geocorrect.localize.options import LocalizeOptions, pixel_scale
from geocorrect.localize.solution import AnchorFit, Solution
from geocorrect.match.metric_keypoints import KeypointMatcher, KeypointPairing, MetricKeypoints
from geocorrect.records import NAN, Anchor, AnchorView, Query, ScaleSource

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RelativePose:
    """Pose of a query relative to one anchor."""

    query_from_anchor: Pose
    """Metres, with its 6×6 covariance (order translation m, rotation rad, on the query's side)."""
    confidence: float
    """Soft count of agreeing pairs; larger is better, comparable between pairs solved with the same options."""
    support: int
    """Agreeing pairs that share no keypoint."""


def solve_pair(
    pairing: KeypointPairing,
    anchor_camera: Camera,
    query_camera: Camera,
    options: MickeyPoseOptions,
    seed: int | Sequence[int],
) -> RelativePose | Reason:
    """Pose of the query relative to the anchor; the Reason where the keypoints do not agree on one.

    A collapse of the solver (no finite motion, nothing agreeing) is a Reason, never a pose at the anchor.
    """
    if Projection.SPHERICAL in (anchor_camera.projection, query_camera.projection):
        return Reason.CAMERA_UNSUPPORTED
    anchor_m, anchor_known = points_m(pairing.anchor, anchor_camera, options.positive_depth_only)
    query_m, query_known = points_m(pairing.query, query_camera, options.positive_depth_only)
    weight = np.where(anchor_known[:, None] & query_known[None, :], pairing.weight, 0.0)
    motion = estimate_motion(anchor_m, query_m, weight, options.ransac, seed)
    if motion is None:
        return Reason.TOO_FEW_POINTS
    if not (np.isfinite(motion.rotation).all() and np.isfinite(motion.translation_m).all()):
        return Reason.DIVERGED
    if motion.support < max(options.min_support, 1):
        return Reason.TOO_FEW_INLIERS
    if len(motion.source_index) < options.min_chance_ratio * motion.n_by_chance:
        return Reason.TOO_FEW_INLIERS
    covariance = motion_covariance(
        motion.rotation,
        motion.translation_m,
        anchor_m[motion.source_index],
        query_m[motion.target_index],
        motion.support,
        options.errors,
    )
    if covariance is None:
        return Reason.DEGENERATE_GEOMETRY
    pose = Pose(Rotation.from_matrix(motion.rotation), motion.translation_m, covariance)
    return RelativePose(pose, motion.confidence, motion.support)


def points_m(keypoints: MetricKeypoints, camera: Camera, positive_depth_only: bool) -> tuple[Float, NDArray[np.bool_]]:
    """(N, 3) points in the camera frame, zero where unknown, and (N,) where they are known."""
    rays = camera.unproject(keypoints.px)
    with np.errstate(invalid="ignore", divide="ignore"):
        points = rays / rays[:, 2:] * keypoints.depth_m[:, None]
        known = np.isfinite(points).all(axis=1) & (rays[:, 2] > pnp.MIN_FORWARD)
        if positive_depth_only:
            known &= keypoints.depth_m > 0
    return np.where(known[:, None], points, 0.0), known


class MickeyEstimator:
    """Estimator from metric keypoints: every anchor is tried alone, the most confident one gives the pose."""

    def __init__(
        self,
        matcher: KeypointMatcher,
        view_of: Callable[[Anchor], AnchorView],
        options: MickeyPoseOptions | None = None,
    ) -> None:
        """view_of: reads an anchor's pixels and mask; raises InputError naming the file."""
        self.matcher = matcher
        self.view_of = view_of
        self.options = options or MickeyPoseOptions()

    @property
    def fingerprint(self) -> str:
        """Keypoints and numbers of the solver."""
        return f"mickey/{self.matcher.fingerprint}/{self.options}"

    def solve(
        self, observations: Sequence[Observations], query: Query, options: LocalizeOptions, seed: int
    ) -> Solution | Reason:
        """See `localize.estimators.base.Estimator`.

        The matches in `observations` are not solved from: they are the independent evidence that the gate judges.
        """
        views = [self.view_of(o.anchor) for o in observations]
        pairings = self.matcher.pair_keypoints(query.pixels, [view.pixels for view in views])
        found = [
            solve_pair(_masked(pairing, view, query), view.anchor.camera, query.camera, self.options, [seed, index])
            for index, (pairing, view) in enumerate(zip(pairings, views, strict=True))
        ]
        poses = [
            None if isinstance(pair, Reason) else _in_world(pair, o.anchor)
            for pair, o in zip(found, observations, strict=True)
        ]
        confidences = [-1.0 if isinstance(pair, Reason) else pair.confidence for pair in found]
        winner = int(np.argmax(confidences))
        best = poses[winner]
        if best is None:
            reasons = [pair for pair in found if isinstance(pair, Reason)]
            return max(set(reasons), key=reasons.count)
        distant = [
            confidence
            for pose, confidence in zip(poses, confidences, strict=True)
            if pose is not None and np.linalg.norm(pose.translation_m - best.translation_m) > options.gate.distant_m
        ]
        fits = tuple(self._fit(o, best, pose, query.camera) for o, pose in zip(observations, poses, strict=True))
        assert best.covariance is not None
        covariance = best.covariance + georeference_covariance(observations, fits, best.translation_m, options.joint)
        share = max(distant, default=0.0) / max(confidences[winner], 1e-9)
        return Solution(best.with_covariance(covariance), fits, share, ScaleSource.DEPTH)

    def _fit(self, o: Observations, best: Pose, single: Pose | None, camera: Camera) -> AnchorFit:
        origin_m = o.anchor.world_from_cam.translation_m
        # Beside the anchor, where numbers are small.
        local = Pose(best.rotation, best.translation_m - origin_m)
        residual = pnp.reprojection_px(local, o.query_rays, o.points_m - origin_m, focal_px(camera))
        agrees = residual < self.options.inlier_px * pixel_scale(camera)
        shift = NAN if single is None else float(np.linalg.norm(single.translation_m - best.translation_m))
        return AnchorFit(agrees, np.where(np.isfinite(residual), residual, NAN), shift)


def _masked(pairing: KeypointPairing, view: AnchorView, query: Query) -> KeypointPairing:
    """The pairing without keypoints on pixels that may not be trusted."""
    trusted = unmasked(pairing.anchor.px, view.mask)[:, None] & unmasked(pairing.query.px, query.mask)[None, :]
    return KeypointPairing(pairing.anchor, pairing.query, np.where(trusted, pairing.weight, 0.0))


def _in_world(pair: RelativePose, anchor: Anchor) -> Pose:
    """world_from_query; the anchor's own covariance is added once for all anchors, by the caller."""
    return anchor.world_from_cam.with_covariance(None) @ pair.query_from_anchor.inverse()
