"""Rigid poses: group laws for any pose, covariance transport against Monte Carlo, inputs refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Pose, interpolate, rotation_angle_deg

ANY = settings(max_examples=100, deadline=None, derandomize=True)
SAMPLES = 200_000


@st.composite
def poses(draw: st.DrawFn) -> Pose:
    numbers = st.floats(-1e4, 1e4)
    rotvec = [draw(st.floats(-math.pi, math.pi)) for _ in range(3)]
    return Pose(Rotation.from_rotvec(rotvec), np.array([draw(numbers) for _ in range(3)]))


def assert_same(first: Pose, second: Pose, tolerance_m: float = 1e-8) -> None:
    np.testing.assert_allclose(first.matrix[:3, :3], second.matrix[:3, :3], atol=1e-12)
    np.testing.assert_allclose(first.translation_m, second.translation_m, atol=tolerance_m)


@pytest.mark.long
@ANY
@given(poses(), poses(), poses())
def test_group_laws(a: Pose, b: Pose, c: Pose) -> None:
    assert_same(a @ a.inverse(), Pose.identity())
    assert_same(a.inverse().inverse(), a)
    assert_same((a @ b) @ c, a @ (b @ c))
    assert_same((a @ b).inverse(), b.inverse() @ a.inverse())
    points = np.random.default_rng(0).normal(size=(4, 5, 3))
    np.testing.assert_allclose((a @ b).apply(points), a.apply(b.apply(points)), atol=1e-8)
    np.testing.assert_allclose((a @ b).matrix, a.matrix @ b.matrix, atol=1e-8)


@ANY
@given(poses())
def test_representations_round_trip(pose: Pose) -> None:
    assert_same(Pose.from_matrix(pose.matrix), pose)
    assert_same(Pose.from_matrix(pose.matrix[:3]), pose)
    assert_same(Pose.from_quaternion(pose.quaternion_xyzw, pose.translation_m), pose)
    assert pose.quaternion_xyzw[3] >= 0
    homogeneous = pose.matrix @ np.array([1.0, 2.0, 3.0, 1.0])
    np.testing.assert_allclose(pose.apply([1.0, 2.0, 3.0]), homogeneous[:3], atol=1e-8)


@ANY
@given(poses(), st.lists(st.floats(-1, 1), min_size=6, max_size=6))
def test_minus_undoes_perturbed(pose: Pose, tangent: list[float]) -> None:
    np.testing.assert_allclose(pose.perturbed(tangent).minus(pose), tangent, atol=1e-9)


def test_the_translation_of_world_from_cam_is_the_camera_centre() -> None:
    world_from_cam = Pose(Rotation.from_rotvec([0.1, 0.5, -0.3]), np.array([10.0, 20.0, 1.6]))
    np.testing.assert_allclose(world_from_cam.apply([0.0, 0.0, 0.0]), [10.0, 20.0, 1.6])
    np.testing.assert_allclose(world_from_cam.inverse().apply([10.0, 20.0, 1.6]), 0.0, atol=1e-14)


def random_covariance(seed: int, sigma: float = 1e-3) -> np.ndarray:
    root = np.random.default_rng(seed).normal(size=(6, 6)) * sigma
    return root @ root.T


def uncertain_pose(seed: int) -> Pose:
    random = np.random.default_rng(seed)
    return Pose(Rotation.random(rng=random), random.normal(size=3) * 5, random_covariance(seed))


def samples_of(pose: Pose, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotation matrices and translations of poses drawn from the covariance, by the definition in the docstring."""
    draws = np.random.default_rng(seed).multivariate_normal(np.zeros(6), pose.covariance, SAMPLES)
    rotations = (Rotation.from_rotvec(draws[:, 3:]) * pose.rotation).as_matrix()
    return rotations, pose.translation_m + draws[:, :3]


def sampled_covariance(rotations: np.ndarray, translations: np.ndarray, mean: Pose) -> np.ndarray:
    turned = Rotation.from_matrix(rotations) * mean.rotation.inv()
    return np.cov(np.hstack([translations - mean.translation_m, turned.as_rotvec()]).T)


def assert_covariances_agree(predicted: np.ndarray | None, sampled: np.ndarray) -> None:
    """Entries scaled by the standard deviations; 200,000 samples know a correlation to 0.0022 (1 sigma)."""
    assert predicted is not None
    sigma = np.sqrt(np.diag(sampled))
    np.testing.assert_allclose(predicted / np.outer(sigma, sigma), sampled / np.outer(sigma, sigma), atol=0.012)


@pytest.mark.parametrize("seed", [1, 2])
def test_covariance_of_the_inverse_against_monte_carlo(seed: int) -> None:
    pose = uncertain_pose(seed)
    rotations, translations = samples_of(pose, seed + 100)
    inverse = rotations.swapaxes(1, 2)
    moved = -np.einsum("nij,nj->ni", inverse, translations)
    assert_covariances_agree(pose.inverse().covariance, sampled_covariance(inverse, moved, pose.inverse()))


