"""The estimator on metric keypoints: the pose in the world, its covariance, refusals; a collapse is never a pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.metric_clouds import CAMERA, CloudPair, cloud_pair

from geocorrect.errors import Reason, Status
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose, rotation_angle_deg
from geocorrect.localize.estimators.base import Estimator
from geocorrect.localize.estimators.metric_covariance import DepthErrorOptions, motion_covariance
from geocorrect.localize.estimators.metric_ransac import MetricRansacOptions
from geocorrect.localize.estimators.mickey import MickeyEstimator, RelativePose, solve_pair
from geocorrect.localize.estimators.options import MickeyPoseOptions
from geocorrect.localize.gate import decide, gate_statistics
from geocorrect.localize.observations import Observations, unit_rays
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import Solution
from geocorrect.match.metric_keypoints import KeypointPairing, MetricKeypoints
from geocorrect.records import Anchor, AnchorView, ImageArray, Query, ScaleSource

QUICK = MickeyPoseOptions(ransac=MetricRansacOptions(draws=4, pairs_per_draw=512, hypotheses_per_draw=60))
WORLD_FROM_ANCHOR = Pose(Rotation.from_euler("xyz", [-90.0, 20.0, 3.0], degrees=True), np.array([30.0, -12.0, 1.6]))
PIXELS = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)


class FixedPairings:
    """A KeypointMatcher that answers what it was given, one pairing per anchor."""

    fingerprint = "fixed"

    def __init__(self, pairings: Sequence[KeypointPairing]) -> None:
        self.pairings = list(pairings)

    def pair_keypoints(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[KeypointPairing]:
        assert len(anchors) == len(self.pairings)
        return self.pairings


def _anchor(name: str, world_from_cam: Pose = WORLD_FROM_ANCHOR) -> Anchor:
    return Anchor(name, "clouds", Path("none.jpg"), CAMERA, world_from_cam, "a")


def _view(anchor: Anchor) -> AnchorView:
    return AnchorView(anchor, PIXELS)


def _query(pair: CloudPair) -> Query:
    return Query("q", PIXELS, CAMERA, _truth(pair).translation_m + np.array([1.0, 1.0, 0.0]))


def _truth(pair: CloudPair, world_from_anchor: Pose = WORLD_FROM_ANCHOR) -> Pose:
    """world_from_query."""
    return world_from_anchor @ Pose(pair.rotation, pair.translation_m).inverse()


def _observations(pair: CloudPair, anchor: Anchor) -> Observations:
    """The true pairs as verified matches with the anchor's depth."""
    pairing, partner = pair.pairing(), np.argmax(pair.weight, axis=1)
    anchor_px, query_px = pairing.anchor.px, pairing.query.px[partner]
    seen = CAMERA.contains(anchor_px) & CAMERA.contains(query_px) & (pairing.query.depth_m[partner] > 0)
    return Observations(
        anchor=anchor,
        query_px=query_px[seen],
        anchor_px=anchor_px[seen],
        query_rays=unit_rays(CAMERA, query_px[seen]),
        anchor_rays=unit_rays(CAMERA, anchor_px[seen]),
        depth_m=pairing.anchor.depth_m[seen],
        log_sigma=np.full(int(seen.sum()), 0.05),
        common_log_sigma=0.3,
        n_matches=int(seen.sum()),
    )


def _solve(pairs: Sequence[CloudPair], anchors: Sequence[Anchor], seed: int = 0) -> Solution | Reason:
    estimator = MickeyEstimator(FixedPairings([pair.pairing() for pair in pairs]), _view, QUICK)
    observations = [_observations(pair, anchor) for pair, anchor in zip(pairs, anchors, strict=True)]
    return estimator.solve(observations, _query(pairs[0]), LocalizeOptions(), seed)


@pytest.fixture
def pair() -> CloudPair:
    return cloud_pair(5, outlier_share=0.5)


# --- one anchor ----------------------------------------------------------------------------------------


