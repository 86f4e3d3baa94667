"""Points that a depth source puts off the matches' rays: how far along the ray they are, and how wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.known_world import CAMERA, KnownWorld, OffRayWorld, world

from geocorrect.geometry.pose import Pose
from geocorrect.localize.correct import observe
from geocorrect.localize.estimators.base import Estimator
from geocorrect.localize.estimators.pooled import PoseLibEstimator
from geocorrect.localize.joint.estimate import JointEstimator
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import Solution
from geocorrect.records import Anchor, AnchorView, Query

OPTIONS = LocalizeOptions()
CHI2_999 = 16.3
"""χ² with three degrees of freedom: 99.9 % are below."""
TURNED = Rotation.from_euler("y", 5.0, degrees=True).as_matrix()
"""A network whose idea of straight ahead is 5° off: right distances, z wrong by ±6 % at the sides."""


def off_ray(rays: np.ndarray, points_m: np.ndarray, log_sigma: float) -> Observations:
    n = len(rays)
    anchor = Anchor("0", "test", Path("none"), CAMERA, Pose.identity(), "exact")
    sigma = np.full(n, log_sigma)
    return Observations(
        anchor, np.zeros((n, 2)), np.zeros((n, 2)), rays, rays, points_m[:, 2], sigma, off_ray_m=points_m
    )


def test_the_foot_of_the_perpendicular_by_hand() -> None:
    ahead, slanted = np.array([0.0, 0.0, 1.0]), np.array([0.6, 0.0, 0.8])
    rays = np.stack([ahead, slanted, slanted, slanted])
    points = np.array([[1.0, 0.0, 10.0], [6.0, 0.0, 8.0], [0.0, 0.0, 10.0], [-20.0, 0.0, 1.0]])
    found = off_ray(rays, points, 0.05).on_rays()
    np.testing.assert_allclose(found.depth_m, [10.0, 8.0, 6.4, np.nan])  # z 10, 8, 10: the third is 8 m along
    np.testing.assert_allclose(found.log_sigma[:3], [0.1 / np.sqrt(2), 0.05, 0.75 / np.sqrt(2)])
    np.testing.assert_allclose(found.points_m[:3], [[0.0, 0.0, 10.0], [6.0, 0.0, 8.0], [4.8, 0.0, 6.4]])
    assert found.has_depth.tolist() == [True, True, True, False]
    assert found.on_rays() is found


@pytest.mark.parametrize("turn_deg", [0.0, 30.0, 65.0])
def test_the_stated_error_is_that_of_the_point_whatever_its_direction(turn_deg: float) -> None:
    """Points with an error of 5 % in every direction; z alone on the ray errs by 1 / cos of the angle to the axis."""
    n, sigma = 4000, 0.05
    ray = Rotation.from_euler("y", turn_deg, degrees=True).apply([0.0, 0.0, 1.0])
    true = 12.0 * ray
    points = true + 12.0 * sigma * np.random.default_rng(0).normal(size=(n, 3))
    found = off_ray(np.tile(ray, (n, 1)), points, sigma).on_rays()
    error = np.log(found.depth_m / true[2])
    assert np.std(error) == pytest.approx(sigma, rel=0.05)
    assert 0.7 < np.mean((error / found.log_sigma) ** 2) < 1.05
    assert np.std(np.log(points[:, 2] / true[2])) == pytest.approx(sigma / np.cos(np.radians(turn_deg)), rel=0.1)


def solved(known: KnownWorld, query: Query, seen: Observations, estimator: Estimator) -> tuple[float, float, float]:
    """(position error in metres, rotation in degrees, squared position error in stated sigmas)."""
    found = estimator.solve([seen], query, OPTIONS, 0)
    assert isinstance(found, Solution)
    pose = found.world_from_cam
    assert pose.covariance is not None
    off_m = pose.translation_m - known.truth.translation_m
    turn_deg = np.degrees((pose.rotation * known.truth.rotation.inv()).magnitude())
    return float(np.linalg.norm(off_m)), turn_deg, float(off_m @ np.linalg.solve(pose.covariance[:3, :3], off_m))


def seen_by(known: KnownWorld, query: Query, views: list[AnchorView], matrix: np.ndarray) -> Observations:
    depth = OffRayWorld(known, matrix).pair_depth(views[0].anchor, views[0].pixels, query.pixels)
    return observe(query, views[0], known.match(query.pixels, [views[0].pixels])[0], depth, OPTIONS, 0, known)


def test_the_joint_estimator_takes_points_and_not_z_on_the_ray() -> None:
    for seed in range(3):
        known, query, views = world(seed)
        seen = seen_by(known, query, views, TURNED)
        right = solved(known, query, seen, JointEstimator())
        on_ray = solved(known, query, replace(seen, off_ray_m=None), JointEstimator())
        assert right[0] < 0.03
        assert right[2] < CHI2_999
        assert on_ray[0] > 2.0 * right[0]


def test_a_pose_by_pnp_from_points_off_the_rays_says_how_wrong_it_is() -> None:
    """Turned points turn the pose about the anchor: by 5°, and by 0.4 m at 4.5 m from it."""
    known, query, views = world(0)
    error_m, turned_deg, chi2 = solved(known, query, seen_by(known, query, views, TURNED), PoseLibEstimator())
    assert error_m > 0.3
    assert turned_deg == pytest.approx(5.0, abs=0.2)
    assert chi2 < CHI2_999
