"""Medians and shares with their intervals: no number of the report stands alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from geocorrect.records import NAN

TWO_SIDED_95 = 1.959963984540054
"""Quantile 0.975 of the normal distribution."""

FALSE_ACCEPT_M = 1.0
"""An accepted position further than this from the truth is a false one."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval and its sample size."""

    value: float
    low: float
    """Lower end of the interval; nan when the sample is too small for one."""
    high: float
    """Upper end of the interval."""
    n: int


def median_of(values: Iterable[float]) -> Estimate:
    """Median of the finite values; the interval is that of the order statistics, free of any assumed distribution.

    Fewer than 6 values cannot enclose the median with 95 %: nan.
    """
    sample = finite(values)
    n = len(sample)
    if n == 0:
        return Estimate(NAN, NAN, NAN, 0)
    median = float(np.median(sample))
    rank = _lower_rank(n)
    if rank < 1:
        return Estimate(median, NAN, NAN, n)
    return Estimate(median, float(sample[rank - 1]), float(sample[n - rank]), n)


def share_of(count: int, n: int) -> Estimate:
    """Share count / n with its Wilson score interval; nan for n = 0."""
    if n == 0:
        return Estimate(NAN, NAN, NAN, 0)
    p, z2 = count / n, TWO_SIDED_95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = TWO_SIDED_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Estimate(p, max(0.0, centre - half), min(1.0, centre + half), n)


def percentile_of(values: Iterable[float], percent: float) -> float:
    """Percentile of the finite values, nan for none."""
    sample = finite(values)
    return float(np.percentile(sample, percent)) if len(sample) else NAN


def finite(values: Iterable[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The finite values, sorted."""
    sample = np.fromiter(values, float)
    return np.sort(sample[np.isfinite(sample)])


def mean_angle_deg(values: Iterable[float]) -> float:
    """Mean of angles by their unit vectors, −180 to 180; nan for none."""
    angles = np.radians(finite(values))
    return float(np.degrees(np.arctan2(np.sin(angles).sum(), np.cos(angles).sum()))) if len(angles) else NAN


def by_frequency(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Names with their counts, the most frequent first, then by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _lower_rank(n: int) -> int:
    """Largest k with P(Binomial(n, 1/2) < k) ≤ 2.5 %: the k-th smallest and k-th largest values enclose the median."""
    from scipy.special import bdtr

    rank = max(0, math.floor(n / 2 - math.sqrt(n)) - 1)
    while bdtr(rank, n, 0.5) <= 0.025:
        rank += 1
    return rank
