"""The noise fit finds planted noise: it is what the covariance's amplitudes are held against."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Pose
from simulation.estimator_noise import SmoothField

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from fit_noise import PairResiduals, epipolar_residuals, fit, photo_sums


def test_white_and_smooth_parts_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    photos = []
    for photo in range(12):
        shared = SmoothField.draw(rng, 2, 60.0, 1)
        group = []
        for anchor in range(3):
            own = SmoothField.draw(rng, 2, 60.0, 1)
            px = rng.uniform([0, 0], [512, 160], (500, 2))
            residual = 0.3 * rng.normal(size=500) + 0.5 * own(px)[:, 0] + 0.4 * shared(px)[:, 0]
            group.append(PairResiduals(str(photo), str(anchor), px, residual))
        photos.append(photo_sums(group))
    white, smooth, length, common = fit(photos)
    assert abs(white - 0.3) < 0.06
    assert abs(smooth - np.hypot(0.5, 0.4)) < 0.1
    assert 45 < length < 80
    assert abs(common - 0.4) < 0.12


def test_a_wrong_turn_between_the_views_is_no_noise() -> None:
    """Perfect matches, poses wrong by 0.05°: nothing is left."""
    rng = np.random.default_rng(1)
    points = rng.uniform([-8, -3, 8], [8, 3, 40], (400, 3))
    query_from_anchor = Pose(Rotation.from_euler("y", 3, degrees=True), np.array([0.4, 0.0, -3.0]))
    query, anchor = query_from_anchor.apply(points), points
    rays = [p / np.linalg.norm(p, axis=1, keepdims=True) for p in (query, anchor)]
    wrong = Pose(
        Rotation.from_rotvec(np.radians([0.03, -0.04, 0.05])) * query_from_anchor.rotation,
        query_from_anchor.translation_m,
    )
    assert np.abs(epipolar_residuals(rays[0], rays[1], wrong, 721.0)).max() < 0.02
