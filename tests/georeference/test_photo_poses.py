"""Poses of photos with measured positions, by rays of a street whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.errors import InputError
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.georeference.photos.adjust import solve_photos
from geocorrect.georeference.photos.problem import Float, PhotoProblem, SeenTogether
from geocorrect.georeference.photos.start import first_turns

ARM_M = np.array([0.2, -0.9, 0.4])
N, STEP_S, SPEED = 16, 0.75, 4.0
RAY_SIGMA = 1e-3
FINE_M = np.linspace(-20.0, 80.0, 501)


def truth(offset_s: float, corner_deg: float, ends_s: tuple[float, float] = (-np.inf, np.inf)) -> list[Pose]:
    """Photos of a drive through a corner, each taken `offset_s` later than its clock says, at the ends at most.

    A circle would not do: at constant speed its photos fit at any offset, only turned.
    """
    turn = np.radians(corner_deg) / 2 * (1 + np.tanh((FINE_M - 24.0) / 6.0))
    path = np.cumsum(np.stack([np.cos(turn), np.sin(turn)], axis=1), axis=0) * (FINE_M[1] - FINE_M[0])
    along = SPEED * np.clip(np.arange(N) * STEP_S + offset_s, *ends_s)
    yaws_deg = np.degrees(np.interp(along, FINE_M, turn))
    places = np.stack([np.interp(along, FINE_M, path[:, 0]), np.interp(along, FINE_M, path[:, 1]), 0.02 * along], 1)
    cameras = [rotation_from_heading(93.0 - yaws_deg[k], -2.0 + np.sin(k), 0.7 * np.cos(k)) for k in range(N)]
    return [Pose(camera, place) for camera, place in zip(cameras, places, strict=True)]


def problem(seed: int, offset_s: float, corner_deg: float, sigma_m: float, *, is_searched: bool = True) -> PhotoProblem:
    random = np.random.default_rng(seed)
    poses = truth(offset_s, corner_deg)
    noise = random.normal(0, sigma_m, (N, 3))

    @cache
    def antenna(shift_s: float) -> Float:
        return np.array([pose.apply(ARM_M) for pose in truth(shift_s, corner_deg)]) + noise

    def velocity(shift_s: float) -> Float:
        return (antenna(shift_s + 1e-3) - antenna(shift_s - 1e-3)) / 2e-3

    pairs = []
    for first in range(N):
        for second in range(first + 1, min(first + 3, N)):
            ahead = poses[first].apply(random.uniform([-8, -4, 8], [8, 4, 40], (40, 3)))
            seen = []
            for pose in (poses[first], poses[second]):
                rays = pose.inverse().apply(ahead)
                rays = rays / np.linalg.norm(rays, axis=1)[:, None] + random.normal(0, RAY_SIGMA, rays.shape)
                seen.append(rays / np.linalg.norm(rays, axis=1)[:, None])
            relative = poses[first].inverse() @ poses[second]
            unit = relative.translation_m / np.linalg.norm(relative.translation_m) + random.normal(0, 0.01, 3)
            rough = Pose(relative.rotation * Rotation.from_rotvec(random.normal(0, 2e-3, 3)), unit)
            pairs.append(SeenTogether(first, second, *seen, rough, RAY_SIGMA))
    offsets_s = np.round(np.arange(-1, 1.01, 0.1), 3) if is_searched else np.array([offset_s])
    sigmas = np.full((N, 3), sigma_m)
    return PhotoProblem(antenna, velocity, sigmas, ARM_M, float(N), pairs, False, offsets_s)


def turn_errors(found: tuple[Pose, ...], true: list[Pose]) -> Float:
    return np.array([pose.minus(other)[3:] for pose, other in zip(found, true, strict=True)])


@pytest.mark.long
def test_poses_and_clock_around_a_corner() -> None:
    found = solve_photos(problem(1, 0.73, 60.0, 0.02))
    assert found.rows.tolist() == list(range(N))
    assert abs(found.offset_s - 0.73) < 4 * found.offset_sigma_s
    assert found.offset_sigma_s < 0.05
    true = truth(0.73, 60.0)
    errors = turn_errors(found.world_from_cam, true)
    assert np.degrees(np.linalg.norm(errors, axis=1)).max() < 0.3
    assert found.turn_sigma_deg < 0.3
    # the camera, not the antenna a metre beside it
    off = [np.linalg.norm(p.translation_m - t.translation_m) for p, t in zip(found.world_from_cam, true, strict=True)]
    assert max(off) < 0.25
    assert np.median(off) < 0.12


@pytest.mark.parametrize("is_level", [False, True])
def test_an_offset_beyond_the_track_does_not_win(is_level: bool) -> None:
    """Of a short drive nothing is left there that could contradict it: no photo is on the track around the corner."""
    ends_s = 0.0, (N - 1) * STEP_S
    short = replace(
        problem(1, 0.0, 60.0, 0.02),
        antenna_m=lambda shift_s: np.array([pose.apply(ARM_M) for pose in truth(shift_s, 60.0, ends_s)]),
        is_level=is_level,
        offsets_s=np.arange(-10.0, 10.1),
    )
    assert first_turns(short)[1] == 0.0


@pytest.mark.long
def test_sigmas_are_honest() -> None:
    """χ² of all rotations and of the clock over independent noises."""
    d2, clock = [], []
    for seed in range(6):
        found = solve_photos(problem(seed, 0.4, 60.0, 0.05))
        errors = turn_errors(found.world_from_cam, truth(0.4, 60.0))
        blocks = np.array([pose.covariance[3:, 3:] for pose in found.world_from_cam])  # type: ignore[index]
        d2.append(np.einsum("ki,ki->k", errors, np.linalg.solve(blocks, errors[:, :, None])[:, :, 0]).mean())
        clock.append((found.offset_s - 0.4) / found.offset_sigma_s)
    assert 1.5 < np.mean(d2) < 5.0, "three components"
    assert 0.4 < np.sqrt(np.mean(np.square(clock))) < 1.8


def test_a_straight_street_leaves_the_roll_and_the_clock_open() -> None:
    straight = replace(problem(1, 0.0, 0.0, 0.02, is_searched=False), arm_m=np.zeros(3))
    poses = truth(0.0, 0.0)
    there = np.array([pose.translation_m for pose in poses])
    straight = replace(straight, antenna_m=lambda offset_s: there, velocity_m_s=lambda offset_s: np.zeros((N, 3)))
    assert solve_photos(straight).turn_sigma_deg > 20
    level = solve_photos(replace(straight, is_level=True))
    assert level.turn_sigma_deg < 3.0
    assert np.degrees(np.linalg.norm(turn_errors(level.world_from_cam, poses), axis=1)).max() < 3.0


def test_photos_that_match_nothing_are_left_out() -> None:
    whole = problem(1, 0.0, 60.0, 0.02)
    some = [pair for pair in whole.pairs if 7 not in (pair.first, pair.second) and pair.first < 12]
    found = solve_photos(replace(whole, pairs=some))
    assert found.rows.tolist() == [k for k in range(14) if k != 7]
    with pytest.raises(InputError, match="no three photos in a row match"):
        solve_photos(replace(whole, pairs=whole.pairs[:1]))
