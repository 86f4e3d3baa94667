"""What a pose from reprojection errors alone is worth, whatever solver found it: a consider covariance (Schmidt 1966).

The smooth errors of matcher, lens and depth are not estimated but pushed through the linearised solution, and add their
variance to that of the white noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.so3 import skew
from geocorrect.localize.covariance import cosine_basis, wave_amplitudes
from geocorrect.localize.observations import Observations, focal_px
from geocorrect.localize.options import CovarianceOptions, pixel_scale
from geocorrect.localize.solution import AnchorFit

Float = NDArray[np.float64]


def pose_covariance(
    pose: Pose,
    observations: Sequence[Observations],
    points: Sequence[Float],
    fits: Sequence[AnchorFit],
    camera: Camera,
    options: CovarianceOptions,
) -> Float | None:
    """(6, 6) consider covariance of the pose; None where its matches do not fix one.

    Args:
        pose: world_from_cam in the shifted world; its covariance does not feel the shift.
        observations: of every anchor.
        points: (N, 3) of each anchor's matches in the shifted world.
        fits: of every anchor.
        camera: describes the photo's pixels.
        options: amplitudes of the errors.
    """
    focal, scale = focal_px(camera), pixel_scale(camera)
    information = np.zeros((6, 6))
    blocks, query_fields, own = [], [], []
    for o, x, fit in zip(observations, points, fits, strict=True):
        use = fit.inliers
        if not use.any():
            continue
        by_pose, by_point = projection_jacobians(pose, x[use], focal)
        along_ray = o.points_m[use] - o.anchor.world_from_cam.translation_m
        by_log_depth = np.einsum("nij,nj->ni", by_point, along_ray)
        by_depth_noise = by_log_depth * o.log_sigma[use, None]
        noise = (options.white_px * scale) ** 2 * np.eye(2) + np.einsum("ni,nj->nij", by_depth_noise, by_depth_noise)
        weighted = np.linalg.solve(noise, by_pose)
        information += np.einsum("nij,nik->jk", by_pose, weighted)
        blocks.append(weighted.reshape(-1, 6))
        query_fields.append(_pixel_fields(o.query_px[use], camera, o.smooth_noise * scale, scale, options))
        own.append(_anchor_nuisances(o, use, by_point, by_log_depth, options, scale))
    if not blocks:
        return None
    nuisances = [np.concatenate(query_fields), *_block_columns(own)]
    return consider_covariance(information, np.concatenate(blocks), nuisances)


def _pixel_fields(px: Float, camera: Camera, smooth_scale: float, scale: float, options: CovarianceOptions) -> Float:
    """(2N, 40) shifts of the query's pixels: smooth field, its constant part widened by the principal point."""
    basis = cosine_basis(px, camera)
    sigma = options.query_field_px * smooth_scale * wave_amplitudes(camera)
    sigma[0] = options.principal_point_px * scale
    return _both_axes(basis * sigma)


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
    """(2N, K) effects of one anchor's smooth pixel and depth fields, common depth scale, points off rays and pose."""
    basis = cosine_basis(o.anchor_px[use], o.anchor.camera)
    n, waves = basis.shape
    smooth = basis * wave_amplitudes(o.anchor.camera)
    pixel = _both_axes(smooth * options.anchor_field_px * o.smooth_noise * scale)
    depth_sigma = options.depth_field_share * o.log_sigma[use]
    depth = (by_log_depth[:, :, None] * (smooth * depth_sigma[:, None])[:, None, :]).reshape(2 * n, waves)
    common = (by_log_depth * o.common_log_sigma).reshape(2 * n, 1)
    offset = o.points_m[use] - o.anchor.world_from_cam.translation_m
    turn = np.cross(np.eye(3)[None, :, :], offset[:, None, :])  # δX for unit turns about each axis
    by_turn = np.einsum("nij,nkj->nik", by_point, turn) * np.radians(options.anchor_rotation_deg)
    by_move = by_point * options.anchor_position_m
    pose = np.concatenate([by_move, by_turn], axis=2).reshape(2 * n, 6)
    # What points miss their matches' rays by is seen, and mostly smooth: another focal length, a turn.
    across = np.nan_to_num(o.points_m - o.on_rays().points_m)[use]
    miss = np.einsum("nij,nj->ni", by_point, across).reshape(2 * n, 1)
    return np.concatenate([pixel, depth, common, miss, pose], axis=1)


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
