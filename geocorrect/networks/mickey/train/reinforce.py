"""The loss of one image pair: through the geometry it is differentiated, through the drawing it is estimated.

REINFORCE (Williams 1992) with the mean over the draws as baseline. Because the baseline is that mean, the terms of the
normalisation of the weights cancel, and the weights need not sum to one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geocorrect.networks.mickey.train.motions import DrawnMotions, draw_pairs, motions_of_draws
from geocorrect.networks.mickey.train.options import LossOptions, TrainOptions
from geocorrect.networks.mickey.train.pose_losses import motion_losses, null_loss

WEIGHT_FLOOR = 1e-16


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
