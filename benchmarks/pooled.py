"""A rival of the joint estimator: one absolute pose from the lifted matches of all anchors, by PoseLib's LO-RANSAC.

Depth is taken as it is, which suits measured depth (LiDAR). The covariance is a consider covariance: the smooth errors
of matcher, lens and depth are not estimated but pushed through the linearised estimator, and add their variance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geocorrect.errors import Reason
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.so3 import skew
from geocorrect.localize import pnp
from geocorrect.localize.covariance import cosine_basis, georeference_covariance, wave_amplitudes
from geocorrect.localize.observations import Observations, focal_px
from geocorrect.localize.options import CovarianceOptions, LocalizeOptions, pixel_scale
from geocorrect.localize.solution import AnchorFit, Solution
from geocorrect.records import NAN, ScaleSource

Float = NDArray[np.float64]


def solve_pooled(
    observations: Sequence[Observations], camera: Camera, options: LocalizeOptions, seed: int
) -> Solution | Reason:
    """Best pose of `camera` given the anchors' lifted matches, or the Reason why there is none."""
    lifted = [o.has_depth for o in observations]
    if sum(int(mask.sum()) for mask in lifted) < options.pnp.min_points:
        return Reason.TOO_FEW_POINTS
    origin_m = np.mean([o.anchor.world_from_cam.translation_m for o in observations], axis=0)
    points = [o.points_m - origin_m for o in observations]
    focal = focal_px(camera)
    tolerance_px = options.pnp.max_reprojection_px * pixel_scale(camera)

    rays_pool = np.concatenate([o.query_rays for o in observations])
    points_pool = np.concatenate(points)
    pooled = pnp.absolute_pose(rays_pool, points_pool, focal, tolerance_px, options.pnp, seed)
    singles = [
        pnp.absolute_pose(o.query_rays, p, focal, tolerance_px, options.pnp, seed)
        for o, p in zip(observations, points, strict=True)
    ]
    hypotheses = [h.world_from_cam for h in (pooled, *singles) if h is not None]
    if not hypotheses:
        return Reason.TOO_FEW_INLIERS
    support = [int((pnp.reprojection_px(h, rays_pool, points_pool, focal) < tolerance_px).sum()) for h in hypotheses]
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
    covariance = _covariance(best, observations, points, fits, camera, options.covariance)
    if covariance is None:
        return Reason.DEGENERATE_GEOMETRY
    position_m = best.translation_m + origin_m
    covariance = covariance + georeference_covariance(observations, fits, position_m)
    pose = Pose(best.rotation, position_m, covariance)
    return Solution(pose, tuple(fits), max(distant, default=0) / max(support), ScaleSource.DEPTH)


def _covariance(
    pose: Pose,
    observations: Sequence[Observations],
    points: Sequence[Float],
    fits: Sequence[AnchorFit],
    camera: Camera,
    options: CovarianceOptions,
) -> Float | None:
    """Consider covariance of the pose, in the shifted world (translation and rotation blocks do not feel the
    shift).
    """
    focal, scale = focal_px(camera), pixel_scale(camera)
    information = np.zeros((6, 6))
    blocks, query_fields, own = [], [], []
    for o, x, fit in zip(observations, points, fits, strict=True):
        use = fit.inliers
        if not use.any():
            continue
        by_pose, by_point = projection_jacobians(pose, x[use], focal)
        along_ray = (o.anchor_rays[use] / o.anchor_rays[use, 2:] * o.depth_m[use, None]) @ (
            o.anchor.world_from_cam.rotation.as_matrix().T
        )
        by_log_depth = np.einsum("nij,nj->ni", by_point, along_ray)
        by_depth_noise = by_log_depth * o.log_sigma[use, None]
        noise = (options.white_px * scale) ** 2 * np.eye(2) + np.einsum("ni,nj->nij", by_depth_noise, by_depth_noise)
        weighted = np.linalg.solve(noise, by_pose)
        information += np.einsum("nij,nik->jk", by_pose, weighted)
        blocks.append(weighted.reshape(-1, 6))
        query_fields.append(_pixel_fields(o.query_px[use], camera, scale, options))
        own.append(_anchor_nuisances(o, use, by_point, by_log_depth, options, scale))
    if not blocks:
        return None
    nuisances = [np.concatenate(query_fields), *_block_columns(own)]
    return consider_covariance(information, np.concatenate(blocks), nuisances)


