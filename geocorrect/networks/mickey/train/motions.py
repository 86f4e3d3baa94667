"""Drawing pairs of keypoints, and the motions that come of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geocorrect.networks.mickey.train.alignment import distances_m, rigid_alignment, soft_count
from geocorrect.networks.mickey.train.options import DrawOptions
from geocorrect.networks.mickey.train.pose_losses import rigid_matrix


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
