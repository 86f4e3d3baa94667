"""A sequence of 60 images with known truth: outliers flagged, un-anchored images placed, sigmas that grow
and hold.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.localize.sequence import SequenceOptions, adjust_sequence
from geocorrect.localize.sequence_findings import sequence_findings

N = 60
STEP_M = 2.5


def truth() -> list[Pose]:
    """A street with two bends."""
    heading = np.interp(np.arange(N), [0, 20, 26, 45, 50, N], [10, 12, 40, 42, 20, 20])
    position, poses = np.zeros(3), []
    for h in heading:
        poses.append(Pose(rotation_from_heading(h + 3.0), position.copy()))
        position = position + STEP_M * np.array([np.sin(np.radians(h)), np.cos(np.radians(h)), 0.0])
    return poses


def drifting_sfm(poses: list[Pose], rng: np.random.Generator) -> list[Pose]:
    """Relative poses with 0.06° and 1 % noise per step and a scale that drifts 1 % per 100 m, in an
    arbitrary frame.
    """
    scale, out = 1.0, [Pose.identity()]
    for first, second in pairwise(poses):
        step = first.inverse() @ second
        scale *= np.exp(0.01 * STEP_M / 100.0)
        turn = Rotation.from_rotvec(rng.normal(0, np.radians(0.06), 3))
        moved = step.translation_m * scale + rng.normal(0, 0.01 * STEP_M / np.sqrt(3), 3)
        out.append(out[-1] @ Pose(step.rotation * turn, moved))
    frame = Similarity(0.31, Rotation.from_rotvec([0.3, -1.2, 0.7]), np.array([40.0, -3.0, 9.0]))
    return [frame.apply_pose(p) for p in out]


def single_results(
    poses: list[Pose], rng: np.random.Generator, anchored: np.ndarray, wrong: set[int]
) -> list[Pose | None]:
    results: list[Pose | None] = []
    sigma = np.array([0.1] * 3 + [np.radians(0.3)] * 3)
    for i, pose in enumerate(poses):
        if i not in anchored:
            results.append(None)
            continue
        noisy = pose.perturbed(sigma * rng.normal(0, 1, 6))
        if i in wrong:
            noisy = Pose(noisy.rotation, noisy.translation_m + rng.choice([-1, 1], 3) * rng.uniform(2, 12, 3))
        results.append(noisy.with_covariance(np.diag(sigma**2)))
    return results


@pytest.mark.parametrize("seed", range(5))
def test_sequence_flags_sharpens_and_fills(seed: int) -> None:
    rng = np.random.default_rng(seed)
    poses = truth()
    anchored = rng.choice(N, int(0.3 * N), replace=False)
    wrong = set(anchored[: max(2, len(anchored) // 10)].tolist())
    results = single_results(poses, rng, anchored, wrong)
    adjusted = adjust_sequence(drifting_sfm(poses, rng), results, SequenceOptions())
    assert adjusted is not None
    error = np.array(
        [np.linalg.norm(a.world_from_cam.translation_m - p.translation_m) for a, p in zip(adjusted, poses, strict=True)]
    )
    assert {i for i, a in enumerate(adjusted) if a.is_outlier} == wrong
    free = np.array([i for i in range(N) if i not in anchored])
    assert np.median(error[free]) < 0.3
    good = np.array([i for i in anchored if i not in wrong])
    single = [np.linalg.norm(results[i].translation_m - poses[i].translation_m) for i in good]
    assert np.median(error[good]) <= np.median(single)
    sigmas = np.array([np.sqrt(np.trace(a.world_from_cam.covariance[:3, :3])) for a in adjusted])
    assert (error < 4 * sigmas).all()


def test_sigma_grows_with_the_distance_from_the_last_result() -> None:
    rng = np.random.default_rng(1)
    poses = truth()
    results = single_results(poses, rng, np.arange(0, 30, 3), set())
    adjusted = adjust_sequence(drifting_sfm(poses, rng), results, SequenceOptions())
    assert adjusted is not None
    sigma = [np.sqrt(np.trace(adjusted[i].world_from_cam.covariance[:3, :3])) for i in (28, 38, 48, 58)]
    assert sigma[0] < sigma[1] < sigma[2] < sigma[3]
    assert [adjusted[i].steps_to_result for i in (27, 28, 58)] == [0, 1, 31]
    within_50_m = [
        np.linalg.norm(adjusted[i].world_from_cam.translation_m - poses[i].translation_m) for i in range(28, 47)
    ]
    assert np.median(within_50_m) < 0.5


def test_nothing_to_hold_on_to_is_none() -> None:
    poses = truth()
    assert adjust_sequence(poses, [None] * N, SequenceOptions()) is None
    with pytest.raises(ValueError, match="relative poses"):
        adjust_sequence(poses, [None], SequenceOptions())


def test_device_offset_heading_bias_and_lag_are_found() -> None:
    rng = np.random.default_rng(0)
    time_s = np.arange(80.0)
    angle = 0.08 * time_s
    position = np.stack([60 * np.sin(angle), 60 * np.cos(angle)], axis=1)
    velocity = np.gradient(position, axis=0)
    reported = position + np.array([3.0, -2.0]) - 0.8 * velocity + rng.normal(0, 0.3, position.shape)
    heading = np.degrees(angle) % 360
    found = sequence_findings(reported, position, (heading + 356.0) % 360, heading, time_s)
    assert found.time_lag_s == pytest.approx(0.8, abs=0.05)
    assert found.heading_bias_deg == pytest.approx(-4.0, abs=1e-6)
    still = sequence_findings(position + np.array([3.0, -2.0]), position, heading, heading, time_s)
    assert (still.offset_east_m, still.offset_north_m) == pytest.approx((3.0, -2.0))
