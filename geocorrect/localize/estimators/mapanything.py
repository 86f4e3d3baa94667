"""The query's world pose from MapAnything: anchors of known pose and the query in one pass, no matches.

The network answers in the frame of its first view. A similarity over the anchors takes that frame into the world; how
far their predicted poses stay from the known ones, and how far the answers with another first view stay apart, is the
evidence. Meant where matches are few, and as a start for the joint estimator where there are some.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geocorrect.errors import Reason
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose, rotation_angle_deg
from geocorrect.geometry.similarity import PoseSimilarityFit, fit_pose_similarity
from geocorrect.localize import pnp
from geocorrect.localize.covariance import georeference_covariance
from geocorrect.localize.estimators.options import MapAnythingPoseOptions
from geocorrect.localize.joint.estimate import solve_joint
from geocorrect.localize.observations import Observations, focal_px
from geocorrect.localize.options import LocalizeOptions, pixel_scale
from geocorrect.localize.solution import AnchorFit, Solution
from geocorrect.networks.mapanything.photo_view import DepthHints, PhotoView, ScenePoses
from geocorrect.records import NAN, Anchor, AnchorView, DepthMap, Query, ScaleSource

Float = NDArray[np.float64]


class PoseNetwork(Protocol):
    """What predicts: `networks.mapanything.engine.MapAnythingEngine`, or a stand-in."""

    fingerprint: str

    def poses(self, views: Sequence[PhotoView]) -> ScenePoses:
        """Poses of all views in the frame of the first, in metres."""
        ...


@dataclass(frozen=True, eq=False)
class NetworkPose:
    """A predicted world pose and what speaks for it."""

    world_from_cam: Pose
    """With a 6×6 covariance that holds residuals, spread of the passes and the assumed floors."""
    residual_m: float
    """Root mean square distance of the anchors' transformed predicted centres from the known ones; nan for one anchor.
    Poses were given to the network, so this is a lower bound of its error at the query.
    """
    residual_deg: float
    """The same for rotations, degrees."""
    scale_ratio: float
    """Known over predicted distances between anchors; nan where they do not fix it."""
    spread_m: float
    """Largest distance of a pass's answer from the mean of all; nan for one pass."""
    spread_deg: float
    """The same for rotations, degrees."""
    n_anchors: int
    """Anchors that the network saw."""


def estimate_pose(
    query: Query,
    anchors: Sequence[AnchorView],
    network: PoseNetwork,
    options: MapAnythingPoseOptions | None = None,
    depths: Sequence[DepthMap | None] = (),
) -> NetworkPose | Reason:
    """Where the network sees the query, in the anchors' world, or the Reason why it does not.

    anchors: best first. depths: measured depth of the anchors, in their order; empty: none. A lone anchor gives a pose
    whose scale is the network's own.
    """
    options = options or MapAnythingPoseOptions()
    if not np.isfinite(query.camera.focal_x_px):
        return Reason.CAMERA_UNSUPPORTED
    depths = depths or [None] * len(anchors)
    shown = [
        PhotoView(view.pixels, view.anchor.camera, view.anchor.world_from_cam, _hints(depth))
        for view, depth in zip(anchors, depths, strict=True)
        if np.isfinite(view.anchor.camera.focal_x_px)
    ][: options.max_anchors]
    if not shown:
        return Reason.NO_ANCHOR_NEARBY
    is_lens_known = query.camera.focal_sigma <= options.max_focal_sigma
    asked = PhotoView(query.pixels, query.camera if is_lens_known else None)
    answers = []
    for first in range(min(options.passes, len(shown))):
        order = [shown[first], *shown[:first], *shown[first + 1 :]]
        known = [view.world_from_cam for view in order if view.world_from_cam is not None]
        *predicted, first_from_query = network.poses([*order, asked]).first_from_view
        answers.append((fit_pose_similarity(known, predicted, options.weights), first_from_query))
    return _combined(answers, [view.world_from_cam for view in shown if view.world_from_cam is not None], options)


