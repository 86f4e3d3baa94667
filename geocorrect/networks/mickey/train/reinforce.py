"""The loss of one image pair: through the geometry it is differentiated, through the drawing it is estimated.

REINFORCE (Williams 1992) with the mean over the draws as baseline. Because the baseline is that mean, the terms of the
normalisation of the weights cancel, and the weights need not sum to one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from geocorrect.networks.mickey.train.options import DrawOptions, LossOptions, TrainOptions
from geocorrect.networks.mickey.train.pose_losses import motion_losses, null_loss, rigid_matrix

WEIGHT_FLOOR = 1e-16


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


@dataclass(frozen=True, eq=False)
class DrawnMotions:
    """Motions of every draw, differentiable by the points."""

    motions: Tensor
    """(Q, J, 4, 4) target_from_source."""
    scores: Tensor
    """(Q, J) soft counts of the draw's pairs that agree."""


def draw_pairs(weight: Tensor, options: DrawOptions, generator: torch.Generator) -> Tensor:
    """(Q, M) different flat indices of a weight (N, K) per draw; fewer where fewer weights are positive.

    ValueError where fewer than a set's size are.
    """
    flat = weight.detach().flatten()
    count = min(options.pairs_per_draw, int((flat > 0).sum()))
    if count < options.set_size:
        raise ValueError(f"only {count} pairs can be drawn, a motion needs {options.set_size}")
    return draws_without_replacement(flat, count, options.draws, generator)


def draws_without_replacement(weight: Tensor, count: int, draws: int, generator: torch.Generator) -> Tensor:
    """(draws, count) indices of a weight (N,), different ones in each draw, each in proportion to what is left."""
    # One draw after the other: together they would copy the weights, of which there are millions, that many times.
    drawn = [torch.multinomial(weight, count, replacement=False, generator=generator) for _ in range(draws)]
    return torch.stack(drawn)


def motions_of_draws(
    source: Tensor, target: Tensor, weight: Tensor, options: DrawOptions, generator: torch.Generator
) -> DrawnMotions:
    """Motions from small sets of the drawn pairs, each refined on the pairs that agree with it.

    Args:
        source: (Q, M, 3) points of the drawn pairs in camera 0, metres.
        target: (Q, M, 3) in camera 1.
        weight: (Q, M) by which the sets are drawn.
        options: sizes and distances.
        generator: on the device of the weights.
    """
    n_draws, n_motions = len(source), options.motions_per_draw
    sets = torch.multinomial(
        weight.detach().repeat_interleave(n_motions, dim=0), options.set_size, replacement=False, generator=generator
    )
    members = torch.zeros(n_draws * n_motions, source.shape[1], dtype=source.dtype, device=source.device)
    members.scatter_(1, sets, 1.0)
    members = members.unflatten(0, (n_draws, n_motions))
    members = refined_members(source.detach(), target.detach(), members, options)
    rotation, translation = rigid_alignment(source[:, None], target[:, None], members)
    distance = distances_m(rotation, translation, source[:, None], target[:, None])
    return DrawnMotions(rigid_matrix(rotation, translation), soft_count(distance, options.soft_inlier_m))


@torch.no_grad()
def refined_members(source: Tensor, target: Tensor, members: Tensor, options: DrawOptions) -> Tensor:
    """(Q, J, M) 0 or 1: the pairs that each motion is best computed from.

    Starting from the small sets, the pairs that agree take their place as long as they become more.
    """
    best = members
    most = torch.full(members.shape[:2], float(options.set_size), dtype=members.dtype, device=members.device)
    active = torch.ones(members.shape[:2], dtype=torch.bool, device=members.device)
    for _ in range(options.refinements):
        rotation, translation = rigid_alignment(source[:, None], target[:, None], best)
        distance = distances_m(rotation, translation, source[:, None], target[:, None])
        agreeing = (distance <= options.inlier_m).to(members.dtype)
        count = agreeing.sum(dim=-1)
        active = active & (count > most)
        if not active.any():
            break
        best = torch.where(active[..., None], agreeing, best)
        most = torch.where(active, count, most)
    return best