def _pixel_fields(px: Float, camera: Camera, scale: float, options: CovarianceOptions) -> Float:
    """(2N, 40) shifts of the query's pixels: smooth field, its constant part widened by the principal point."""
    basis = cosine_basis(px, camera)
    sigma = options.query_field_px * wave_amplitudes(camera)
    sigma[0] = options.principal_point_px
    return _both_axes(basis * sigma * scale)


def _both_axes(field: Float) -> Float:
    """(2N, 2K): the same scalar field for u and for v, independently."""
    n, k = field.shape
    both = np.zeros((n, 2, 2 * k))
    both[:, 0, :k] = field
    both[:, 1, k:] = field
    return both.reshape(2 * n, 2 * k)


def _anchor_nuisances(
    o: Observations,
    use: NDArray[np.bool_],
    by_point: Float,
    by_log_depth: Float,
    options: CovarianceOptions,
    scale: float,
) -> Float:
    """(2N, K) effects of one anchor's smooth pixel field, smooth depth field, common depth scale and pose error."""
    basis = cosine_basis(o.anchor_px[use], o.anchor.camera)
    n, waves = basis.shape
    smooth = basis * wave_amplitudes(o.anchor.camera)
    pixel = _both_axes(smooth * options.anchor_field_px * scale)
    depth_sigma = options.depth_field_share * o.log_sigma[use]
    depth = (by_log_depth[:, :, None] * (smooth * depth_sigma[:, None])[:, None, :]).reshape(2 * n, waves)
    common = (by_log_depth * o.common_log_sigma).reshape(2 * n, 1)
    offset = o.points_m[use] - o.anchor.world_from_cam.translation_m
    turn = np.cross(np.eye(3)[None, :, :], offset[:, None, :])  # δX for unit turns about each axis
    by_turn = np.einsum("nij,nkj->nik", by_point, turn) * np.radians(options.anchor_rotation_deg)
    by_move = by_point * options.anchor_position_m
    pose = np.concatenate([by_move, by_turn], axis=2).reshape(2 * n, 6)
    return np.concatenate([pixel, depth, common, pose], axis=1)


def _block_columns(own: Sequence[Float]) -> list[Float]:
    """Each anchor's nuisances as columns over the rows of all anchors (zero outside its own rows)."""
    rows = np.cumsum([0, *(len(b) for b in own)])
    columns = []
    for k, block in enumerate(own):
        full = np.zeros((rows[-1], block.shape[1]))
        full[rows[k] : rows[k + 1]] = block
        columns.append(full)
    return columns


def projection_jacobians(world_from_cam: Pose, points_m: Float, focal_px: float) -> tuple[Float, Float]:
    """Derivatives of (x/z, y/z)·focal of world points (N, 3).

    Returns (by_pose (N, 2, 6) for a world-side perturbation (m, rad), by_point (N, 2, 3) per metre in the
    world).
    """
    r = world_from_cam.rotation.as_matrix()
    offset = points_m - world_from_cam.translation_m
    x, y, z = (offset @ r).T
    by_cam = np.zeros((len(points_m), 2, 3))
    by_cam[:, 0, 0] = by_cam[:, 1, 1] = focal_px / z
    by_cam[:, 0, 2] = -focal_px * x / z**2
    by_cam[:, 1, 2] = -focal_px * y / z**2
    by_point = by_cam @ r.T
    by_pose = np.concatenate([-by_point, by_point @ skew(offset)], axis=2)
    return by_pose, by_point


def consider_covariance(information: Float, weighted_jacobian: Float, nuisances: Sequence[Float]) -> Float | None:
    """(D, D) covariance H⁻¹ + Σ (H⁻¹ AᵀB)(…)ᵀ; None when the information is singular.

    information: H (D, D). weighted_jacobian: A = W J, (M, D), with W the inverse noise covariance of the residuals.
    nuisances: matrices B (M, K), the residual's derivative by each considered parameter times that
    parameter's sigma.
    """
    if not np.isfinite(information).all() or np.linalg.cond(information) > 1e14:
        return None
    inverse = np.linalg.inv(information)
    total = inverse.copy()
    for nuisance in nuisances:
        shift = inverse @ (weighted_jacobian.T @ nuisance)
        total += shift @ shift.T
    symmetric: Float = (total + total.T) / 2.0
    return symmetric
