"""Every metric against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.evaluate.metrics import abs_rel, abs_rel_axes, error_medians, median_interval, transform_error
from geocorrect.geometry.pose import Pose


def test_transform_and_centre_differ_by_rotation_times_baseline() -> None:
    """Truth: no rotation, t* = (0, 0, 10). Estimate: a quarter turn about y, t = (3, 0, 14).

    |t − t*| = |(3, 0, 4)| = 5. Centres are −Rᵀt: (0, 0, −10), and with R = [[0, 0, 1], [0, 1, 0], [−1, 0, 0]]
    Rᵀ(3, 0, 14) = (−14, 0, 3), so (14, 0, −3): their difference is (14, 0, 7), of length √245.
    """
    truth = Pose(Rotation.identity(), [0.0, 0.0, 10.0])
    estimate = Pose(Rotation.from_euler("y", 90, degrees=True), [3.0, 0.0, 14.0])
    error = transform_error(estimate, truth)
    assert error.transform_m == pytest.approx(5.0)
    assert error.centre_m == pytest.approx(np.sqrt(245.0))
    assert error.rotation_deg == pytest.approx(90.0)
    assert error.axes_m == pytest.approx((3.0, 0.0, 4.0))


def test_axes_are_those_of_the_query_camera() -> None:
    """World: east, north, up. Anchor looks north, query looks east, 2 m north of it; the estimate is 1 m too far north.

    North is the query's left, so the transform's translation is off by 1 m along x and nothing else.
    """
    north = Rotation.from_matrix(np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]).T)
    east = Rotation.from_euler("z", -90, degrees=True) * north
    anchor, query = Pose(north, [0.0, 0.0, 0.0]), Pose(east, [0.0, 2.0, 0.0])
    wrong = Pose(east, [0.0, 3.0, 0.0])
    error = transform_error(wrong.inverse() @ anchor, query.inverse() @ anchor)
    assert error.axes_m == pytest.approx((1.0, 0.0, 0.0))
    assert (error.transform_m, error.centre_m) == pytest.approx((1.0, 1.0))
    assert error.rotation_deg == pytest.approx(0.0, abs=1e-6)


def test_abs_rel_of_three_points() -> None:
    """|measured| = 5, 3, 13; off by 1, 3, 0 → (0.2 + 1 + 0) / 3. A point without a prediction does not count."""
    measured = [[3.0, 0.0, 4.0], [1.0, 2.0, 2.0], [3.0, 4.0, 12.0], [1.0, 1.0, 1.0]]
    predicted = [[3.0, 0.0, 5.0], [2.0, 4.0, 0.0], [3.0, 4.0, 12.0], [np.nan, 1.0, 1.0]]
    assert abs_rel(predicted, measured) == pytest.approx(0.4)
    assert np.isnan(abs_rel(predicted[3:], measured[3:]))


def test_abs_rel_divides_by_the_truth() -> None:
    """A prediction seven times too small is wrong by 6/7; divided by itself it would be 6."""
    measured = np.random.default_rng(0).uniform(1, 40, (50, 3))
    assert abs_rel(measured / 7, measured) == pytest.approx(6 / 7)
    assert round(abs_rel(measured / 7, measured), 3) == 0.857


def test_an_axis_near_zero_is_left_out() -> None:
    """x: 0.1 is not beyond 0.1 m, −0.2 is, and halving it is an error of 0.5; y: nothing is; z: (0.1 + 0.2) / 2."""
    measured = [[0.1, 0.05, 10.0], [-0.2, -0.05, 20.0]]
    predicted = [[9.0, 1.0, 9.0], [-0.1, 2.0, 24.0]]
    x, y, z = abs_rel_axes(predicted, measured)
    assert (x, z) == pytest.approx((0.5, 0.15))
    assert np.isnan(y)
    x, _, _ = abs_rel_axes(predicted, measured, min_axis_m=0.09)
    assert x == pytest.approx((89.0 + 0.5) / 2)


def test_failures_are_left_out_or_infinite() -> None:
    """Of 1, 2, 3 and two failures: median 2, or the third of five, 3; with four failures it is infinite."""
    medians = error_medians([1.0, 2.0, 3.0, np.nan, np.nan])
    assert (medians.without_failures.value, medians.without_failures.n) == (2.0, 3)
    assert (medians.with_failures.value, medians.with_failures.n, medians.n_failed) == (3.0, 5, 2)
    assert medians.with_failures.high == np.inf
    assert medians.with_failures.low >= 1.0
    assert error_medians([1.0, 2.0, 3.0, *[np.nan] * 4]).with_failures.value == np.inf
    none = error_medians([])
    assert np.isnan(none.without_failures.value)
    assert none.with_failures.n == 0


def test_median_interval_covers_the_true_median() -> None:
    hits = 0
    for seed in range(200):
        sample = np.random.default_rng(seed).normal(3.0, 1.0, 40)
        _, low, high = median_interval(sample, draws=400)
        hits += low <= 3.0 <= high
    assert 0.89 <= hits / 200 <= 0.99
    assert all(np.isnan(median_interval([])))
