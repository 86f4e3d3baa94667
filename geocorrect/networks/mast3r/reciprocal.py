"""Fast reciprocal matching of dense descriptors (Leroy et al. 2024; MODELS §1.12), with one-sided exact searches.

Pixels travel as linear indices (row · width + column) inside and as (x, y) outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geocorrect.networks.mast3r.nearest import NearestDescriptor

MAX_ROUNDS = 10


@dataclass(frozen=True, eq=False)
class PixelMatches:
    """Matched pixels: a_xy, b_xy (N, 2) int64, sorted by pixel of a, then of b, without duplicates."""

    a_xy: Tensor
    b_xy: Tensor


class DescriptorPair:
    """Two dense descriptor fields (H, W, C) of unit vectors, searched in both directions."""

    def __init__(self, a: Tensor, b: Tensor, admissible: Tensor | None = None) -> None:
        """`admissible`: optional (patches of a, patches of b) bool; only those patches are compared."""
        self.a_size, self.b_size = (a.shape[0], a.shape[1]), (b.shape[0], b.shape[1])
        self.device = a.device
        self.b_of_a = NearestDescriptor(a, b, admissible)
        self.a_of_b = NearestDescriptor(b, a, None if admissible is None else admissible.T)

    def swapped(self) -> DescriptorPair:
        """The same pair seen from b; both share what was searched already."""
        other = object.__new__(DescriptorPair)
        other.a_size, other.b_size, other.device = self.b_size, self.a_size, self.device
        other.b_of_a, other.a_of_b = self.a_of_b, self.b_of_a
        return other


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


def matches_of_points(pair: DescriptorPair, seeds_xy: Tensor, tolerance_px: float = 5.0) -> tuple[PixelMatches, Tensor]:
    """Matches of given pixels of a: kept where a → b → a comes back closer than `tolerance_px` to the seed.

    seeds_xy: (N, 2) int64. The seed itself is reported, so that a 3-D point attached to it stays exact. Second result:
    for each match, the index of its (first) seed in `seeds_xy`, (M,).
    """
    linear = seeds_xy[:, 1] * pair.a_size[1] + seeds_xy[:, 0]
    seeds, inverse = linear.unique(sorted=True, return_inverse=True)
    order = torch.arange(len(linear), device=linear.device)
    first = torch.full_like(seeds, len(linear)).scatter_reduce(0, inverse, order, "amin")
    found_b = pair.b_of_a(seeds)
    seeds, first, found_b = (part[found_b >= 0] for part in (seeds, first, found_b))
    found_a = pair.a_of_b(found_b)
    seeds_px, found_px = _xy(seeds, pair.a_size), _xy(found_a, pair.a_size)
    offset_px = torch.linalg.vector_norm((found_px - seeds_px).double(), dim=1)
    kept = (found_a >= 0) & (offset_px < tolerance_px)
    return PixelMatches(seeds_px[kept], _xy(found_b[kept], pair.b_size)), first[kept]


def nonsymmetric_matches(
    pair: DescriptorPair, confidence_a: Tensor, confidence_b: Tensor, subsample_px: int = 8
) -> tuple[PixelMatches, Tensor]:
    """Reciprocal matches seeded on a united with those seeded on b; score = the smaller confidence of the two pixels.

    confidence_a, confidence_b: (H, W) of each view.
    """
    forward = reciprocal_matches(pair, subsample_px)
    backward = reciprocal_matches(pair.swapped(), subsample_px)
    a_xy, b_xy = torch.cat([forward.a_xy, backward.b_xy]), torch.cat([forward.b_xy, backward.a_xy])
    united = _sorted_matches(pair, _linear(a_xy, pair.a_size), _linear(b_xy, pair.b_size))
    return united, smaller_confidence(united, confidence_a, confidence_b)


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


def _linear(xy: Tensor, size: tuple[int, int]) -> Tensor:
    return xy[:, 1] * size[1] + xy[:, 0]


def _xy(linear: Tensor, size: tuple[int, int]) -> Tensor:
    return torch.stack([linear % size[1], linear // size[1]], dim=1)
