"""What the uncertain motion of a rolling shutter does to the pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.localize.observations import Observations
from geocorrect.localize.rolling.mid_exposure import exposed_s, meeting_distances
from geocorrect.localize.solution import Solution
from geocorrect.records import CameraMotion, Query

Float = NDArray[np.float64]


def with_motion_error(
    solution: Solution, observations: Sequence[Observations], query: Query, motion: CameraMotion
) -> Solution:
    """The solution with the uncertainty of the photo's motion added to its covariance."""
    pose = solution.world_from_cam
    assert pose.covariance is not None
    sigma = np.repeat([motion.velocity_sigma_m_s, motion.turn_sigma_rad_s], 3)
    root = pose_by_motion(solution, observations, query) * sigma
    return replace(solution, world_from_cam=pose.with_covariance(pose.covariance + root @ root.T))


def pose_by_motion(solution: Solution, observations: Sequence[Observations], query: Query) -> Float:
    """(6, 6) by how much the pose errs per unit error of velocity and rotation rate, up to the sign.

    A pose that is off by δ moves the ray of a point by J·δ; a motion that is off by μ moves it by J·μτ, as the pose of
    its row is off by μτ. Least squares over the inliers give δ = (ΣJᵀJ)⁻¹ ΣτJᵀJ · μ.
    """
    pose = solution.world_from_cam
    normal, weighted = np.zeros((6, 6)), np.zeros((6, 6))
    for o, fit in zip(observations, solution.fits, strict=True):
        inliers = o.subset(np.flatnonzero(fit.inliers))
        anchor = inliers.anchor.world_from_cam
        rays = pose.rotation.apply(inliers.query_rays)
        baseline_m = anchor.translation_m - pose.translation_m
        met_m, _ = meeting_distances(rays, anchor.rotation.apply(inliers.anchor_rays), baseline_m)
        lifted_m = np.linalg.norm(inliers.points_m - pose.translation_m, axis=1)
        distance_m = np.where(np.isfinite(lifted_m), lifted_m, met_m)
        across = np.eye(3) - rays[:, :, None] * rays[:, None, :]
        by_shift = -across / distance_m[:, None, None]
        by_turn = np.cross(rays[:, None, :], np.eye(3)).swapaxes(1, 2)
        by_pose = np.nan_to_num(np.concatenate([by_shift, by_turn], axis=2))
        late_s = exposed_s(query.camera, inliers.query_px)
        normal += np.einsum("nki,nkj->ij", by_pose, by_pose)
        weighted += np.einsum("n,nki,nkj->ij", late_s, by_pose, by_pose)
    found: Float = np.linalg.pinv(normal) @ weighted
    return found
