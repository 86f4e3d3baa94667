"""A second place that matches agree on: vehicles that moved together, another copy of a façade.

A lone anchor's matches may agree on two places, and which of them is static, their number does not tell. Several
anchors, taken at other times, see a vehicle at several places, unless it moved along with them and its distance comes
from their own baselines: one that kept half their pace looks twice as far and standing, from all of them, and a photo
beside their way is put off by as much. So two records must agree on the second place, to a finer scale.
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
from geocorrect.localize.independence import count_records
from geocorrect.localize.observations import Observations, focal_px
from geocorrect.localize.options import LocalizeOptions, pixel_scale
from geocorrect.localize.verify import coverage, per_cell

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

FAR_M, FAR_SIGMAS2 = 0.3, 16.3
"""Places that are closer are one: in metres, and as a squared distance under both errors (99.9 % of χ²₃), that of the
second as much larger as its matches are fewer. Noise of the depth makes such pairs."""
SEVERAL_FAR_M, SEVERAL_FINER = 0.1, (2.0, 4.0)
"""The same in metres where several records agree, and by what the tolerance in pixels is divided there, in turn: what
kept a quarter of the pace is a few pixels off."""
MIN_SHARE = 0.15
"""Matches that only the second place explains, over those that only the first does: fewer mean nothing."""
REST_SHARE = 0.4
"""It explains so much of what the first place leaves over: mismatches agree with a pose by chance, but few do."""
MIN_BEARINGS, MIN_COVERAGE = 40, 0.04
"""Matches that the first place cannot explain at any depth, and the share of the photo that they lie on. One anchor of
KITTI raw 0002, SIFT: at most 50 mismatches, none with a place in common; 30–70 % of traffic: 78–870, which have one.
Of several records that agree, no share is asked, but as many matches on as much of the photo, at the anchors' depths:
a queue leaves 1–5 % of them to the street."""
COPY_SHARE = 0.25
"""What only the first place explains in the cells of the photo where the second one's matches lie outnumbers them on a
façade that repeats itself: street and vehicles are apart, a copy is on the same wall, whose own matches are more. Up to
this share they are those of a copy. KITTI with drawn walls and vehicles: 0.12–0.22 right, 0.35 wrong; vehicles apart.
"""
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
    several: bool = False,
) -> SecondPlace | None:
    """Another place that many matches, verified or not, agree on which `pose` does not explain; None where there is
    none.

    Args:
        observations: of the anchors that support the pose.
        pose: in the world shifted by origin_m, with covariance.
        origin_m: (3,).
        camera: of the photo, as the matches have it.
        options: of the method.
        seed: of the RANSAC.
        several: they can contradict each other, so two of their records have to agree on the place.
    """
    if several or count_records([o.anchor for o in observations]) > 1:
        finer = (_by_depth(observations, pose, origin_m, camera, options, seed, finer) for finer in SEVERAL_FINER)
        agreed = next((found for found in finer if found is not None), None)
        if several or agreed is not None:
            return agreed
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
    several_finer: float = 0.0,
) -> SecondPlace | None:
    """The pose that most of the lifted matches give which the first one does not explain.

    several_finer: over 0 where two records have to agree on it; the tolerance in pixels is divided by it.
    """
    query_px = np.concatenate([np.concatenate([o.query_px, o.dropped.query_px]) for o in observations])
    points = np.concatenate([np.concatenate([o.points_m, o.dropped_points_m]) - origin_m for o in observations])
    source = np.repeat(np.arange(len(observations)), [len(o) + len(o.dropped) for o in observations])
    lifted = np.isfinite(points).all(axis=1)
    rays, points, source, focal = unit_rays(camera, query_px[lifted]), points[lifted], source[lifted], focal_px(camera)
    tolerance_px = options.joint.single_px * pixel_scale(camera) / (several_finer or 1.0)

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
    far_m = SEVERAL_FAR_M if several_finer else FAR_M
    is_far = np.linalg.norm(shift[:3]) > far_m and shift[:3] @ np.linalg.solve(both, shift[:3]) > FAR_SIGMAS2
    if not is_far or count < max(SUPPORTING_INLIERS, REST_SHARE * (~first).sum()):
        return None
    if several_finer:
        by_anchor = np.bincount(source[second & ~first], minlength=len(observations))
        agreed = [o.anchor for o, mine in zip(observations, by_anchor, strict=True) if mine >= SUPPORTING_INLIERS]
        px = query_px[lifted]
        its, others = per_cell(px[second & ~first], camera), per_cell(px[first & ~second], camera)
        is_copy = its.sum() < others[its > 0].sum() and share < COPY_SHARE
        if count_records(agreed) < 2 or count < MIN_BEARINGS or (its > 0).mean() < MIN_COVERAGE or is_copy:
            return None
    elif share < MIN_SHARE:
        return None
    spread = np.outer(shift, shift) / 2.0
    if share < MIN_SHARE:
        # How far the other place is, so few matches tell roughly, in which direction hardly.
        spread[:3, :3] = np.eye(3) * (shift[:3] @ shift[:3]) / 2.0
    return SecondPlace(min(share, 1.0), spread)


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
    return bool(common.sum() >= max(MIN_BEARINGS, REST_SHARE * left.sum()) and covered >= MIN_COVERAGE)


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
