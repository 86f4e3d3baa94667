"""Every number of the fine-tuning; defaults are those of the thesis."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PointLoss(StrEnum):
    """Distance of a predicted point from a measured one, metres."""

    L21 = "l21"
    """Euclidean, not squared."""
    L1 = "l1"
    """Sum over the axes."""


class ConfidenceLoss(StrEnum):
    """How the head's confidence c = 1 + e^x takes part: loss = c·l − α·ln c, smallest at c = α / l."""

    NONE = "none"
    """It does not: the plain mean of l. The confidence drifts, for it shares the last layer and has no target."""
    METRIC = "metric"
    """l in metres: every point worse than α metres wants c = 1, so confidence collapses."""
    RELATIVE = "relative"
    """l over the mean distance of the pair's measured points, as networks of this kind are trained."""
    METRIC_SCALED = "metric_scaled"
    """l in metres, and α times that mean distance: the same optimum of c."""


@dataclass(frozen=True)
class FinetuneOptions:
    """The fine-tuning as a whole."""

    loss: PointLoss = PointLoss.L21
    confidence: ConfidenceLoss = ConfidenceLoss.NONE
    alpha: float = 0.2
    """Of the confidence."""
    epochs: int = 20
    batch_size: int = 8
    """Pairs that go through the head together."""
    accumulation: int = 4
    """Batches per step of the optimizer."""
    learning_rate: float = 5e-5
    """At the start; falls along half a cosine, step by step, over all epochs."""
    min_learning_rate: float = 3e-6
    """At the end."""
    weight_decay: float = 0.05
    save_every_steps: int = 50
    """The state is also saved after every epoch."""
    seed: int = 0
    """Of the order of the pairs."""

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size, self.accumulation, self.save_every_steps) < 1:
            raise ValueError("epochs, batch_size, accumulation and save_every_steps must be at least 1")
        if not 0.0 < self.min_learning_rate <= self.learning_rate:
            raise ValueError("learning rates: 0 < min_learning_rate <= learning_rate")
        if not (self.alpha > 0.0 and self.weight_decay >= 0.0):
            raise ValueError("alpha must be positive and weight_decay not negative")
