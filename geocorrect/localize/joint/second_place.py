"""A second place that matches of one anchor agree on: vehicles that moved together, another copy of a façade.

Of several anchors, taken at other times and from other places, the one place that all agree on is that of the static
scene. A lone anchor's matches may agree on two, and which of them is static, their number does not tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.tangent import unit_rays
from geocorrect.localize import pnp
from geocorrect.localize.gate import SUPPORTING_INLIERS
from geocorrect.localize.observations import Observations, focal_px
from geocorrect.localize.options import LocalizeOptions, pixel_scale
from geocorrect.localize.verify import coverage

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

FAR_M, FAR_SIGMAS2 = 0.3, 16.3
"""Places that are closer are one: in metres, and as a squared distance under both errors (99.9 % of χ²₃), that of the
second as much larger as its matches are fewer. Noise of the depth makes such pairs."""
MIN_SHARE = 0.15
"""Matches that only the second place explains, over those that only the first does: fewer mean nothing."""
REST_SHARE = 0.4
"""It explains so much of what the first place leaves over: mismatches agree with a pose by chance, but few do."""
MIN_BEARINGS, MIN_BEARING_COVERAGE = 40, 0.04
"""Matches that the first place cannot explain at any depth, and the share of the photo that they lie on. One anchor of
KITTI raw 0002, SIFT: at most 50 mismatches, none with a place in common; 30–70 % of traffic: 78–870, which have one."""
NEAREST_M = 1.0
"""Nothing that is matched is closer to the photo."""


@dataclass(frozen=True, eq=False)
class SecondPlace:
    """Where else the photo may have been taken."""

    share: float
    """Matches that only this place explains, over those that only the first does, at most 1; 1 where its distance is
    not known."""
    spread: Float
    """(6, 6) to be added to the pose's covariance: the mean square of both places, equally likely, about the first; 0
    where the distance is not known."""


def second_place(
    observations: Sequence[Observations],
    pose: Pose,
    origin_m: Float,
    camera: Camera,
    options: LocalizeOptions,
    seed: int,
) -> SecondPlace | None:
    """Another place that many matches agree on which `pose` does not explain; None where there is none.

    Args:
        observations: of anchors that cannot contradict each other.
        pose: in the world shifted by origin_m, with covariance.
        origin_m: (3,).
        camera: of the photo, as the matches have it.
        options: of the method.
        seed: of the RANSAC.
    """
    found = _by_depth(observations, pose, origin_m, camera, options, seed)
    if found is None and any(_by_bearings(o, pose, origin_m, camera, options, seed) for o in observations):
        return SecondPlace(1.0, np.zeros((6, 6)))
    return found


def _by_depth(
    observations: Sequence[Observations],
    pose: Pose,
    origin_m: Float,
    camera: Camera,
    options: LocalizeOptions,
    seed: int,
) -> SecondPlace | None:
    """The pose that most of the lifted matches give which the first one does not explain."""
    rays = np.concatenate([unit_rays(camera, o.query_px) for o in observations])
    points = np.concatenate([o.points_m - origin_m for o in observations])
    lifted = np.isfinite(points).all(axis=1)
    rays, points, focal = rays[lifted], points[lifted], focal_px(camera)
    tolerance_px = options.joint.single_px * pixel_scale(camera)

    def explained(by: Pose) -> Bool:
        return pnp.reprojection_px(by, rays, points, focal) < tolerance_px

    first = explained(pose)
    if (~first).sum() < SUPPORTING_INLIERS:
        return None
    draws = replace(options.pnp, max_iterations=options.joint.hypothesis_iterations)
    other = pnp.absolute_pose(rays[~first], points[~first], focal, tolerance_px, draws, seed)
    if other is None:
        return None
    second = explained(other.world_from_cam)
    count, first_count = int((second & ~first).sum()), int((first & ~second).sum())
    share, shift = count / max(first_count, 1), other.world_from_cam.minus(pose)
    assert pose.covariance is not None
    both = pose.covariance[:3, :3] * (1.0 + 1.0 / max(share, MIN_SHARE))
    is_far = np.linalg.norm(shift[:3]) > FAR_M and shift[:3] @ np.linalg.solve(both, shift[:3]) > FAR_SIGMAS2
    if not is_far or count < max(SUPPORTING_INLIERS, REST_SHARE * (~first).sum()) or share < MIN_SHARE:
        return None
    return SecondPlace(min(share, 1.0), np.outer(shift, shift) / 2.0)


def _by_bearings(
    o: Observations, pose: Pose, origin_m: Float, camera: Camera, options: LocalizeOptions, seed: int
) -> bool:
    """Whether many matches, verified or not, that `pose` cannot explain at any depth have a relative pose in common."""
    query_px = np.concatenate([o.query_px, o.dropped.query_px])
    seen = np.concatenate([o.anchor_rays, unit_rays(o.anchor.camera, o.dropped.anchor_px)])
    rays, focal = unit_rays(camera, query_px), focal_px(camera)
    ahead, towards = pose.rotation.apply(rays), o.anchor.world_from_cam.rotation.apply(seen)
    between_m = pose.translation_m + origin_m - o.anchor.world_from_cam.translation_m
    tolerance_px = options.joint.single_px / 2 * pixel_scale(camera)
    left = _least_angle(ahead, towards, between_m) * focal > tolerance_px
    if left.sum() < MIN_BEARINGS:
        return False
    px = options.verify.max_epipolar_px
    found = pnp.relative_pose(rays[left], seen[left], focal / pixel_scale(camera), px, options.pnp.max_iterations, seed)
    if found is None:
        return False
    common = found[1]
    covered = coverage(query_px[left][common], camera)
    return bool(common.sum() >= max(MIN_BEARINGS, REST_SHARE * left.sum()) and covered >= MIN_BEARING_COVERAGE)


def _least_angle(ahead: Float, towards: Float, between_m: Float) -> Float:
    """(N,) least angle in rad between what an anchor sees and the points of the photo's rays.

    Args:
        ahead: (N, 3) unit rays of the photo, in the world.
        towards: (N, 3) those of the anchor.
        between_m: (3,) from the anchor to the photo.
    """
    # cos = (c + λd)·a / |c + λd| is largest where its derivative is 0, at the nearest point, or at infinity.
    da, dc, ac = (ahead * towards).sum(axis=1), ahead @ between_m, towards @ between_m
    with np.errstate(divide="ignore", invalid="ignore"):
        best_m = (ac * dc - da * (between_m @ between_m)) / (da * dc - ac)
    best_m = np.clip(np.nan_to_num(best_m, nan=NEAREST_M), NEAREST_M, 1e6)
    cosines = [da]
    for distance_m in (best_m, np.full(len(ahead), NEAREST_M)):
        point = between_m + distance_m[:, None] * ahead
        cosines.append((point * towards).sum(axis=1) / np.linalg.norm(point, axis=1))
    angle: Float = np.arccos(np.clip(np.max(cosines, axis=0), -1.0, 1.0))
    return angle