@pytest.mark.long
@pytest.mark.parametrize("seed", [3, 4])
def test_covariance_of_a_composition_against_monte_carlo(seed: int) -> None:
    first, second = uncertain_pose(seed), uncertain_pose(seed + 50)
    r1, t1 = samples_of(first, seed + 100)
    r2, t2 = samples_of(second, seed + 200)
    product = first @ second
    sampled = sampled_covariance(r1 @ r2, np.einsum("nij,nj->ni", r1, t2) + t1, product)
    assert_covariances_agree(product.covariance, sampled)


def test_covariance_of_one_factor_alone() -> None:
    certain = Pose(Rotation.from_rotvec([0.2, 0.1, 0.4]), np.array([3.0, -2.0, 1.0]))
    uncertain = uncertain_pose(5)
    for product in (certain @ uncertain, uncertain @ certain):
        assert product.covariance is not None
    assert (certain @ certain).covariance is None
    back = certain.inverse() @ (certain @ uncertain)
    np.testing.assert_allclose(back.covariance, uncertain.covariance, atol=1e-18)


def test_rotating_about_the_camera_does_not_move_it() -> None:
    """World-side perturbation: the translation block is the position covariance whatever the lever arm."""
    covariance = np.diag([0.0, 0.0, 0.0, 1e-4, 1e-4, 1e-4])
    far = Pose(Rotation.identity(), np.array([1000.0, 0.0, 0.0]), covariance)
    shifted = Pose(Rotation.identity(), np.array([5.0, 5.0, 0.0])) @ far
    np.testing.assert_allclose(shifted.covariance[:3, :3], 0.0, atol=1e-15)


@ANY
@given(poses(), poses(), st.floats(0, 1))
def test_interpolation_is_even(first: Pose, second: Pose, fraction: float) -> None:
    between = interpolate(first, second, fraction)
    whole = rotation_angle_deg(first.rotation, second.rotation)
    assert rotation_angle_deg(first.rotation, between.rotation) == pytest.approx(fraction * whole, abs=1e-5)
    assert rotation_angle_deg(between.rotation, second.rotation) == pytest.approx((1 - fraction) * whole, abs=1e-5)
    expected = first.translation_m + fraction * (second.translation_m - first.translation_m)
    np.testing.assert_allclose(between.translation_m, expected, atol=1e-9)


def test_no_extrapolation() -> None:
    for fraction in (-0.01, 1.01, math.nan):
        with pytest.raises(ValueError, match="extrapolate"):
            interpolate(Pose.identity(), Pose.identity(), fraction)


def test_a_pose_cannot_be_changed_in_place() -> None:
    given_m = np.array([1.0, 2.0, 3.0])
    pose = Pose(Rotation.identity(), given_m, np.eye(6))
    given_m[0] = 99.0
    assert pose.translation_m[0] == 1.0
    for array in (pose.translation_m, pose.covariance):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5.0


MIRROR = np.diag([1.0, 1.0, -1.0, 1.0])
SCALED = np.diag([2.0, 2.0, 2.0, 1.0])
PROJECTIVE = np.eye(4) + np.array([[0, 0, 0, 0]] * 3 + [[0.1, 0, 0, 0]])


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (MIRROR, "mirrored"),
        (SCALED, "not orthonormal"),
        (PROJECTIVE, "last row"),
        (np.eye(3), "got shape"),
        (np.full((4, 4), np.nan), "finite"),
    ],
)
def test_bad_matrices_are_refused(matrix: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pose.from_matrix(matrix)


@pytest.mark.parametrize("quaternion", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 0, 1), (0, 0, 0, math.nan)])
def test_bad_quaternions_are_refused(quaternion: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="quaternion"):
        Pose.from_quaternion(quaternion, [0, 0, 0])


def test_bad_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="translation"):
        Pose(Rotation.identity(), np.array([1.0, math.nan, 0.0]))
    with pytest.raises(ValueError, match="translation"):
        Pose(Rotation.identity(), np.zeros(2))
    with pytest.raises(ValueError, match="one finite rotation"):
        Pose(Rotation.from_rotvec(np.zeros((2, 3))), np.zeros(3))


@pytest.mark.parametrize(
    "covariance", [np.eye(5), np.full((6, 6), np.nan), -np.eye(6), np.diag([1e-10] * 5 + [-1e-10])]
)
def test_bad_covariances_are_refused(covariance: np.ndarray) -> None:
    with pytest.raises(ValueError, match="covariance"):
        Pose(Rotation.identity(), np.zeros(3), covariance)