def test_one_anchor_gives_a_metric_pose_in_the_world(pair: CloudPair) -> None:
    estimator = MickeyEstimator(FixedPairings([pair.pairing()]), _view, QUICK)
    assert isinstance(estimator, Estimator)
    solution = _solve([pair], [_anchor("a")])
    assert isinstance(solution, Solution)
    truth = _truth(pair)
    assert np.linalg.norm(solution.world_from_cam.translation_m - truth.translation_m) < 0.1
    assert rotation_angle_deg(solution.world_from_cam.rotation, truth.rotation) < 1.0
    assert solution.scale_source is ScaleSource.DEPTH
    assert solution.alternative_share == 0.0
    # Near points off by 5 % in depth move by more than 12 px over this baseline of 1.7 m.
    assert solution.fits[0].inliers.mean() > 0.6
    assert solution.fits[0].single_shift_m == 0.0


def test_the_gate_judges_it_as_any_other_solution(pair: CloudPair) -> None:
    solution = _solve([pair], [_anchor("a")])
    assert isinstance(solution, Solution)
    observations = [_observations(pair, _anchor("a"))]
    statistics = gate_statistics(solution, observations, _query(pair), LocalizeOptions().gate)
    assert statistics.n_inliers > 50
    assert statistics.expected_error_m > 0.05
    assert decide(statistics, LocalizeOptions().gate).status is not Status.REJECTED
    empty = replace(solution, fits=(replace(solution.fits[0], inliers=np.zeros(len(observations[0]), bool)),))
    refused = decide(gate_statistics(empty, observations, _query(pair), LocalizeOptions().gate), LocalizeOptions().gate)
    assert refused.reason is Reason.TOO_FEW_INLIERS


def test_equal_seeds_give_equal_bytes(pair: CloudPair) -> None:
    found = [_solve([pair], [_anchor("a")], seed) for seed in (3, 3, 4)]
    poses = [solution.world_from_cam.matrix.tobytes() for solution in found if isinstance(solution, Solution)]
    assert poses[0] == poses[1] != poses[2]


def test_pixels_that_may_not_be_trusted_are_left_out(pair: CloudPair) -> None:
    """Half of the query is masked: no agreeing keypoint lies there any more."""
    mask = np.ones(PIXELS.shape[:2], bool)
    mask[:, : CAMERA.width // 2] = False
    pairing, seen = pair.pairing(), []

    def view(anchor: Anchor) -> AnchorView:
        return AnchorView(anchor, PIXELS, np.ones(PIXELS.shape[:2], bool))

    import geocorrect.localize.estimators.mickey as module

    original = module.solve_pair
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "solve_pair", lambda *arguments: seen.append(arguments[0]) or original(*arguments))
        query = replace(_query(pair), mask=mask)
        MickeyEstimator(FixedPairings([pairing]), view, QUICK).solve(
            [_observations(pair, _anchor("a"))], query, LocalizeOptions(), 0
        )
    weight = seen[0].weight
    masked = pairing.query.px[:, 0] < CAMERA.width // 2 - 0.5
    outside = ~CAMERA.contains(pairing.anchor.px)
    assert (weight[:, masked] == 0).all()
    assert (weight[outside] == 0).all()
    assert (weight[~outside][:, ~masked & CAMERA.contains(pairing.query.px)] > 0).all()


# --- several anchors -----------------------------------------------------------------------------------


def test_the_most_confident_anchor_gives_the_pose() -> None:
    """Two anchors see the same query; one of them has few true pairs."""
    good, poor = cloud_pair(5, outlier_share=0.3), cloud_pair(6, outlier_share=0.85)
    other = _truth(good) @ Pose(poor.rotation, poor.translation_m)  # so that both say the same
    solution = _solve([poor, good], [_anchor("poor", other), _anchor("good")])
    alone = _solve([good], [_anchor("good")])
    assert isinstance(solution, Solution)
    assert isinstance(alone, Solution)
    assert solution.fits[1].single_shift_m == 0.0
    assert 0.0 < solution.fits[0].single_shift_m < 0.5
    assert solution.alternative_share == 0.0
    assert np.linalg.norm(solution.world_from_cam.translation_m - alone.world_from_cam.translation_m) < 0.1


