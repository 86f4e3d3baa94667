"""A street behind slow traffic: most of the matches agree on a wrong pose, and what they leave over on another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.tangent import unit_rays
from geocorrect.localize.joint import estimate
from geocorrect.localize.joint.estimate import solve_joint
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import Solution
from geocorrect.records import Anchor

Float = NDArray[np.float64]

CAMERA = replace(Camera.pinhole(1240, 376, 700.0, 700.0, 619.5, 187.5), focal_sigma=3e-4)
PHOTO = Pose(Rotation.identity(), np.array([0.6, 0.0, 1.0]))
"""Taken a second after the middle anchor, beside the anchors' way, by a camera as fast as they: a metre a second."""
PACE = 0.12
"""Of the anchors', at which vehicles move along. They look standing, and 1 / (1 − PACE) times as far: the photo is put
off by 0.6 m · PACE / (1 − PACE) = 8 cm."""


def seen(moving: int, standing: int, mismatches: int = 0, seed: int = 4) -> list[Observations]:
    """Matches with three anchors 4 m apart, whose depth is triangulated from each other, some of them mismatches."""
    rng = np.random.default_rng(seed)
    n = moving + standing
    moves, wrong = np.arange(n) < moving, np.arange(n) >= n - mismatches
    points = np.column_stack([rng.uniform(-8, 8, n), rng.uniform(-4, 2, n), rng.uniform(12, 30, n)])
    found = []
    for number, along_m in enumerate((-4.0, 0.0, 4.0)):
        there = np.array([0.0, 0.0, along_m])
        then = points + moves[:, None] * [0.0, 0.0, PACE * along_m] - there
        now = points + moves[:, None] * [0.0, 0.0, PACE * PHOTO.translation_m[2]]
        anchor_px = CAMERA.project(then)[0] + 0.15 * rng.normal(size=(n, 2))
        query_px = CAMERA.project(PHOTO.inverse().apply(now))[0]
        anchor_px[wrong] += rng.uniform(-25, 25, (mismatches, 2))
        inside = ((query_px >= 0) & (query_px < [1240, 376])).all(axis=1)
        depth_m = then[:, 2] / np.where(moves, 1.0 - PACE, 1.0)
        anchor = Anchor(str(number), "d", Path("none"), CAMERA, Pose(Rotation.identity(), there), "s")
        rays = unit_rays(CAMERA, query_px[inside]), unit_rays(CAMERA, anchor_px[inside])
        sigma = np.full(inside.sum(), 0.02)
        found.append(
            Observations(
                anchor, query_px[inside], anchor_px[inside], *rays, depth_m[inside], sigma,
                n_matches=n, depth_from=frozenset("012"),
            )
        )  # fmt: skip
    return found


def solved(observations: list[Observations]) -> tuple[float, float, Float]:
    """How far the photo is off, in metres and in stated sigmas, and its covariance."""
    solution = solve_joint(observations, CAMERA, LocalizeOptions(), 0)
    assert isinstance(solution, Solution)
    off, covariance = solution.world_from_cam.minus(PHOTO)[:3], solution.world_from_cam.covariance
    assert covariance is not None
    return float(np.linalg.norm(off)), float(np.sqrt(off @ np.linalg.solve(covariance[:3, :3], off))), covariance


def without_the_search(observations: list[Observations], monkeypatch: pytest.MonkeyPatch) -> tuple[float, float, Float]:
    with monkeypatch.context() as patched:
        patched.setattr(estimate, "close_motion", lambda joint, settled: np.zeros((6, 6)))
        return solved(observations)


@pytest.mark.parametrize("standing", [9, 40, 120])
def test_slow_traffic_is_in_the_stated_error(standing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    observations = seen(moving=500, standing=standing)
    off_m, sigmas, _ = solved(observations)
    assert 0.05 < off_m < 0.1, "the vehicles have the majority"
    assert sigmas < 3.0
    assert without_the_search(observations, monkeypatch)[1] > 3.0


@pytest.mark.parametrize("seed", range(2))
def test_mismatches_agree_on_no_pose(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    observations = seen(moving=0, standing=540, mismatches=60, seed=seed)
    off_m, sigmas, covariance = solved(observations)
    assert off_m < 0.02
    assert sigmas < 3.0
    assert (covariance == without_the_search(observations, monkeypatch)[2]).all()


def test_a_vehicle_that_hardly_shows_widens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    observations = seen(moving=6, standing=500)
    assert (solved(observations)[2] == without_the_search(observations, monkeypatch)[2]).all()
