"""Draws without replacement, one after the other, each in proportion to what is left.

Drawing with replacement and skipping repeats gives the same distribution as removing what was drawn, and needs no
random number per entry: with millions of entries that is what costs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.intp]

DRAW_ROUNDS = 4
"""Rounds of drawing with replacement before what is left is sorted instead."""

SPARE_DRAWS = 4
"""Draws per member of a small set, so that enough different ones are nearly always among them."""


class WeightedSampler:
    """Draws indices of a weight (N,) ≥ 0, finite."""

    def __init__(self, weight: Float) -> None:
        if not np.isfinite(weight).all() or (weight < 0).any():
            raise ValueError("sampling weights must be finite and not negative")
        self.weight = weight
        self.cumulative = np.cumsum(weight)
        self.n_positive = int(np.count_nonzero(weight))

    def sample(self, count: int, rng: np.random.Generator) -> Int:
        """`count` different indices in the order of the draws; all positive ones where there are no more."""
        if self.n_positive <= count:
            return rng.permutation(np.flatnonzero(self.weight))
        drawn = np.zeros(0, np.intp)
        for _ in range(DRAW_ROUNDS):
            found = np.concatenate([drawn, self._tickets((2 * count,), rng)])
            _, first = np.unique(found, return_index=True)
            drawn = found[np.sort(first)]
            if len(drawn) >= count:
                return drawn[:count]
        # A few entries hold nearly everything: the rest by exponential races (Efraimidis & Spirakis 2006).
        rest = np.setdiff1d(np.flatnonzero(self.weight), drawn, assume_unique=True)
        arrival = rng.standard_exponential(len(rest)) / self.weight[rest]
        return np.concatenate([drawn, rest[np.argsort(arrival)[: count - len(drawn)]]])

    def sample_sets(self, n_sets: int, size: int, rng: np.random.Generator) -> Int:
        """(n_sets, size) indices, different ones in each row; ValueError with fewer than `size` positive weights."""
        if self.n_positive < size:
            raise ValueError(f"{self.n_positive} positive weights do not make sets of {size}")
        drawn = self._tickets((n_sets, SPARE_DRAWS * size), rng)
        repeats = np.tril(drawn[:, :, None] == drawn[:, None, :], -1).any(axis=2)
        rank = np.where(repeats, drawn.shape[1], np.arange(drawn.shape[1]))
        first = np.argsort(rank, axis=1, kind="stable")[:, :size]
        chosen: Int = np.take_along_axis(drawn, first, axis=1)
        for row in np.flatnonzero((~repeats).sum(axis=1) < size):
            chosen[row] = self.sample(size, rng)
        return chosen

    def _tickets(self, shape: tuple[int, ...], rng: np.random.Generator) -> Int:
        """Indices drawn with replacement."""
        ticket = rng.uniform(0.0, self.cumulative[-1], shape)
        found = np.searchsorted(self.cumulative, ticket, side="right")
        # Rounding may put a ticket on the very end, behind the last entry that can be drawn.
        last: Int = np.minimum(found, np.searchsorted(self.cumulative, self.cumulative[-1], side="left"))
        return last
