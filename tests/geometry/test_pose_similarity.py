"""A similarity from poses: exact where they are, with one view, two, or all on one line."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Pose, rotation_angle_deg
from geocorrect.geometry.similarity import Similarity, fit_pose_similarity

TRUTH = Similarity(1.7, Rotation.from_rotvec([0.4, -0.2, 2.5]), np.array([120.0, -40.0, 8.0]))


def street(count: int, seed: int = 0) -> list[Pose]:
    """Poses along a straight line, headings all over."""
    random = np.random.default_rng(seed)
    return [Pose(Rotation.from_rotvec(random.normal(0.0, 0.8, 3)), np.array([2.0 * i, 0.0, 0.0])) for i in range(count)]


@pytest.mark.parametrize("count", [2, 3, 6])
def test_exact_poses_give_the_exact_similarity(count: int) -> None:
    source = street(count)
    fit = fit_pose_similarity([TRUTH.apply_pose(pose) for pose in source], source)
    assert fit.is_scale_known
    assert fit.target_from_source.scale == pytest.approx(1.7, rel=1e-9)
    assert rotation_angle_deg(fit.target_from_source.rotation, TRUTH.rotation) < 1e-6
    np.testing.assert_allclose(fit.target_from_source.translation_m, TRUTH.translation_m, atol=1e-8)
    np.testing.assert_allclose(fit.centre_residual_m, 0.0, atol=1e-8)
    np.testing.assert_allclose(fit.rotation_residual_deg, 0.0, atol=1e-5)


def test_one_view_gives_a_rigid_transform_that_fits_it() -> None:
    known, predicted = TRUTH.apply_pose(street(1)[0]), Pose(Rotation.from_rotvec([0.0, 0.1, 0.0]), [0.1, 0.0, 0.2])
    fit = fit_pose_similarity([known], [predicted])
    assert not fit.is_scale_known
    assert fit.target_from_source.scale == 1.0
    np.testing.assert_allclose(fit.target_from_source.apply_pose(predicted).matrix, known.matrix, atol=1e-12)


def test_views_at_one_place_fix_no_scale() -> None:
    source = [Pose(pose.rotation, np.array([0.1 * i, 0.0, 0.0])) for i, pose in enumerate(street(3))]
    fit = fit_pose_similarity(source, source)
    assert not fit.is_scale_known
    assert fit.target_from_source.scale == 1.0


def test_predictions_at_one_place_fix_no_scale() -> None:
    known = street(3)
    fit = fit_pose_similarity(known, [Pose(pose.rotation, np.zeros(3)) for pose in known])
    assert not fit.is_scale_known


def test_noise_is_averaged_and_seen_in_the_residuals() -> None:
    random = np.random.default_rng(1)
    source = street(8)
    known = [
        TRUTH.apply_pose(pose).perturbed([*random.normal(0, 0.2, 3), *np.radians(random.normal(0, 1.0, 3))])
        for pose in source
    ]
    fit = fit_pose_similarity(known, source)
    assert rotation_angle_deg(fit.target_from_source.rotation, TRUTH.rotation) < 2.0
    assert fit.target_from_source.scale == pytest.approx(1.7, rel=0.03)
    assert 0.1 < np.sqrt(np.mean(fit.centre_residual_m**2)) < 0.6
    assert 0.5 < np.sqrt(np.mean(fit.rotation_residual_deg**2)) < 3.0


@pytest.mark.parametrize("baseline_m", [4.0, 40.0, 400.0])
def test_rotations_and_centres_count_by_their_sigmas(baseline_m: float) -> None:
    """Rotations say 3°, centres say 0°: the answer is the mean of the two by their information."""
    source = [Pose(Rotation.identity(), np.zeros(3)), Pose(Rotation.identity(), np.array([baseline_m, 0.0, 0.0]))]
    turned = Rotation.from_euler("z", 3.0, degrees=True)
    known = [Pose(turned * pose.rotation, pose.translation_m) for pose in source]
    by_rotations = 2 / np.radians(1.0) ** 2
    by_centres = 2 * (baseline_m / 2) ** 2 / 0.3**2
    fit = fit_pose_similarity(known, source)
    found = rotation_angle_deg(fit.target_from_source.rotation, Rotation.identity())
    assert found == pytest.approx(3.0 * by_rotations / (by_rotations + by_centres), rel=0.01)


def test_different_numbers_of_views_are_refused() -> None:
    with pytest.raises(ValueError, match="same views twice, got 2 and 3"):
        fit_pose_similarity(street(2), street(3))
