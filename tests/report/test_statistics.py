from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from geocorrect.report.statistics import finite, mean_angle_deg, median_of, percentile_of, share_of


@pytest.mark.parametrize(("n", "low", "high"), [(6, 1, 6), (10, 2, 9), (25, 8, 18), (100, 40, 61)])
def test_interval_of_the_median_is_the_tabled_one(n: int, low: int, high: int) -> None:
    estimate = median_of(range(n, 0, -1))
    assert (estimate.low, estimate.high, estimate.n) == (low, high, n)
    assert estimate.value == (n + 1) / 2


@settings(max_examples=60, deadline=None)
@given(n=st.integers(6, 4000))
def test_interval_of_the_median_is_the_shortest_that_keeps_its_promise(n: int) -> None:
    low = int(median_of(range(1, n + 1)).low)
    assert 1 - 2 * binom.cdf(low - 1, n, 0.5) >= 0.95
    assert 1 - 2 * binom.cdf(low, n, 0.5) < 0.95


def test_five_values_have_a_median_but_no_interval() -> None:
    estimate = median_of([1.0, 2.0, 3.0, 4.0, 5.0, math.nan])
    assert (estimate.value, estimate.n) == (3.0, 5)
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)


def test_nothing_gives_nan_and_never_zero() -> None:
    for estimate in (median_of([]), median_of([math.nan]), share_of(0, 0)):
        assert math.isnan(estimate.value)
        assert estimate.n == 0
    assert math.isnan(percentile_of([], 90))
    assert math.isnan(mean_angle_deg([math.nan]))


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 500), part=st.floats(0, 1))
def test_share_is_that_of_wilson(n: int, part: float) -> None:
    k = round(part * n)
    expected = binomtest(k, n).proportion_ci(method="wilson")
    estimate = share_of(k, n)
    assert estimate.value == k / n
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_headings_average_across_north() -> None:
    assert mean_angle_deg([350.0, 20.0]) == pytest.approx(5.0)
    assert mean_angle_deg([-170.0, 170.0]) == pytest.approx(180.0)


def test_finite_sorts_and_drops_the_unknown() -> None:
    assert finite([3.0, math.inf, 1.0, math.nan]).tolist() == [1.0, 3.0]
    assert np.isclose(percentile_of([0.0, 10.0, math.nan], 90), 9.0)
