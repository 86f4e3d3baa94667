"""Rigid motions between point clouds, differentiable everywhere (Kabsch 1976).

The derivative of a singular value decomposition is infinite where singular values meet; that of the rotation which
comes of it is not, so it is written out here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

INLIER_STEEPNESS = 5.0
DISTANCE_FLOOR = 1e-6
SMALLEST_GAP = 1e-9


class NearestRotation(torch.autograd.Function):
    """M (…, 3, 3) → the rotation R (…, 3, 3) that makes trace(Rᵀ M) largest.

    With M = U S Vᵀ, R = U D Vᵀ, D = diag(1, 1, det UVᵀ). Differentiating the symmetric RᵀM gives dR = R Ω with
    Ω_ij = (A − Aᵀ)_ij / (p_i + p_j) in the axes of V, A = Rᵀ dM, p = diag(D S).
    """

    @staticmethod
    def forward(context: Any, matrix: Tensor) -> Tensor:
        """The rotation."""
        left, values, right_t = torch.linalg.svd(matrix)
        sign = torch.ones_like(values)
        sign[..., 2] = torch.linalg.det(left @ right_t).sign()
        rotation = (left * sign[..., None, :]) @ right_t
        context.save_for_backward(rotation, right_t, values * sign)
        return rotation

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        """The gradient by the matrix; zero about axes that the matrix leaves open."""
        rotation, right_t, values = context.saved_tensors
        gap = values[..., :, None] + values[..., None, :]
        turned = right_t @ (rotation.mT @ gradients[0]) @ right_t.mT
        scale = torch.where(gap.abs() > SMALLEST_GAP, 1.0 / gap, torch.zeros_like(gap))
        inner = (turned - turned.mT) * scale
        return rotation @ (right_t.mT @ inner @ right_t)


def rigid_alignment(source: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """R (…, 3, 3) and t (…, 3) with `target ≈ R source + t` in weighted least squares.

    Args:
        source: (…, N, 3) metres.
        target: (…, N, 3) metres.
        weight: (…, N), not negative.
    """
    share = (weight / weight.sum(dim=-1, keepdim=True).clamp_min(1e-12))[..., None]
    mean_source, mean_target = (share * source).sum(dim=-2), (share * target).sum(dim=-2)
    from_source, from_target = source - mean_source[..., None, :], target - mean_target[..., None, :]
    rotation = NearestRotation.apply((share * from_target).mT @ from_source)
    return rotation, mean_target - (rotation @ mean_source[..., None])[..., 0]


def distances_m(rotation: Tensor, translation_m: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """(…, N) distances of moved source points (…, N, 3) from target points."""
    moved = source @ rotation.mT + translation_m[..., None, :]
    return ((moved - target).square().sum(dim=-1) + DISTANCE_FLOOR).sqrt()


def soft_count(distance_m: Tensor, threshold_m: float) -> Tensor:
    """(…,) sum over points of sigmoid(5 (1 − distance / threshold))."""
    return (INLIER_STEEPNESS / threshold_m * (threshold_m - distance_m)).sigmoid().sum(dim=-1)
