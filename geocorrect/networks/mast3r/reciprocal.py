"""Fast reciprocal matching of dense descriptors (MASt3R, Leroy et al. 2024, §3.3), with one-sided exact searches.

Pixels travel as linear indices (row · width + column) inside and as (x, y) outside. See `docs/models.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geocorrect.networks.mast3r.nearest import NearestDescriptor

MAX_ROUNDS = 10


@dataclass(frozen=True, eq=False)
class PixelMatches:
    """Matched pixels, sorted by pixel of a, then of b, without duplicates."""

    a_xy: Tensor
    """(N, 2) int64."""
    b_xy: Tensor
    """(N, 2) int64."""


class DescriptorPair:
    """Two dense descriptor fields (H, W, C) of unit vectors, searched in both directions."""

    def __init__(self, a: Tensor, b: Tensor, admissible: Tensor | None = None) -> None:
        """admissible: optional (patches of a, patches of b) bool; only those patches are compared."""
        self.a_size, self.b_size = (a.shape[0], a.shape[1]), (b.shape[0], b.shape[1])  # (height, width)
        self.device = a.device
        self.b_of_a = NearestDescriptor(a, b, admissible)
        self.a_of_b = NearestDescriptor(b, a, None if admissible is None else admissible.T)


def reciprocal_matches(pair: DescriptorPair, subsample_px: int = 8) -> PixelMatches:
    """Mutual nearest neighbours, reached from a grid of seeds on a by going back and forth until nothing moves.

    Seeds that still move after ten rounds are dropped.
    """
    at_a = _seed_grid(pair.a_size, subsample_px, pair.device)
    at_b = torch.full_like(at_a, -1)
    settled = torch.zeros_like(at_a, dtype=torch.bool)
    active = torch.arange(len(at_a), device=at_a.device)
    for _ in range(MAX_ROUNDS):
        if not len(active):
            break
        found_b = pair.b_of_a(at_a[active])
        still = found_b == at_b[active]
        settled[active[still & (found_b >= 0)]] = True
        at_b[active] = found_b
        active = active[~still & (found_b >= 0)]
        found_a = pair.a_of_b(at_b[active])
        still = found_a == at_a[active]
        settled[active[still]] = True
        at_a[active] = found_a
        active = active[~still & (found_a >= 0)]
    return _sorted_matches(pair, at_a[settled], at_b[settled])


def smaller_confidence(matches: PixelMatches, confidence_a: Tensor, confidence_b: Tensor) -> Tensor:
    """(N,) the smaller of the two pixels' confidences (H, W)."""
    (a_x, a_y), (b_x, b_y) = matches.a_xy.T, matches.b_xy.T
    return torch.minimum(confidence_a[a_y, a_x], confidence_b[b_y, b_x])


def _seed_grid(size: tuple[int, int], subsample_px: int, device: torch.device) -> Tensor:
    rows = torch.arange(subsample_px // 2, size[0], subsample_px, device=device)
    columns = torch.arange(subsample_px // 2, size[1], subsample_px, device=device)
    return (rows[:, None] * size[1] + columns).flatten()


def _sorted_matches(pair: DescriptorPair, at_a: Tensor, at_b: Tensor) -> PixelMatches:
    n_b = pair.b_size[0] * pair.b_size[1]
    both = (at_a * n_b + at_b).unique(sorted=True)
    return PixelMatches(_xy(both // n_b, pair.a_size), _xy(both % n_b, pair.b_size))


def _xy(linear: Tensor, size: tuple[int, int]) -> Tensor:
    return torch.stack([linear % size[1], linear // size[1]], dim=1)