def test_an_anchor_that_contradicts_shows_in_the_alternative_share() -> None:
    good, other = cloud_pair(5, outlier_share=0.3), cloud_pair(6, outlier_share=0.5)
    moved = _truth(good) @ Pose(other.rotation, other.translation_m + np.array([20.0, 0.0, 0.0]))
    solution = _solve([good, other], [_anchor("good"), _anchor("wrong", moved)])
    assert isinstance(solution, Solution)
    assert solution.alternative_share > 0.4
    assert solution.fits[1].single_shift_m > 10.0
    assert solution.fits[1].inliers.mean() < 0.1


def test_an_anchor_without_a_pose_does_not_stop_the_others(pair: CloudPair) -> None:
    nothing = replace(cloud_pair(9), weight=np.zeros((400, 400)))
    solution = _solve([pair, nothing], [_anchor("good"), _anchor("blind")])
    assert isinstance(solution, Solution)
    assert np.isnan(solution.fits[1].single_shift_m)
    assert _solve([nothing, nothing], [_anchor("a"), _anchor("b")]) is Reason.TOO_FEW_POINTS


# --- refusals ------------------------------------------------------------------------------------------


def _reason(pairing: KeypointPairing, anchor_camera: Camera = CAMERA, options: MickeyPoseOptions = QUICK) -> Reason:
    found = solve_pair(pairing, anchor_camera, CAMERA, options, 0)
    assert isinstance(found, Reason)
    return found


def test_outliers_alone_are_refused() -> None:
    for seed in range(6):
        assert _reason(cloud_pair(seed, outlier_share=1.0).pairing()) is Reason.TOO_FEW_INLIERS
        crowd = cloud_pair(seed, n_points=700, outlier_share=1.0, depth_m=(0.8, 1.2), motion_m=0.05).pairing()
        assert _reason(crowd) is Reason.TOO_FEW_INLIERS
    without = replace(QUICK, min_support=3, min_chance_ratio=0.0)
    assert isinstance(solve_pair(crowd, CAMERA, CAMERA, without, 0), RelativePose), "the limits are what refuses it"


def test_nothing_to_draw_is_refused(pair: CloudPair) -> None:
    nothing = MetricKeypoints(np.zeros((0, 2)), np.zeros(0))
    assert _reason(KeypointPairing(nothing, nothing, np.zeros((0, 0)))) is Reason.TOO_FEW_POINTS
    pairing = pair.pairing()
    assert _reason(replace(pairing, weight=np.zeros_like(pairing.weight))) is Reason.TOO_FEW_POINTS
    for depth in (np.full(400, np.nan), -pairing.anchor.depth_m):
        unusable = replace(pairing, anchor=MetricKeypoints(pairing.anchor.px, depth))
        assert _reason(unusable) is Reason.TOO_FEW_POINTS


def test_a_network_that_collapsed_is_refused(pair: CloudPair) -> None:
    """The same depth and position everywhere, or no depth at all: no motion, and never the anchor's own pose."""
    pairing = pair.pairing()
    point = MetricKeypoints(np.tile([[100.0, 100.0]], (400, 1)), np.full(400, 2.0))
    assert _reason(KeypointPairing(point, point, pairing.weight)) in (
        Reason.TOO_FEW_INLIERS,
        Reason.DEGENERATE_GEOMETRY,
    )
    zero = MetricKeypoints(pairing.anchor.px, np.zeros(400))
    everything = replace(QUICK, positive_depth_only=False, min_support=1, min_chance_ratio=0.0)
    assert _reason(KeypointPairing(zero, zero, pairing.weight), options=everything) is Reason.DEGENERATE_GEOMETRY


