"""Umeyama: recovers known transforms, refuses what the points cannot determine, never returns a mirror."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import DegenerateError, Freedom, Similarity, umeyama

ANY = settings(max_examples=100, deadline=None, derandomize=True)
FREEDOMS: tuple[Freedom, ...] = ("similarity", "rigid", "yaw")


@st.composite
def similarities(draw: st.DrawFn, freedom: Freedom = "similarity") -> Similarity:
    scale = math.exp(draw(st.floats(-5, 5))) if freedom == "similarity" else 1.0
    rotvec = np.array([draw(st.floats(-math.pi, math.pi)) for _ in range(3)])
    if freedom == "yaw":
        rotvec[:2] = 0.0
    translation = np.array([draw(st.floats(-1e6, 1e6)) for _ in range(3)])
    return Similarity(scale, Rotation.from_rotvec(rotvec), translation)


def cloud(seed: int, count: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3)) * [30.0, 20.0, 3.0] + [500.0, -300.0, 40.0]


def residuals_m(transform: Similarity, target: np.ndarray, source: np.ndarray) -> np.ndarray:
    return np.linalg.norm(target - transform.apply(source), axis=1)


@ANY
@given(st.data(), st.sampled_from(FREEDOMS), st.integers(3, 20), st.integers(0, 1000))
def test_recovers_the_truth(data: st.DataObject, freedom: Freedom, count: int, seed: int) -> None:
    truth = data.draw(similarities(freedom))
    source = cloud(seed, count)
    found = umeyama(truth.apply(source), source, freedom)
    assert found.scale == pytest.approx(truth.scale, rel=1e-6)
    assert residuals_m(found, truth.apply(source), source).max() < 1e-7 * (1 + truth.scale)
    np.testing.assert_allclose(np.linalg.det(found.rotation.as_matrix()), 1.0)


@pytest.mark.parametrize("freedom", FREEDOMS)
def test_is_the_least_squares_optimum(freedom: Freedom) -> None:
    """No small step in any allowed direction lowers the weighted cost; a general optimiser finds nothing better."""
    random = np.random.default_rng(8)
    source = cloud(8) - [500.0, -300.0, 40.0]
    truth = Similarity(1.0, Rotation.from_rotvec([0, 0, 0.8]), np.array([3.0, 4.0, 5.0]))
    target = truth.apply(source) + random.normal(size=source.shape)
    weights = random.uniform(0.1, 3.0, len(source))
    found = umeyama(target, source, freedom, weights)

    def cost(step: np.ndarray) -> float:
        turn = Rotation.from_rotvec([0, 0, step[2]] if freedom == "yaw" else step[:3])
        scale = found.scale * math.exp(step[6]) if freedom == "similarity" else 1.0
        moved = Similarity(scale, turn * found.rotation, found.translation_m + step[3:6])
        return float(weights @ residuals_m(moved, target, source) ** 2)

    assert cost(np.zeros(7)) <= minimize(cost, np.zeros(7), method="BFGS").fun * (1 + 1e-9)


def test_a_mirrored_cloud_gives_a_rotation_not_a_mirror() -> None:
    source = cloud(1)
    for target in (source * [-1, 1, 1], source * [1, 1, -1], -source):
        for freedom in ("similarity", "rigid"):
            found = umeyama(target, source, freedom)
            assert np.linalg.det(found.rotation.as_matrix()) == pytest.approx(1.0)
            assert residuals_m(found, target, source).max() > 1.0


def test_coplanar_points_are_enough_and_not_mirrored() -> None:
    source = cloud(2) * [1, 1, 0]
    truth = Similarity(2.0, Rotation.from_rotvec([0.4, -0.2, 2.0]), np.array([1.0, 2.0, 3.0]))
    found = umeyama(truth.apply(source), source)
    np.testing.assert_allclose(found.rotation.as_matrix(), truth.rotation.as_matrix(), atol=1e-12)


LINE = np.outer(np.arange(6.0), [1.0, 2.0, 0.5])


@pytest.mark.parametrize(
    ("source", "freedom"),
    [
        (LINE, "similarity"),
        (LINE, "rigid"),
        (LINE + np.random.default_rng(3).normal(size=(6, 3)) * 1e-4, "rigid"),
        (np.ones((5, 3)), "rigid"),
        (np.ones((5, 3)) * [1, 1, 0] + np.arange(5)[:, None] * [0, 0, 1.0], "yaw"),
        (cloud(4, 2), "rigid"),
        (cloud(4, 1), "yaw"),
        (np.zeros((0, 3)), "yaw"),
    ],
)
def test_what_the_points_do_not_determine_is_refused(source: np.ndarray, freedom: Freedom) -> None:
    with pytest.raises(DegenerateError):
        umeyama(source + 10.0, source, freedom)
    with pytest.raises(DegenerateError):
        umeyama(cloud(9, len(source)), source, freedom)
    with pytest.raises(DegenerateError):
        umeyama(source, cloud(9, len(source)), freedom)


def test_a_straight_drive_fixes_yaw() -> None:
    truth = Similarity(1.0, Rotation.from_rotvec([0, 0, 1.1]), np.array([5.0, 6.0, 7.0]))
    found = umeyama(truth.apply(LINE), LINE, "yaw")
    np.testing.assert_allclose(found.rotation.as_rotvec(), [0, 0, 1.1], atol=1e-12)


def test_weights() -> None:
    source = cloud(5)
    truth = Similarity(1.5, Rotation.from_rotvec([0.1, 0.2, 0.3]), np.zeros(3))
    target = truth.apply(source)
    target[0] += 100.0
    weights = np.ones(len(source))
    weights[0] = 0.0
    found = umeyama(target, source, weights=weights)
    assert residuals_m(found, target, source)[1:].max() < 1e-9
    tripled = umeyama(np.vstack([target, target[1:2], target[1:2]]), np.vstack([source, source[1:2], source[1:2]]))
    weights = np.ones(len(source))
    weights[1] = 3.0
    weighted = umeyama(target, source, weights=weights)
    np.testing.assert_allclose(weighted.apply(source), tripled.apply(source), atol=1e-9)
    only_two = np.zeros(len(source))
    only_two[:2] = 1.0
    with pytest.raises(DegenerateError):
        umeyama(target, source, weights=only_two)


@pytest.mark.parametrize("weights", [[1.0, 1.0], [1.0, -1.0, 1.0, 1.0], [1.0, math.nan, 1.0, 1.0]])
def test_bad_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights must be 4"):
        umeyama(cloud(1, 4), cloud(1, 4), weights=weights)
    with pytest.raises(DegenerateError):
        umeyama(cloud(1, 4), cloud(1, 4), weights=np.zeros(4))


def test_bad_points_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(N, 3\)"):
        umeyama(np.zeros((4, 2)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"\(N, 3\)"):
        umeyama(np.zeros((4, 3)), np.zeros((5, 3)))
    broken = cloud(1, 4)
    broken[2, 1] = math.nan
    with pytest.raises(ValueError, match="finite"):
        umeyama(cloud(1, 4), broken)


@ANY
@given(similarities(), similarities())
def test_group_laws(a: Similarity, b: Similarity) -> None:
    points = np.random.default_rng(0).normal(size=(5, 3))
    size = 1 + np.abs(a.apply(b.apply(points))).max()
    np.testing.assert_allclose((a @ b).apply(points), a.apply(b.apply(points)), atol=1e-9 * size)
    np.testing.assert_allclose(
        a.inverse().apply(a.apply(points)), points, atol=1e-9 * (1 + np.abs(a.translation_m).max() / a.scale)
    )
    np.testing.assert_allclose(Similarity.identity().apply(points), points)


def test_a_camera_keeps_its_size_when_the_world_is_scaled() -> None:
    a_from_b = Similarity(3.0, Rotation.from_rotvec([0, 0, 0.5]), np.array([1.0, 2.0, 3.0]))
    b_from_cam = Pose(Rotation.from_rotvec([0.3, 0, 0]), np.array([4.0, 5.0, 6.0]))
    a_from_cam = a_from_b.apply_pose(b_from_cam)
    np.testing.assert_allclose(a_from_cam.translation_m, a_from_b.apply(b_from_cam.translation_m))
    # A point 2 m (of frame a) ahead of the camera is the point 2/3 (of frame b) ahead of it.
    ahead = a_from_b.apply(b_from_cam.apply([0, 0, 2.0 / 3.0]))
    np.testing.assert_allclose(a_from_cam.apply([0, 0, 2.0]), ahead)
    rigid = Similarity.from_pose(b_from_cam)
    np.testing.assert_allclose(rigid.apply([1.0, 1.0, 1.0]), b_from_cam.apply([1.0, 1.0, 1.0]))


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_bad_scales_are_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        Similarity(scale, Rotation.identity(), np.zeros(3))
