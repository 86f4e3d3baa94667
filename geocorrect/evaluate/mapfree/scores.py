"""Precision, recall and area under the curve of answers that carry a confidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision among the answers kept at each confidence threshold, from all answers to none."""

    precision: Float
    """(K + 1,) correct among kept; 1 where nothing is kept."""
    recall: Float
    """(K + 1,) kept among all queries, unanswered ones included; falls to 0."""

    @property
    def area(self) -> float:
        """Sum of precision times the step in recall: what a confidence is worth that ranks well."""
        return float((-np.diff(self.recall) * self.precision[:-1]).sum())


def precision_recall(confidence: ArrayLike, correct: ArrayLike, n_unanswered: int) -> PrecisionRecall:
    """The curve with one point per different confidence, so that ties are kept or dropped together.

    Args:
        confidence: (N,) of the answers.
        correct: (N,) bool, which of them are good.
        n_unanswered: queries without an answer; they count as failures.
    """
    values, good = np.asarray(confidence, float), np.asarray(correct, bool)
    if values.shape != good.shape or values.ndim != 1:
        raise ValueError(f"confidence and correct must be (N,) both, got {values.shape} and {good.shape}")
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("confidences must be finite and not negative")
    n_queries = len(values) + n_unanswered
    _, index = np.unique(values, return_inverse=True)
    # Number and good ones among answers at each confidence, then at it or above.
    kept = np.bincount(index)[::-1].cumsum()[::-1] if len(values) else np.zeros(0)
    kept_good = np.bincount(index, weights=good)[::-1].cumsum()[::-1] if len(values) else np.zeros(0)
    return PrecisionRecall(np.append(kept_good / np.maximum(kept, 1), 1.0), np.append(kept / max(n_queries, 1), 0.0))


def share_correct(correct: ArrayLike, n_unanswered: int) -> float:
    """Good answers among all queries, unanswered ones included; nan without queries."""
    good = np.asarray(correct, bool)
    n_queries = len(good) + n_unanswered
    return float(good.sum() / n_queries) if n_queries else float("nan")