def test_points_on_a_line_fix_no_rotation() -> None:
    depth = np.linspace(2.0, 10.0, 60)
    line = MetricKeypoints(np.tile([[269.5, 359.5]], (60, 1)) + np.outer(1.0 / depth, [300.0, 100.0]), depth)
    options = replace(QUICK, min_chance_ratio=0.0)
    assert _reason(KeypointPairing(line, line, np.eye(60)), options=options) is Reason.DEGENERATE_GEOMETRY


def test_panoramas_are_refused(pair: CloudPair) -> None:
    assert _reason(pair.pairing(), Camera.spherical(1000, 500)) is Reason.CAMERA_UNSUPPORTED


def test_lens_distortion_is_taken_out() -> None:
    """Keypoints seen through a lens with distortion give the same motion as through a pinhole."""
    pair = cloud_pair(5, outlier_share=0.2)
    lens = Camera.from_opencv(540, 720, (590.0, 590.0, 269.5, 359.5), (-0.08, 0.02, 0.0, 0.0))
    px, visible = lens.project(pair.anchor_m)
    seen = replace(pair.pairing(), anchor=MetricKeypoints(np.where(visible[:, None], px, 0.0), pair.anchor_m[:, 2]))
    found = solve_pair(seen, lens, CAMERA, QUICK, 0)
    assert isinstance(found, RelativePose)
    assert np.linalg.norm(found.query_from_anchor.translation_m - pair.translation_m) < 0.1


# --- covariance ----------------------------------------------------------------------------------------


def test_errors_are_as_large_as_they_are_said_to_be() -> None:
    """Both clouds scaled by errors of the stated size: squared errors in sigmas, per dimension, average about one."""
    rng = np.random.default_rng(0)
    options = QUICK.errors
    squared = []
    for seed in range(40):
        pair = cloud_pair(seed, n_points=250, outlier_share=0.3)
        common = options.common_log_sigma * rng.normal()
        own = options.image_log_sigma * rng.normal(size=2)
        scaled = replace(
            pair, anchor_m=pair.anchor_m * np.exp(common + own[0]), query_m=pair.query_m * np.exp(common + own[1])
        )
        found = solve_pair(scaled.pairing(), CAMERA, CAMERA, replace(QUICK, min_support=5), seed)
        if isinstance(found, Reason):
            continue  # two scales that differ by a third leave no pair within 15 cm
        truth = Pose(pair.rotation, pair.translation_m)
        assert found.query_from_anchor.covariance is not None
        error = found.query_from_anchor.minus(truth)[:3]
        squared.append(error @ np.linalg.solve(found.query_from_anchor.covariance[:3, :3], error) / 3.0)
    assert len(squared) > 25
    assert 0.4 < np.mean(squared) < 2.0


def test_a_common_scale_error_stretches_the_translation_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    source = rng.normal(size=(200, 3)) + np.array([0.0, 0.0, 5.0])
    translation = np.array([0.0, 0.0, 2.0])
    only_scale = DepthErrorOptions(common_log_sigma=0.1, image_log_sigma=0.0)
    covariance = motion_covariance(np.eye(3), translation, source, source + translation, 200, only_scale)
    assert covariance is not None
    expected = np.zeros((6, 6))
    expected[2, 2] = (0.1 * 2.0) ** 2
    np.testing.assert_allclose(covariance, expected, atol=1e-12)


def test_pairs_that_share_points_count_once() -> None:
    rng = np.random.default_rng(0)
    source = rng.normal(size=(300, 3))
    target = source + rng.normal(size=(300, 3)) * 0.05
    exact = DepthErrorOptions(0.0, 0.0, independent_patches=1000)
    many, few = (motion_covariance(np.eye(3), np.zeros(3), source, target, n, exact) for n in (300, 30))
    assert many is not None
    assert few is not None
    np.testing.assert_allclose(few, 10.0 * many)
    assert many[0, 0] == pytest.approx(0.05**2 / 300, rel=0.3)
