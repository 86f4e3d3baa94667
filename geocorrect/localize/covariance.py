"""What errors that are smooth over an image look like, and what a pose covariance means (`docs/method.md`).

Matcher bias, lens model, principal point and depth err smoothly, so a thousand matches do not average them away: a
covariance that takes them for white noise is 5–20 times too small. A smooth error is a short cosine series with a prior
amplitude per wave.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.so3 import skew
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import JointOptions
from geocorrect.localize.solution import AnchorFit
from geocorrect.records import Anchor

Float = NDArray[np.float64]

FIELD_LENGTH = 0.12
"""Correlation length of the matcher's smooth errors, as a share of the image's long side (60 px of 512)."""

HORIZONTAL_WAVES = 5
VERTICAL_WAVES = 4
PROBABILITY = 0.683
"""Of the predicted error that results state."""


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


def horizontal_sigma_m(covariance: Float) -> float:
    """68 % radius of the horizontal position error in metres, from a 6×6 covariance with ENU position block.

    The circle about the estimate contains the true place with that probability: 1.515 σ for an isotropic error of σ per
    axis, tending to 1.0 σ of the long axis for an elongated one. Quantile of a weighted sum of two chi-square
    variables, by Gauss–Legendre quadrature over the angle and bisection.
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
        low, high = (middle, high) if inside < PROBABILITY else (low, middle)
    return (low + high) / 2


def heading_sigma_deg(covariance: Float) -> float:
    """Standard deviation of the rotation about the vertical, degrees."""
    return float(np.degrees(np.sqrt(max(covariance[5, 5], 0.0))))


def record_noise_of(anchor: Anchor, options: JointOptions) -> tuple[float, float]:
    """Noise of an anchor's recorded pose relative to others, metres and degrees: stated, else found, else usual."""
    if anchor.noise is None or options.is_noise_stated:
        return options.anchor_noise
    return anchor.noise.position_m, anchor.noise.rotation_deg


def mounting_covariance(observations: Sequence[Observations], options: JointOptions, record_noise: float) -> Float:
    """(6, 6) of the rotation that all anchors of a drive have in common; record_noise: as in `Solution`.

    Anchors that agree with each other to less than usual say nothing about it.
    """
    rotations_deg = [record_noise_of(o.anchor, options)[1] for o in observations]
    usual_deg = 0.0 if options.is_noise_stated else options.anchor_noise[1]
    sigma_rad = np.radians(options.shared_rotation * max(usual_deg, *rotations_deg)) * record_noise
    return np.diag([0.0] * 3 + [sigma_rad**2] * 3)


def georeference_covariance(
    observations: Sequence[Observations], fits: Sequence[AnchorFit], position_m: Float, options: JointOptions
) -> Float:
    """(6, 6) the anchors' own pose covariance for a camera held rigidly to them at position_m (3,).

    Common to neighbouring anchors, so averaged by their inliers, not divided; with it what was found that the anchors
    of a drive err by alike, unless the options state the noise. Zero where no anchor carries a covariance (the catalog
    then says so by the alignment's missing covariance).
    """
    total, weight = np.zeros((6, 6)), 0.0
    for o, fit in zip(observations, fits, strict=True):
        anchor_pose, noise = o.anchor.world_from_cam, None if options.is_noise_stated else o.anchor.noise
        if anchor_pose.covariance is None and noise is None:
            continue
        covariance = np.zeros((6, 6)) if anchor_pose.covariance is None else anchor_pose.covariance
        if noise is not None:
            covariance = covariance + noise.common
        lever = np.eye(6)
        lever[:3, 3:] = -skew(position_m - anchor_pose.translation_m)
        share = float(fit.inliers.sum())
        total += share * (lever @ covariance @ lever.T)
        weight += share
    return total / weight if weight > 0 else total
