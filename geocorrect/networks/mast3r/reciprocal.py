"""Fast reciprocal matching of dense descriptors (MASt3R, Leroy et al. 2024, §3.3), with one-sided exact searches.

Pixels travel as linear indices (row · width + column) inside and as (x, y) outside. See `docs/models.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from geocorrect.networks.mast3r.sizes import PATCH_PX

MAX_ROUNDS = 10


STRIP = 64
"""Targets per strip: the first pass keeps only each strip's best similarity, the second looks into the best strip."""

UNKNOWN, NOTHING = -2, -1

QUERY_BLOCK, PATCH_GROUP = 8192, 16
"""Queries at a time, and patches per product, of a restricted search."""


class NearestDescriptor:
    """Most similar target pixel of any query pixel, by dot product; the first in row order on a tie.

    Every answer is kept, so that a pixel is searched once however often it is asked for.
    """

    def __init__(self, field: Tensor, targets: Tensor, admissible: Tensor | None = None) -> None:
        """Field (H, W, C), targets (H', W', C): unit descriptors; admissible: (patches, patches') bool or None."""
        self._field = field.reshape(-1, field.shape[-1])
        self._width = field.shape[1]
        self._known = torch.full((len(self._field),), UNKNOWN, dtype=torch.int64, device=field.device)
        self._admissible = admissible
        self._patches = _patch_major(targets) if admissible is not None else None
        self._targets = targets.reshape(-1, targets.shape[-1])
        self.searched = 0

    def __call__(self, pixels: Tensor) -> Tensor:
        """Linear target pixel for each linear query pixel (N,) int64; −1 where no target is admissible."""
        unseen = pixels[self._known[pixels] == UNKNOWN].unique()
        if len(unseen):
            self.searched += len(unseen)
            self._known[unseen] = self._search(unseen)
        return self._known[pixels]

    def _search(self, pixels: Tensor) -> Tensor:
        if self._admissible is None or self._patches is None:
            return most_similar(self._field[pixels], self._targets)
        descriptors, linear = self._patches
        rows, columns = pixels // self._width, pixels % self._width
        allowed = self._admissible[rows // PATCH_PX * (self._width // PATCH_PX) + columns // PATCH_PX]
        parts = zip(self._field[pixels].split(QUERY_BLOCK), allowed.split(QUERY_BLOCK), strict=True)
        best = torch.cat([most_similar_in_patches(queries, descriptors, allow) for queries, allow in parts])
        return torch.where(best >= 0, linear.flatten()[best], NOTHING)


def most_similar_in_patches(queries: Tensor, patches: Tensor, allowed: Tensor) -> Tensor:
    """Index into the flattened patches (P, K, C) of the best target for each query (Q, C); −1 where none is allowed.

    allowed: (Q, P) bool. Each patch is compared with all queries that may look into it, patches with about as many such
    queries in one product: few large products, nothing but queries copied, one wait for a GPU.
    """
    n_queries, n_targets = len(queries), patches.shape[1]
    asking = allowed.sum(0)
    order = asking.argsort(descending=True)
    of_pair = allowed.T.nonzero()[:, 1]
    start = asking.cumsum(0) - asking
    # One row more takes what the padding computes.
    best = torch.full((n_queries + 1, len(patches)), -torch.inf, dtype=queries.dtype, device=queries.device)
    for group, width in zip(order.split(PATCH_GROUP), asking[order[::PATCH_GROUP]].tolist(), strict=True):
        if width == 0:
            break
        slot = torch.arange(width, device=queries.device)
        row = of_pair[(start[group, None] + slot).clamp(max=len(of_pair) - 1)]
        similarity = torch.bmm(patches[group], queries[row].mT).amax(1)
        best[torch.where(slot < asking[group, None], row, n_queries), group[:, None]] = similarity
    value, patch = best[:n_queries].max(1)
    within = [
        torch.bmm(patches[at], block.unsqueeze(2)).squeeze(2).argmax(1)
        for at, block in zip(patch.split(256), queries.split(256), strict=True)
    ]
    return torch.where(value > -torch.inf, patch * n_targets + torch.cat(within), NOTHING)


def most_similar(queries: Tensor, targets: Tensor) -> Tensor:
    """Index of the target (N, C) with the largest dot product for each query (Q, C); the first on a tie.

    Reducing whole strips with `amax` is vectorised where `argmax` is not; only the winning strip is searched for its
    index. Blocks of 256 × 2048 similarities (2 MiB) stay in a core's cache; a GPU wants them larger.
    """
    n_targets = len(targets)
    padding = -n_targets % STRIP
    if padding:
        # A copy of the last target can tie with it, but never come first.
        targets = torch.cat([targets, targets[-1:].expand(padding, -1)])
    strips = targets.unflatten(0, (-1, STRIP))
    query_block, strip_block = (256, 32) if targets.device.type == "cpu" else (4096, 512)
    found = []
    for block in queries.split(query_block):
        transposed = block.T.contiguous()
        best = [
            (part.flatten(0, 1) @ transposed).unflatten(0, (-1, STRIP)).amax(1) for part in strips.split(strip_block)
        ]
        strip = torch.cat(best).argmax(0)
        within = torch.bmm(strips[strip], block.unsqueeze(2)).squeeze(2).argmax(1)
        found.append(strip * STRIP + within)
    if not found:
        return torch.zeros(0, dtype=torch.int64, device=targets.device)
    return torch.cat(found).clamp(max=n_targets - 1)


def coarse_admissible(a: Tensor, b: Tensor, keep: int) -> Tensor:
    """(patches of a, patches of b) bool: the `keep` most similar patches both ways, and their neighbours.

    Two patches are as similar as the most similar quarters of theirs. A restriction, not a bound: it speeds the search
    up at the price of missing matches in patches of mixed content.
    """
    quarters_a, quarters_b = _quarter_means(a), _quarter_means(b)
    similarity = (quarters_a.flatten(0, 1) @ quarters_b.flatten(0, 1).T).unflatten(0, (-1, 4)).amax(1)
    similarity = similarity.unflatten(1, (-1, 4)).amax(2)
    grid_a, grid_b = _patch_grid(a), _patch_grid(b)
    forward = _top(similarity, keep).unflatten(1, grid_b)
    backward = _top(similarity.T, keep).unflatten(1, grid_a)
    return _dilate(forward).flatten(1) | _dilate(backward).flatten(1).T


def _patch_major(field: Tensor) -> tuple[Tensor, Tensor]:
    height, width = field.shape[:2]
    linear = torch.arange(height * width, device=field.device).view(height, width, 1)
    cut = (height // PATCH_PX, PATCH_PX, width // PATCH_PX, PATCH_PX)

    def patches(values: Tensor) -> Tensor:
        return values.reshape(*cut, -1).transpose(1, 2).reshape(cut[0] * cut[2], PATCH_PX**2, -1)

    return patches(field), patches(linear).squeeze(-1)


def _patch_grid(field: Tensor) -> tuple[int, int]:
    return field.shape[0] // PATCH_PX, field.shape[1] // PATCH_PX


def _quarter_means(field: Tensor) -> Tensor:
    """(patches, 4, C) unit means of the quarters of each patch."""
    pooled = functional.avg_pool2d(field.permute(2, 0, 1), PATCH_PX // 2).permute(1, 2, 0)
    rows, columns = _patch_grid(field)
    quarters = pooled.reshape(rows, 2, columns, 2, -1).transpose(1, 2).reshape(rows * columns, 4, -1)
    return functional.normalize(quarters, dim=-1)


def _top(similarity: Tensor, keep: int) -> Tensor:
    best = similarity.topk(min(keep, similarity.shape[1]), dim=1).indices
    return torch.zeros_like(similarity, dtype=torch.bool).scatter_(1, best, torch.ones_like(best, dtype=torch.bool))


def _dilate(mask: Tensor) -> Tensor:
    return functional.max_pool2d(mask.unsqueeze(1).float(), 3, stride=1, padding=1).squeeze(1) > 0


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
