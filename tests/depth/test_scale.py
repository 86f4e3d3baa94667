"""The four scale heuristics of the thesis on points whose scale is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.depth.scale import (
    COMMON_FLOOR,
    DepthScale,
    ScaleError,
    ScaleHeuristic,
    ScaleOptions,
    estimate_scale,
    scale_depth,
    scale_from_lidar,
    train_set_scale,
)
from geocorrect.geometry.camera import Camera
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
    scales = [stated(1, 1, 1), stated(2, 3, 9), stated(1.5, 2, 2)]
    np.testing.assert_allclose(train_set_scale(scales).factors, [1.5, 2.0, 2.0])
    with pytest.raises(ScaleError, match="no training scale"):
        train_set_scale([])


def stated(*factors: float) -> DepthScale:
    return DepthScale(np.array(factors), "stated", is_oracle=False)


def test_depth_is_scaled_along_its_rays() -> None:
    dense = DepthMap("net", is_oracle=False, z_m=np.array([[2.0, np.nan]], np.float32), common_log_sigma=0.3)
    scaled = scale_depth(dense, stated(9, 9, 1.5))
    np.testing.assert_array_equal(scaled.z_m, np.array([[3.0, np.nan]], np.float32))
    assert (scaled.name, scaled.common_log_sigma) == ("net*stated", 0.3)
    sparse = DepthMap("net", is_oracle=False, samples_px=np.zeros((1, 2)), samples_z_m=np.array([4.0]))
    np.testing.assert_array_equal(scale_depth(sparse, stated(9, 9, 0.5)).samples_z_m, [2.0])


CAMERA = Camera.from_opencv(160, 120, (130.0, 128.0, 80.0, 59.0), (-0.15, 0.05, 0.001, -0.001))


def street(factor: float) -> tuple[DepthMap, DepthMap]:
    """A sloping plane as a network sees it, too far by 1 / factor and unknown on the left; the LiDAR's samples."""
    random = np.random.default_rng(5)
    px = random.uniform(-0.49, [159.49, 119.49], (800, 2))
    inverse = 0.05 + 0.0008 * px[:, 1] + 0.0002 * px[:, 0]
    v, u = np.mgrid[0:120, 0:160]
    z_m = 1.0 / (0.05 + 0.0008 * v + 0.0002 * u) / factor
    z_m[:, :40] = np.nan
    predicted = DepthMap("net", is_oracle=False, z_m=z_m.astype(np.float32), common_log_sigma=0.4)
    return predicted, DepthMap("lidar", is_oracle=True, samples_px=px, samples_z_m=1.0 / inverse)


@EVERY
def test_a_picture_is_scaled_by_its_own_lidar_and_called_an_oracle(heuristic: ScaleHeuristic) -> None:
    predicted, lidar = street(0.7)
    scale = scale_from_lidar(predicted, lidar, CAMERA, heuristic)
    np.testing.assert_allclose(scale.factors, 0.7, rtol=3e-3)
    assert 550 < scale.n < 650
    scaled = scale_depth(predicted, scale)
    assert scaled.is_oracle
    assert scaled.name == f"net*{heuristic}"
    assert scaled.common_log_sigma == pytest.approx(COMMON_FLOOR, rel=0.02)


def test_points_of_a_pixel_lie_on_its_ray_distortion_included() -> None:
    """With other factors per axis the directions would differ: the lens is the camera's business, not the scale's."""
    predicted, lidar = street(1.0)
    scale = scale_from_lidar(predicted, lidar, CAMERA, ScaleHeuristic.PER_AXIS_L2)
    assert np.ptp(scale.factors) < 2e-3


def test_a_train_set_median_is_no_oracle() -> None:
    """Of six pictures five agree to 4 %; the sixth is nonsense and moves neither median nor sigma much."""
    factors = (0.70, 0.72, 0.68, 0.71, 0.69, 3.0)
    pictures = [scale_from_lidar(*street(factor), CAMERA, ScaleHeuristic.PER_AXIS_L1) for factor in factors]
    median = train_set_scale(pictures)
    assert median.factors[2] == pytest.approx(0.705, rel=3e-3)
    assert not median.is_oracle
    assert median.n == 6
    assert COMMON_FLOOR <= median.common_log_sigma < 0.05
    assert not scale_depth(street(0.7)[0], median).is_oracle
    assert np.isnan(train_set_scale(pictures[:4]).common_log_sigma)
    assert scale_depth(street(0.7)[0], train_set_scale(pictures[:4])).common_log_sigma == 0.4


def test_what_cannot_be_compared_is_refused() -> None:
    predicted, lidar = street(0.7)
    with pytest.raises(ScaleError, match="dense predicted map"):
        scale_from_lidar(lidar, lidar, CAMERA, ScaleHeuristic.SIMILARITY)
    empty = DepthMap("lidar", is_oracle=True, samples_px=np.zeros((0, 2)), samples_z_m=np.zeros(0))
    with pytest.raises(ScaleError, match="0 common points"):
        scale_from_lidar(predicted, empty, CAMERA, ScaleHeuristic.SIMILARITY)
    for wrong in ({"factor": 0.0}, {"common_log_sigma": -1.0}, {"factor": 2.0, "heuristic": "similarity"}):
        with pytest.raises(ValueError, match="depth scale"):
            ScaleOptions(**wrong)  # type: ignore[arg-type]
