"""The four scale heuristics of the thesis on points whose scale is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.depth.scale import (
    ScaleError,
    ScaleHeuristic,
    estimate_scale,
    median_scale,
    scale_depth,
    scale_points,
)
from geocorrect.records import DepthMap

EVERY = pytest.mark.parametrize("heuristic", list(ScaleHeuristic))


@pytest.fixture
def predicted() -> np.ndarray:
    random = np.random.default_rng(3)
    return random.normal((0.5, -0.2, 8.0), (4.0, 1.5, 5.0), (500, 3))


@EVERY
def test_one_factor_is_recovered_by_all(heuristic: ScaleHeuristic, predicted: np.ndarray) -> None:
    np.testing.assert_allclose(estimate_scale(heuristic, predicted, 1.7 * predicted), 1.7, rtol=1e-9)


@pytest.mark.parametrize("heuristic", [ScaleHeuristic.PER_AXIS_L1, ScaleHeuristic.PER_AXIS_L2])
def test_factors_per_axis_are_recovered(heuristic: ScaleHeuristic, predicted: np.ndarray) -> None:
    factors = np.array([1.5, 1.3, 2.0])
    np.testing.assert_allclose(estimate_scale(heuristic, predicted, predicted * factors), factors, rtol=1e-9)


def test_definitions_on_three_decimal_places() -> None:
    predicted = np.tile([[1.0, 2.0, 2.0], [3.0, 0.0, 4.0]], (5, 1))
    measured = np.tile([[2.0, 2.0, 6.0], [2.0, 2.0, 2.0]], (5, 1))
    l1 = [2 / 2, 2 / 1, 4 / 3]
    l2 = [np.sqrt(8 / 10), np.sqrt(8 / 4), np.sqrt(40 / 20)]
    mean = (2 * np.sqrt(8) + np.sqrt(40)) / (np.sqrt(10) + np.sqrt(4) + np.sqrt(20))
    np.testing.assert_allclose(estimate_scale(ScaleHeuristic.PER_AXIS_L1, predicted, measured), l1)
    np.testing.assert_allclose(estimate_scale(ScaleHeuristic.PER_AXIS_L2, predicted, measured), l2)
    np.testing.assert_allclose(estimate_scale(ScaleHeuristic.MEAN_PER_AXIS_L2, predicted, measured), mean)


def test_similarity_ignores_rotation_and_translation(predicted: np.ndarray) -> None:
    measured = 0.6 * Rotation.from_rotvec([0.3, -0.2, 0.5]).apply(predicted) + [10.0, -3.0, 2.0]
    np.testing.assert_allclose(estimate_scale(ScaleHeuristic.SIMILARITY, predicted, measured), 0.6, rtol=1e-9)


@EVERY
def test_unknown_points_do_not_count(heuristic: ScaleHeuristic, predicted: np.ndarray) -> None:
    measured = 1.2 * predicted
    measured[::2, 1] = np.nan
    predicted[1::4, 2] = np.nan
    np.testing.assert_allclose(estimate_scale(heuristic, predicted, measured), 1.2, rtol=1e-9)


@EVERY
def test_too_few_points_are_refused(heuristic: ScaleHeuristic, predicted: np.ndarray) -> None:
    with pytest.raises(ScaleError, match="9 common points"):
        estimate_scale(heuristic, predicted[:9], predicted[:9])


def test_a_flat_axis_is_refused(predicted: np.ndarray) -> None:
    predicted[:, 1] = 0.0
    with pytest.raises(ScaleError, match="degenerate"):
        estimate_scale(ScaleHeuristic.PER_AXIS_L1, predicted, predicted)


def test_training_median() -> None:
    np.testing.assert_allclose(median_scale([[1, 1, 1], [2, 3, 9], [1.5, 2, 2]]), [1.5, 2.0, 2.0])
    with pytest.raises(ScaleError, match="no training scale"):
        median_scale([])


def test_scaled_points_and_depth() -> None:
    points = np.ones((2, 2, 3))
    np.testing.assert_array_equal(scale_points(points, [1, 2, 3])[0, 0], [1, 2, 3])
    dense = DepthMap("net", is_oracle=False, z_m=np.array([[2.0, np.nan]], np.float32))
    np.testing.assert_array_equal(scale_depth(dense, [9, 9, 1.5]).z_m, np.array([[3.0, np.nan]], np.float32))
    sparse = DepthMap("net", is_oracle=False, samples_px=np.zeros((1, 2)), samples_z_m=np.array([4.0]))
    scaled = scale_depth(sparse, [9, 9, 0.5])
    np.testing.assert_array_equal(scaled.samples_z_m, [2.0])
    assert scaled.name == "net*0.500"
