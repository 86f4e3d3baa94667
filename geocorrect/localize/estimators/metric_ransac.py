"""Probabilistic RANSAC between two metric point clouds whose correspondence is uncertain (MicKey, section 3.3).

Pairs are drawn by how likely they are, small sets of them give motions, the motion that most drawn pairs agree with
softly wins and is refined on the pairs that agree with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.localize.estimators.rigid_alignment import distances_m, rigid_alignment, soft_count
from geocorrect.localize.estimators.weighted_sampling import WeightedSampler

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
