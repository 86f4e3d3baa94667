"""What a pose is worth: a consider covariance (METHOD §3.4).

The inverse information assumes white noise and is 5–20 times too small: matcher bias, lens model, principal
point and depth errors are smooth over the image, so a thousand matches do not average them away. Those
smooth fields are not estimated but *considered*: each is a small basis with a prior amplitude, pushed
through the linearised estimator, and adds its variance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.so3 import skew

Float = NDArray[np.float64]

FIELD_LENGTH = 0.12
"""Correlation length of the matcher's smooth errors, as a share of the image's long side (60 px of 512,
METHOD §1).
"""

HORIZONTAL_WAVES = 5
VERTICAL_WAVES = 4


def cosine_basis(pixels: NDArray[np.floating], camera: Camera) -> Float:
    """(N, 20) products of cosines over the image, each of unit mean square; column 0 is constant."""
    u = (np.asarray(pixels[:, 0], float) + 0.5) / camera.width
    v = (np.asarray(pixels[:, 1], float) + 0.5) / camera.height
    across = np.stack([_unit_cosine(k, u) for k in range(HORIZONTAL_WAVES)], axis=1)
    down = np.stack([_unit_cosine(k, v) for k in range(VERTICAL_WAVES)], axis=1)
    return (across[:, :, None] * down[:, None, :]).reshape(len(u), -1)


def _unit_cosine(k: int, position: Float) -> Float:
    wave: Float = np.ones_like(position) if k == 0 else np.sqrt(2.0) * np.cos(np.pi * k * position)
    return wave


def wave_amplitudes(camera: Camera) -> Float:
    """(20,) standard deviations of the basis coefficients of a smooth field with unit variance.

    Spectral density of a squared-exponential field of length FIELD_LENGTH, normalised over the basis.
    """
    long_side = float(max(camera.width, camera.height))
    across = np.exp(-0.5 * (np.pi * np.arange(HORIZONTAL_WAVES) * FIELD_LENGTH * long_side / camera.width) ** 2)
    down = np.exp(-0.5 * (np.pi * np.arange(VERTICAL_WAVES) * FIELD_LENGTH * long_side / camera.height) ** 2)
    across[0] /= 2.0  # the constant is one wave, every other frequency stands for two
    down[0] /= 2.0
    variance = (across[:, None] * down[None, :]).ravel()
    amplitude: Float = np.sqrt(variance / variance.sum())
    return amplitude


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


def horizontal_sigma_m(covariance: Float) -> float:
    """68 % radius of the horizontal position error in metres, from a 6×6 covariance with ENU position block.

    For an isotropic error of σ per axis the 68.3 % radius is 1.515 σ; an elongated one tends to 1.0 σ of its
    long axis.
    """
    return horizontal_quantile_m(covariance, 0.683)


def horizontal_quantile_m(covariance: Float, probability: float) -> float:
    """Radius of the circle about the estimate that holds the horizontal error with the given probability.

    Quantile of a weighted sum of two chi-square variables by Gauss–Legendre quadrature over the angle and
    bisection.
    """
    variances = np.maximum(np.linalg.eigvalsh(covariance[:2, :2]), 0.0)
    if variances[1] <= 0.0:
        return 0.0
    nodes, weights = np.polynomial.legendre.leggauss(32)
    angle = (nodes + 1) * np.pi / 4  # a quarter turn: the density is symmetric in both axes
    a, b = np.sqrt(np.maximum(variances, variances[1] * 1e-12))
    precision = np.cos(angle) ** 2 / a**2 + np.sin(angle) ** 2 / b**2
    density = weights * np.pi / 4 * 4 / (2 * np.pi * a * b * precision)
    # The narrow peak of a needle-shaped ellipse escapes the nodes: normalise what they see.
    density = density / density.sum()
    low, high = 0.0, 5.0 * float(b)
    for _ in range(60):
        middle = (low + high) / 2
        inside = float(np.sum(density * (1 - np.exp(-(middle**2) * precision / 2))))
        low, high = (middle, high) if inside < probability else (low, middle)
    return (low + high) / 2


def heading_sigma_deg(covariance: Float) -> float:
    """Standard deviation of the turn about the vertical, degrees."""
    return float(np.degrees(np.sqrt(max(covariance[5, 5], 0.0))))


def at_query(anchor_pose: Pose, anchor_covariance: Float, query_position_m: Float) -> Float:
    """(6, 6) what an anchor's pose covariance means for a camera held rigidly to it at the query's
    position.
    """
    lever = np.eye(6)
    lever[:3, 3:] = -skew(query_position_m - anchor_pose.translation_m)
    moved: Float = lever @ anchor_covariance @ lever.T
    return moved
