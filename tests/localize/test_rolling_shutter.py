"""A rolling shutter in a moving car, at the truth: corrected where readout and motion are known, else left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from geocorrect.api.photo import Localization
from geocorrect.api.result import LocalizationResult
from geocorrect.errors import Reason
from geocorrect.geometry.frame import Frame
from geocorrect.localize.correct import TracedResult
from geocorrect.localize.rolling.mid_exposure import _median_by
from geocorrect.localize.rolling.motion_error import pose_by_motion
from geocorrect.records import CameraMotion, Correction, Evidence, Query, Rejection
from simulation.rolling_shutter import BLANK, CAMERA, GLOBAL, RollingStreet, StreetOptions, motion_of

READOUT_S, UNKNOWN = 0.03, float("nan")
EXACT = StreetOptions(points=700, noise_px=0.0, mismatches=0.0)
ALONG, ACROSS, TURNING = motion_of((0, 10, 0)), motion_of((10, 0, 0)), motion_of((0, 10, 0), turn_deg_s=20.0)


def errors(world: RollingStreet, found: TracedResult) -> tuple[float, float]:
    """Of position, m, and rotation, degrees."""
    assert isinstance(found.result, Correction)
    error = found.result.world_from_cam.minus(world.truth)
    return float(np.linalg.norm(error[:3])), float(np.degrees(np.linalg.norm(error[3:])))


@pytest.mark.parametrize(("moving", "seed"), [(ACROSS, 2), (TURNING, 0)], ids=["across", "turning"])
def test_a_tenth_of_the_error_remains(moving: CameraMotion, seed: int) -> None:
    world = RollingStreet(seed, (READOUT_S, moving))
    plain_m, plain_deg = errors(world, world.localize(CAMERA, None))
    assert plain_m > 0.06
    assert plain_deg > 0.4
    found = world.localize(world.camera, moving)
    error_m, error_deg = errors(world, found)
    assert error_m < 0.1 * plain_m
    assert error_deg < 0.1 * plain_deg
    shutter = found.result.evidence.rolling_shutter
    assert (shutter["readout_s"], shutter["speed_m_s"], shutter["speed_sigma_m_s"]) == (READOUT_S, 10.0, 0.1)
    assert shutter["moved_m"] == pytest.approx(plain_m, abs=0.015)


def test_without_noise_it_is_exact() -> None:
    """Also where the last row is exposed first."""
    world = RollingStreet(0, (-READOUT_S, TURNING), options=EXACT)
    error_m, error_deg = errors(world, world.localize(world.camera, TURNING))
    assert error_m < 0.001
    assert error_deg < 0.005


@pytest.mark.parametrize("depth", ["lidar", "tracks"])
def test_rolling_anchors(depth: str) -> None:
    """A scan is laid into the picture by its pose, depth of the picture itself is that of its rows."""
    world = RollingStreet(3, (GLOBAL, None), (READOUT_S, ACROSS), depth, EXACT)
    plain = world.localize(CAMERA, None)
    assert errors(world, plain)[0] > 0.04
    assert plain.result.evidence.rolling_shutter["n_unknown"] == 3
    found = world.localize(CAMERA, None, ACROSS)
    assert errors(world, found)[0] < 0.002
    assert found.result.evidence.rolling_shutter["n_anchors"] == 3


def test_photo_and_anchors_roll() -> None:
    world = RollingStreet(3, (READOUT_S, ACROSS), (0.02, TURNING), "tracks", EXACT)
    assert errors(world, world.localize(world.camera, ACROSS, TURNING))[0] < 0.002


def test_what_is_not_known_changes_nothing() -> None:
    world = RollingStreet(1, (READOUT_S, ACROSS))
    plain = world.localize(CAMERA, None).result
    unknown = world.localize(world.camera, None).result
    for other in (unknown, *(world.localize(replace(CAMERA, readout_s=s), ACROSS).result for s in (0.0, UNKNOWN))):
        assert isinstance(other, Correction)
        assert other.world_from_cam.matrix.tobytes() == plain.world_from_cam.matrix.tobytes()
        assert np.array_equal(other.world_from_cam.covariance, plain.world_from_cam.covariance)
        assert (other.status, other.expected_error_m) == (plain.status, plain.expected_error_m)
        assert replace(other.evidence, rolling_shutter={}) == plain.evidence
    assert plain.evidence.rolling_shutter == {}
    shutter = unknown.evidence.rolling_shutter
    assert shutter["readout_s"] == READOUT_S
    assert np.isnan([shutter["speed_m_s"], shutter["moved_m"]]).all()


def test_a_wrong_speed_is_in_the_stated_error() -> None:
    """By 20 %, with a standard deviation of 2 m/s."""
    world = RollingStreet(1, (READOUT_S, ALONG))
    result = world.localize(world.camera, motion_of((0, 12, 0), sigma_m_s=2.0)).result
    assert isinstance(result, Correction)
    error = result.world_from_cam.minus(world.truth)
    assert error @ np.linalg.solve(result.world_from_cam.covariance, error) < 12.6  # 95 % of six degrees of freedom
    assert result.expected_error_m > 0.04  # 2.7 cm with the right speed, known exactly


def test_the_pose_errs_by_the_motion_as_it_is_said() -> None:
    """Rays moved by a wrong motion, and the pose that fits them best."""
    world = RollingStreet(0, (READOUT_S, ALONG), options=EXACT)
    found = world.localize(world.camera, ALONG)
    assert found.solution is not None
    pose = found.solution.world_from_cam
    query = Query("q", BLANK, world.camera, world.truth.translation_m, motion=ALONG)
    by_motion = pose_by_motion(found.solution, found.observations, query)
    pairs = list(zip(found.observations, found.solution.fits, strict=True))
    arms = np.concatenate([o.points_m[fit.inliers] for o, fit in pairs]) - pose.translation_m
    late_s = np.concatenate([READOUT_S * (o.query_px[fit.inliers, 1] / 767 - 0.5) for o, fit in pairs])[:, None]
    known = np.isfinite(arms).all(axis=1)
    arms, late_s = arms[known], late_s[known]
    for wrong in (np.array([0.5, -0.2, 0.1, 0, 0, 0]), np.array([0, 0, 0, 0.02, -0.01, 0.05])):
        moved = Rotation.from_rotvec(late_s * wrong[3:]).apply(arms) + late_s * wrong[:3]

        def misses(change: np.ndarray, moved: np.ndarray = moved) -> np.ndarray:
            seen = Rotation.from_rotvec(change[3:]).apply(moved)
            there = arms - change[:3]
            unit = [rays / np.linalg.norm(rays, axis=1, keepdims=True) for rays in (seen, there)]
            return (unit[0] - unit[1]).ravel()

        change = least_squares(misses, np.zeros(6), x_scale=[0.01] * 3 + [0.001] * 3).x
        np.testing.assert_allclose(-by_motion @ wrong, change, atol=0.03 * np.abs(change).max())


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "30 ms at 10.0 ± 0.8 m/s; the pose moved by 9.4 cm"),
        ({"speed_m_s": UNKNOWN, "moved_m": UNKNOWN}, "30 ms at an unknown speed, not corrected"),
        ({"readout_s": UNKNOWN, "n_anchors": 3.0}, "3 anchors corrected; the pose moved by 9.4 cm"),
        ({"readout_s": UNKNOWN, "n_anchors": 3.0, "moved_m": UNKNOWN}, "3 anchors at a known speed"),
        (
            {"readout_s": UNKNOWN, "n_unknown": 2.0, "moved_m": UNKNOWN},
            "2 anchors at an unknown speed, not corrected",
        ),
    ],
)
def test_people_read_what_was_done(changes: dict[str, float], line: str) -> None:
    shutter = {"readout_s": 0.03, "speed_m_s": 10.0, "speed_sigma_m_s": 0.8, "n_anchors": 0.0, "n_unknown": 0.0}
    evidence = Evidence(rolling_shutter=shutter | {"moved_m": 0.094} | changes)
    found = Localization(TracedResult(Rejection("q", Reason.UNCERTAIN, "", evidence)), ())
    result = LocalizationResult(Frame("here", 12.5, 41.9, 50.0), found, lambda: None)
    assert result.lines()[-1] == f"rolling shutter: {line}"
    assert result.as_json()["rolling_shutter"]["n_anchors"] == evidence.rolling_shutter["n_anchors"]


def test_the_middle_of_each_group() -> None:
    group, values = np.array([0, 1, 0, 0, 2, 0]), np.array([5.0, np.nan, 1.0, np.nan, 7.0, 2.0])
    np.testing.assert_array_equal(_median_by(group, values, 3), [2.0, np.nan, 7.0])
