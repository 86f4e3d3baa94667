"""What a motion between two clouds of predicted depth is worth: random errors of the points, and what they share.

Depth errors of a network are smooth over an image and have a common scale, so thousands of pairs are worth a few
dozen; the common scale stretches the translation and no residual shows it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.so3 import skew

Float = NDArray[np.float64]

MAX_CONDITION = 1e8
"""Of the normal matrix in metres and radians; points on a line leave a rotation open."""


@dataclass(frozen=True)
class DepthErrorOptions:
    """How depths predicted by one network err, as standard deviations of log depth. Not measured: no weights ran."""

    common_log_sigma: float = 0.3
    """Scale error that both images of a pair share: the network's own."""
    image_log_sigma: float = 0.1
    """Scale error of each image by itself."""
    independent_patches: int = 30
    """Independent errors in an image: more pairs than this do not average any further."""


def motion_covariance(
    rotation: Float, translation_m: Float, source_m: Float, target_m: Float, support: int, options: DepthErrorOptions
) -> Float | None:
    """(6, 6) covariance of `target = R source + t`, order (translation m, rotation rad), on the target's side.

    Args:
        rotation: (3, 3).
        translation_m: (3,).
        source_m: (K, 3) points of the agreeing pairs.
        target_m: (K, 3).
        support: how many of the pairs share no point.
        options: errors of the depths.

    Returns:
        None where the points fix no motion (fewer than three, or all on a line).
    """
    turned = source_m @ rotation.T
    jacobian = np.concatenate([np.broadcast_to(np.eye(3), (len(turned), 3, 3)), -skew(turned)], axis=2)
    normal = np.einsum("nij,nik->jk", jacobian, jacobian)
    # Compared at the size of the cloud, so that a far cloud is not called degenerate.
    size_m = max(float(np.sqrt(np.square(turned).sum(axis=1).mean())) if len(turned) else 0.0, 1e-6)
    unit = np.array([1.0, 1.0, 1.0, size_m, size_m, size_m])
    if (
        len(turned) < 3
        or not np.isfinite(normal).all()
        or np.linalg.cond(normal / np.outer(unit, unit)) > MAX_CONDITION
    ):
        return None
    inverse = np.linalg.inv(normal)
    residual = turned + translation_m - target_m
    moments = np.einsum("nij,ni->nj", jacobian, residual)
    inflation = len(turned) / max(min(support, options.independent_patches), 1)
    covariance = inverse @ (moments.T @ moments * inflation) @ inverse
    # A scale error of one image moves every residual along the point itself.
    of_target = inverse @ np.einsum("nij,ni->j", jacobian, target_m)
    of_source = -inverse @ np.einsum("nij,ni->j", jacobian, turned)
    of_both = of_target + of_source
    for shift, sigma in (
        (of_target, options.image_log_sigma),
        (of_source, options.image_log_sigma),
        (of_both, options.common_log_sigma),
    ):
        covariance = covariance + sigma**2 * np.outer(shift, shift)
    symmetric: Float = (covariance + covariance.T) / 2.0
    return symmetric
