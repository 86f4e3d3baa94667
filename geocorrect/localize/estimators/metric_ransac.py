"""Probabilistic RANSAC between two metric point clouds whose correspondence is uncertain (MicKey, section 3.3).

Pairs are drawn by how likely they are, small sets of them give motions, the motion that most drawn pairs agree with
softly wins and is refined on the pairs that agree with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.intp]

MIN_SET = 3

CHANCE_SHUFFLES = 4
"""Times that partners are dealt out anew: 4 × 2048 pairs tell a share of 1 % to a tenth of itself."""


@dataclass(frozen=True)
class MetricRansacOptions:
    """Numbers of the published test configuration."""

    draws: int = 20
    """Independent draws of pairs."""
    pairs_per_draw: int = 2048
    """Pairs per draw; a hypothesis is scored on the pairs of its own draw."""
    hypotheses_per_draw: int = 100
    """Motions per draw."""
    set_size: int = 3
    """Pairs that make a hypothesis."""
    soft_inlier_m: float = 0.3
    """Scale of the soft count that ranks hypotheses."""
    inlier_m: float = 0.15
    """Distance of a pair that agrees, and scale of the soft count that is the confidence."""
    refinements: int = 4
    """Times that the motion is computed anew from the pairs that agree, at most."""

    def __post_init__(self) -> None:
        if self.set_size < MIN_SET:
            raise ValueError(f"set_size = {self.set_size}: three points are the fewest that fix a motion")
        for name in ("draws", "pairs_per_draw", "hypotheses_per_draw", "soft_inlier_m", "inlier_m"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class MetricMotion:
    """`target = R source + t` and the pairs it was judged on."""

    rotation: Float
    """(3, 3)."""
    translation_m: Float
    """(3,)."""
    confidence: float
    """Soft count of agreeing pairs among those of the winning draw."""
    source_index: Int
    """(K,) source points of the pairs that agree."""
    target_index: Int
    """(K,) target points of the pairs that agree."""
    n_pairs: int
    """Pairs of the winning draw."""
    n_by_chance: float
    """How many of the winning draw's pairs would agree if partners were dealt out anew: crowded points agree with
    anything."""

    @property
    def support(self) -> int:
        """Agreeing pairs that share no point: the smaller number of different points on either side."""
        return min(len(np.unique(self.source_index)), len(np.unique(self.target_index)))


def estimate_motion(
    source_m: Float, target_m: Float, weight: Float, options: MetricRansacOptions, seed: int | Sequence[int]
) -> MetricMotion | None:
    """The motion between two clouds, or None where fewer than three pairs can be drawn or no motion is finite.

    Args:
        source_m: (N, 3) metres.
        target_m: (M, 3) metres.
        weight: (N, M) ≥ 0, how often each pair should be drawn; only ratios matter.
        options: numbers of draws and distances.
        seed: of the draws.

    Raises:
        ValueError: points or weights that are not finite, or negative weights.
    """
    if not (np.isfinite(source_m).all() and np.isfinite(target_m).all()):
        raise ValueError("points must be finite; give those that are unknown the weight 0")
    rng = np.random.default_rng(seed)
    sampler = WeightedSampler(weight.ravel())
    best: tuple[float, Float, Float, Int] | None = None
    for _ in range(options.draws):
        pairs = sampler.sample(options.pairs_per_draw, rng)
        if len(pairs) < options.set_size:
            return None
        found = _best_hypothesis(*_points(pairs, source_m, target_m), sampler.weight[pairs], options, rng)
        if found is not None and (best is None or found[0] > best[0]):
            best = (*found, pairs)
    if best is None:
        return None
    _, rotation, translation, pairs = best
    source, target = _points(pairs, source_m, target_m)
    rotation, translation = refine_motion(rotation, translation, source, target, options)
    distance = distances_m(rotation, translation, source, target)
    agreeing = pairs[distance <= options.inlier_m]
    return MetricMotion(
        rotation=rotation,
        translation_m=translation,
        confidence=float(soft_count(distance, options.inlier_m)),
        source_index=agreeing // len(target_m),
        target_index=agreeing % len(target_m),
        n_pairs=len(pairs),
        n_by_chance=_agreeing_by_chance(rotation, translation, source, target, options.inlier_m, rng),
    )


def refine_motion(
    rotation: Float, translation_m: Float, source: Float, target: Float, options: MetricRansacOptions
) -> tuple[Float, Float]:
    """Compute the motion anew from the pairs (K, 3) that agree with it, as long as more and more do."""
    n_before = MIN_SET
    for _ in range(options.refinements):
        agreeing = distances_m(rotation, translation_m, source, target) <= options.inlier_m
        if agreeing.sum() <= n_before:
            break
        n_before = int(agreeing.sum())
        rotation, translation_m = rigid_alignment(source[agreeing], target[agreeing])
    return rotation, translation_m


def _agreeing_by_chance(
    rotation: Float, translation_m: Float, source: Float, target: Float, inlier_m: float, rng: np.random.Generator
) -> float:
    shuffled = [source[rng.permutation(len(source))] for _ in range(CHANCE_SHUFFLES)]
    counts = [(distances_m(rotation, translation_m, dealt, target) <= inlier_m).sum() for dealt in shuffled]
    return float(np.mean(counts))


def _points(pairs: Int, source_m: Float, target_m: Float) -> tuple[Float, Float]:
    return source_m[pairs // len(target_m)], target_m[pairs % len(target_m)]


def _best_hypothesis(
    source: Float, target: Float, weight: Float, options: MetricRansacOptions, rng: np.random.Generator
) -> tuple[float, Float, Float] | None:
    """(score, R, t) of the best motion from small sets of these pairs; None when none is finite."""
    chosen = WeightedSampler(weight).sample_sets(options.hypotheses_per_draw, options.set_size, rng)
    rotation, translation = rigid_alignment(source[chosen], target[chosen])
    score = soft_count(distances_m(rotation, translation, source, target), options.soft_inlier_m)
    score = np.where(np.isfinite(score), score, -np.inf)
    winner = int(np.argmax(score))
    if not np.isfinite(score[winner]):
        return None
    return float(score[winner]), rotation[winner], translation[winner]


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


INLIER_STEEPNESS = 5.0
"""Slope of the soft count: at zero distance a point counts sigmoid(5)."""

DISTANCE_FLOOR = 1e-6
"""Added to squared distances in m²."""


def rigid_alignment(source: Float, target: Float, weight: Float | None = None) -> tuple[Float, Float]:
    """The motion that maps `source` onto `target` with the least sum of weighted squared distances.

    Args:
        source: (…, N, 3) metres.
        target: (…, N, 3) metres.
        weight: (…, N), not negative; None: all one.

    Returns:
        R (…, 3, 3), always a proper rotation, and t (…, 3). Clouds on a line or without weight give some rotation.
    """
    if weight is None:
        weight = np.ones(source.shape[:-1])
    share = weight / np.maximum(weight.sum(axis=-1, keepdims=True), 1e-300)
    mean_source = np.einsum("...n,...ni->...i", share, source)
    mean_target = np.einsum("...n,...ni->...i", share, target)
    from_source, from_target = source - mean_source[..., None, :], target - mean_target[..., None, :]
    cross = np.einsum("...n,...ni,...nj->...ij", share, from_source, from_target)
    left, _, right = np.linalg.svd(cross)
    left_t, right_t = np.swapaxes(left, -1, -2), np.swapaxes(right, -1, -2)
    # A mirror image may fit better than every rotation: then the weakest axis is turned over.
    right_t = right_t.copy()
    right_t[..., 2] *= np.sign(np.linalg.det(left @ right))[..., None]
    rotation = right_t @ left_t
    return rotation, mean_target - np.einsum("...ij,...j->...i", rotation, mean_source)


def distances_m(rotation: Float, translation_m: Float, source: Float, target: Float) -> Float:
    """(…, N) distances of the moved source points (N, 3) from the target points (N, 3), for motions (…).

    |R x + t − y|² multiplied out, with |R x| = |x|: one matrix product for all motions and points together. R must be
    a rotation to double precision.
    """
    by_rotation = np.concatenate([rotation.reshape(*rotation.shape[:-2], 9), translation_m], axis=-1)
    turned_back = np.einsum("...ji,...j->...i", rotation, translation_m)
    motion = np.concatenate([by_rotation, turned_back], axis=-1)
    products = (target[:, :, None] * source[:, None, :]).reshape(len(source), 9)
    points = np.concatenate([-2.0 * products, -2.0 * target, 2.0 * source], axis=1)
    constant = np.square(translation_m).sum(axis=-1)[..., None] + np.square(source).sum(1) + np.square(target).sum(1)
    squared = motion @ points.T + constant
    distance: Float = np.sqrt(np.maximum(squared, 0.0) + DISTANCE_FLOOR)
    return distance


def soft_count(distance_m: Float, threshold_m: float) -> Float:
    """(…,) sum over points of sigmoid(5 (1 − distance / threshold)): an inlier count that knows how close they are."""
    slope = np.clip(INLIER_STEEPNESS / threshold_m * (distance_m - threshold_m), None, 500.0)
    count: Float = (1.0 / (1.0 + np.exp(slope))).sum(axis=-1)
    return count