def _combined(
    answers: Sequence[tuple[PoseSimilarityFit, Pose]], known: Sequence[Pose], options: MapAnythingPoseOptions
) -> NetworkPose | Reason:
    """Mean of the passes, with its evidence."""
    limit = np.log(options.max_scale_error)
    if any(abs(np.log(fit.target_from_source.scale)) > limit for fit, _ in answers):
        return Reason.SCALE_DISAGREES
    poses = [fit.target_from_source.apply_pose(first_from_query) for fit, first_from_query in answers]
    mean = _mean_pose(poses)
    several = len(poses) > 1
    fits = [fit for fit, _ in answers]
    is_checked = len(known) > 1
    residual_m = _rms([fit.centre_residual_m for fit in fits]) if is_checked else NAN
    residual_deg = _rms([fit.rotation_residual_deg for fit in fits]) if is_checked else NAN
    spread_m = max(float(np.linalg.norm(p.translation_m - mean.translation_m)) for p in poses) if several else NAN
    spread_deg = max(rotation_angle_deg(p.rotation, mean.rotation) for p in poses) if several else NAN
    is_scale_known = all(fit.is_scale_known for fit in fits)
    nearest_m = min(float(np.linalg.norm(pose.translation_m - mean.translation_m)) for pose in known)
    distance_m = nearest_m * (options.scale_sigma if is_scale_known else options.lone_scale_sigma)
    position_m = np.linalg.norm(np.nan_to_num([options.position_sigma_m, residual_m, spread_m, distance_m]))
    rotation_rad = np.radians(np.linalg.norm(np.nan_to_num([options.rotation_sigma_deg, residual_deg, spread_deg])))
    covariance = np.diag([position_m**2] * 3 + [rotation_rad**2] * 3)
    scales = [fit.target_from_source.scale for fit in fits]
    return NetworkPose(
        world_from_cam=mean.with_covariance(covariance),
        residual_m=residual_m,
        residual_deg=residual_deg,
        scale_ratio=float(np.exp(np.mean(np.log(scales)))) if is_scale_known else NAN,
        spread_m=spread_m,
        spread_deg=spread_deg,
        n_anchors=len(known),
    )


def as_solution(
    found: NetworkPose, observations: Sequence[Observations], camera: Camera, options: LocalizeOptions
) -> Solution:
    """The pose as the gate judges it: with the matches, lifted by depth, that agree with it.

    The pose is not fitted to them; without agreeing matches the gate has nothing to accept it on.
    """
    tolerance_px, focal = options.pnp.max_reprojection_px * pixel_scale(camera), focal_px(camera)
    fits = []
    for o in observations:
        residual = pnp.reprojection_px(found.world_from_cam, o.query_rays, o.points_m, focal)
        fits.append(AnchorFit(residual < tolerance_px, np.where(np.isfinite(residual), residual, NAN)))
    is_scale_known = np.isfinite(found.scale_ratio)
    pose = found.world_from_cam
    assert pose.covariance is not None
    covariance = pose.covariance + georeference_covariance(observations, fits, pose.translation_m, options.joint)
    return Solution(
        pose.with_covariance(covariance),
        tuple(fits),
        alternative_share=0.0,
        scale_source=ScaleSource.BASELINES if is_scale_known else ScaleSource.DEPTH,
    )


class MapAnythingEstimator:
    """Estimator from the network's own pose: a start for the joint estimator, an answer where matches give none."""

    def __init__(
        self,
        network: PoseNetwork,
        view_of: Callable[[Anchor], AnchorView],
        options: MapAnythingPoseOptions | None = None,
    ) -> None:
        """view_of: reads an anchor's pixels; raises InputError naming the file."""
        self.network, self.view_of = network, view_of
        self.options = options or MapAnythingPoseOptions()

    @property
    def fingerprint(self) -> str:
        """Network and numbers."""
        return f"mapanything/{self.network.fingerprint}/{self.options}"

    def solve(
        self, observations: Sequence[Observations], query: Query, options: LocalizeOptions, seed: int
    ) -> Solution | Reason:
        """See `localize.estimators.base.Estimator`."""
        found = estimate_pose(query, [self.view_of(o.anchor) for o in observations], self.network, self.options)
        if isinstance(found, Reason):
            return found
        guess = found.world_from_cam.with_covariance(None)
        solved = solve_joint(observations, query.camera, options, seed, query.reported_enu_m, guesses=(guess,))
        return as_solution(found, observations, query.camera, options) if isinstance(solved, Reason) else solved


def _hints(depth: DepthMap | None) -> DepthHints | None:
    return None if depth is None else DepthHints.from_map(depth)


def _mean_pose(poses: Sequence[Pose]) -> Pose:
    from scipy.spatial.transform import Rotation

    if len(poses) == 1:
        return poses[0]
    rotation = Rotation.concatenate([pose.rotation for pose in poses]).mean()
    return Pose(rotation, np.mean([pose.translation_m for pose in poses], axis=0))


def _rms(residuals: Sequence[Float]) -> float:
    return float(np.sqrt(np.mean(np.concatenate(residuals) ** 2)))
