"""Triangulated tracks: stated noise against drawn noise, and no pull of far points towards the camera."""

from __future__ import annotations

import numpy as np
import pytest

from geocorrect.depth.calibration.track_adjustment import adjust_tracks
from geocorrect.depth.calibration.tracks import NeighbourMatches, TrackNoise, TrackOptions, Tracks
from geocorrect.geometry.pose import Pose
from simulation.estimator import ANCHOR_CAMERA

FIXED = TrackOptions(neighbour_position_m=1e-5, neighbour_rotation_deg=1e-4, field_px=0.0)


def seen(
    points_m: np.ndarray, offsets_m: list[float], noise_px: float, rng: np.random.Generator
) -> list[NeighbourMatches]:
    """Matches of an anchor at the origin with neighbours further along its axis, white noise in the neighbours."""
    anchor_px, _ = ANCHOR_CAMERA.project(points_m)
    pairs = []
    for offset in offsets_m:
        pose = Pose(Pose.identity().rotation, np.array([0.0, 0.0, -offset]))
        px, _ = ANCHOR_CAMERA.project(pose.apply(points_m))
        noisy = px + rng.normal(0.0, noise_px, px.shape)
        pairs.append(NeighbourMatches(pose, ANCHOR_CAMERA, anchor_px, noisy))
    return pairs


def street(rng: np.random.Generator, depth_m: float, count: int) -> np.ndarray:
    side = rng.choice([-1.0, 1.0], count) * rng.uniform(4.0, 7.0, count)
    return np.column_stack([side, rng.uniform(-2.0, 1.0, count), np.full(count, depth_m)])


def test_stated_sigma_is_the_spread_of_drawn_errors() -> None:
    rng = np.random.default_rng(0)
    points = street(rng, 15.0, 400)
    tracks = adjust_tracks(ANCHOR_CAMERA, seen(points, [1.5, 3.0], 1.0, rng), None, FIXED)
    truth = np.log(15.0)
    normalised = (tracks.log_z - truth) / tracks.sigma
    assert 0.85 < np.std(normalised) < 1.15


def test_far_points_are_not_pulled_towards_the_camera() -> None:
    """Weighing log depths by their own stated noise prefers those found too near; about a common expected depth the
    noise is the same for all, and the bias is gone.
    """
    rng = np.random.default_rng(1)
    points = street(rng, 30.0, 1500)
    tracks = adjust_tracks(ANCHOR_CAMERA, seen(points, [1.5, 3.0], 1.0, rng), None, FIXED)
    truth = np.log(30.0)
    about = tracks.about(np.full(len(tracks.px), truth))
    assert np.average(tracks.log_z - truth, weights=tracks.sigma**-2) < -0.02
    assert abs(np.average(about.log_z - truth, weights=about.sigma**-2)) < 0.01


def test_tracks_without_an_expected_depth_stay_as_they_are() -> None:
    rng = np.random.default_rng(2)
    tracks = adjust_tracks(ANCHOR_CAMERA, seen(street(rng, 10.0, 30), [1.5], 0.5, rng), None, FIXED)
    same = tracks.about(np.full(len(tracks.px), np.nan))
    np.testing.assert_array_equal(same.log_z, tracks.log_z)
    np.testing.assert_allclose(same.sigma, tracks.sigma)


def test_covariance_holds_the_variances_and_what_neighbours_share() -> None:
    """Two tracks 6 px apart share nearly all of a smooth shift, one 300 px away nothing; all share the pose error."""
    noise = TrackNoise(
        white_variance=np.array([1e-4, 2e-4, 3e-4]),
        by_pose=np.array([0.01, 0.01, 0.02])[:, None, None] * np.eye(6)[None, :1],
        pose_factor=np.eye(6),
        by_px=np.array([[0.02, 0.0], [0.02, 0.0], [0.02, 0.0]]),
        track=np.arange(3),
        pair=np.zeros(3, int),
        at_px=np.array([[100.0, 100.0], [106.0, 100.0], [400.0, 100.0]]),
        field_px=1.0,
        field_length_px=np.array([60.0]),
    )
    covariance = noise.covariance(np.arange(3))
    np.testing.assert_allclose(np.diag(covariance), noise.sigma**2)
    np.testing.assert_allclose(covariance[0, 1], 1e-4 + 4e-4 * np.exp(-0.005), rtol=1e-9)
    np.testing.assert_allclose(covariance[0, 2], 2e-4, rtol=1e-4)
    tracks = Tracks(noise.at_px, np.zeros(3), np.ones(3), np.zeros(0), noise)
    np.testing.assert_allclose(tracks.noise.covariance(np.array([2]))[0, 0], tracks.sigma[2] ** 2)


@pytest.mark.long
def test_a_shift_of_the_neighbours_moves_all_log_depths_alike() -> None:
    """At an expected depth, too, whatever the track's own noise: neighbours further away by a share move every log
    depth by that share; a turn moves the far ones more.
    """
    rng = np.random.default_rng(3)
    pairs = seen(street(rng, 12.0, 400), [1.5, 3.0], 3.0, rng)
    tracks = adjust_tracks(ANCHOR_CAMERA, pairs, None, FIXED)
    about = tracks.about(np.full(len(tracks.px), np.log(12.0)))
    away = np.array([pair.neighbour_from_anchor.translation_m for pair in pairs])
    moved = np.einsum("tkc,kc->t", about.noise.by_pose[:, :, :3], away)
    larger = np.exp(np.log(12.0) - tracks.log_z)
    assert abs(np.corrcoef(moved, larger)[0, 1]) < 0.3
    np.testing.assert_allclose(np.median(np.abs(moved)), 1.0, atol=0.05)
    turned = tracks.noise.by_pose[:, :, 3:] * larger[:, None, None]
    np.testing.assert_allclose(about.noise.by_pose[:, :, 3:], turned)