@dataclass(frozen=True, eq=False)
class PairGeometry:
    """The true motion of an image pair and its lenses, on the network's device."""

    cam1_from_cam0: Tensor
    """(4, 4) metres."""
    intrinsics0: Tensor
    """(3, 3) of the photo as it was taken: what errors are measured with."""
    intrinsics1: Tensor
    """As intrinsics0."""
    network_intrinsics0: Tensor
    """(3, 3) of the network image: what keypoints are given in."""
    network_intrinsics1: Tensor
    """As network_intrinsics0."""


@dataclass(frozen=True, eq=False)
class PairLoss:
    """Two terms whose gradients belong together, and what is worth knowing of them."""

    expected: Tensor
    """Mean over the draws of the expected error: its gradient reaches positions and depths."""
    surrogate: Tensor
    """Its gradient is the estimated gradient by the logarithms of the weights; its value means nothing."""

    @property
    def value(self) -> float:
        """The mean error."""
        return float(self.expected.detach())

    @property
    def total(self) -> Tensor:
        """What to differentiate."""
        return self.expected + self.surrogate


def points_m(px: Tensor, depth_m: Tensor, intrinsics: Tensor) -> Tensor:
    """(N, 3) camera-frame points of pixels (2, N) at depths (N,)."""
    homogeneous = torch.cat([px, torch.ones_like(px[:1])])
    return (torch.linalg.solve(intrinsics, homogeneous) * depth_m).T


def pair_loss(
    source_m: Tensor,
    target_m: Tensor,
    weight: Tensor,
    geometry: PairGeometry,
    options: TrainOptions,
    generator: torch.Generator,
) -> PairLoss:
    """Loss of one image pair.

    Args:
        source_m: (N, 3) keypoints of image 0 in its camera frame.
        target_m: (K, 3) of image 1.
        weight: (N, K) ≥ 0 how often a pair should be drawn; only ratios matter.
        geometry: the truth.
        options: numbers of draws, errors.
        generator: of the draws, on the device of the weights.
    """
    pairs = draw_pairs(weight, options.draw, generator)
    row, column = pairs // weight.shape[1], pairs % weight.shape[1]
    drawn_weight = weight.flatten()[pairs]
    found = motions_of_draws(source_m[row], target_m[column], drawn_weight, options.draw, generator)
    losses = motion_losses(
        found.motions.flatten(0, 1),
        geometry.cam1_from_cam0,
        geometry.intrinsics0,
        geometry.intrinsics1,
        options.loss,
    ).view(found.scores.shape)
    draw_losses = expected_losses(found, losses, pairs.shape[1], options.draw.temperature, options.loss)
    return PairLoss(draw_losses.mean(), reinforce(draw_losses, drawn_weight))


def expected_losses(
    found: DrawnMotions, losses: Tensor, n_pairs: int, temperature: float, options: LossOptions
) -> Tensor:
    """(Q,) error of each draw: the mean over its motions by the softmax of their soft counts.

    Args:
        found: motions with their soft counts (Q, J).
        losses: (Q, J) error of each motion.
        n_pairs: pairs of a draw, of which the null hypothesis is given a share.
        temperature: soft counts are divided by it.
        options: the null hypothesis.
    """
    scores = found.scores
    if options.null_hypothesis:
        scores = torch.cat([scores, scores.new_full((len(scores), 1), options.null_share * n_pairs)], dim=1)
        losses = torch.cat([losses, losses.new_full((len(losses), 1), null_loss(options))], dim=1)
    return ((scores / temperature).softmax(dim=1) * losses).sum(dim=1)


def reinforce(draw_losses: Tensor, drawn_weight: Tensor) -> Tensor:
    """A scalar whose gradient by log(weight) is, at every pair, the sum over the draws that hold it of (loss − mean),
    over the number of draws.

    Args:
        draw_losses: (Q,).
        drawn_weight: (Q, M) weights of the drawn pairs, attached to what gave them.
    """
    advantage = (draw_losses - draw_losses.mean()).detach()
    return (advantage[:, None] * (drawn_weight + WEIGHT_FLOOR).log()).sum() / len(draw_losses)
