"""The method on a synthetic street with known truth: right, with a covariance, deterministic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.known_world import BLANK, CAMERA, world

from geocorrect.errors import Reason, Status
from geocorrect.geometry.pose import Pose
from geocorrect.localize.correct import localize
from geocorrect.localize.independence import MAX_SHIFT_SIGMAS
from geocorrect.localize.options import JointOptions, LocalizeOptions
from geocorrect.localize.solution import Solution
from geocorrect.match.base import DeclaredMatcher
from geocorrect.records import Anchor, AnchorNoise, AnchorView, Correction, DepthMap, Query, Rejection


@pytest.mark.parametrize("seed", range(4))
def test_pose_is_right_and_covariance_positive(seed: int) -> None:
    known, query, views = world(seed)
    result = localize(query, views, known, known, LocalizeOptions(), seed=1).result
    assert isinstance(result, Correction)
    assert result.status is Status.ACCEPTED
    assert np.linalg.norm(result.world_from_cam.translation_m - known.truth.translation_m) < 0.05
    turn = result.world_from_cam.rotation * known.truth.rotation.inv()
    assert np.degrees(turn.magnitude()) < 0.1
    assert result.evidence.displacement_m == pytest.approx(5.0, abs=0.1)
    assert np.linalg.eigvalsh(result.world_from_cam.covariance).min() > 0


def test_same_input_and_seed_give_identical_numbers() -> None:
    first, second = (
        localize(query, views, known, known, LocalizeOptions(), seed=3).result
        for known, query, views in (world(5), world(5))
    )
    assert isinstance(first, Correction)
    assert isinstance(second, Correction)
    assert first.world_from_cam.matrix.tobytes() == second.world_from_cam.matrix.tobytes()
    assert first.evidence == second.evidence


def test_map_magnitude_coordinates_do_not_move_the_camera() -> None:
    """UTM coordinates cost a float32 solver decimetres; here the world is shifted first."""
    near, far = (world(2, offset_m=m) for m in (0.0, 4.6e6))
    here, there = (localize(q, v, k, k, LocalizeOptions(), seed=0).result for k, q, v in (near, far))
    assert isinstance(here, Correction)
    assert isinstance(there, Correction)
    moved = there.world_from_cam.translation_m - here.world_from_cam.translation_m
    np.testing.assert_allclose(moved, 4.6e6, atol=1e-3)


def test_random_matches_are_rejected_with_evidence() -> None:
    known, query, views = world(1, wrong_share=1.0)
    result = localize(query, views, known, known, LocalizeOptions(), seed=0).result
    assert isinstance(result, Rejection)
    assert result.reason in {Reason.TOO_FEW_INLIERS, Reason.TOO_FEW_MATCHES, Reason.DEGENERATE_GEOMETRY}
    assert len(result.evidence.anchors) == 3
    assert result.evidence.n_matches > 100


def test_one_anchor_without_depth_is_rejected_with_what_would_help() -> None:
    known, query, views = world(1)
    known.depths[0] = DepthMap("none", False, samples_px=np.zeros((0, 2)), samples_z_m=np.zeros(0))
    result = localize(query, views[:1], known, known, LocalizeOptions(), seed=0).result
    assert isinstance(result, Rejection)
    assert result.reason is Reason.TOO_FEW_POINTS
    assert "none has depth" in result.detail
    assert "a second anchor" in result.detail
    assert f"on the line from anchor {views[0].anchor.id} towards" in result.detail


def test_a_recorded_position_that_contradicts_the_others_shows() -> None:
    known, query, views = world(3)
    wrong = replace(views[1].anchor, world_from_cam=views[1].anchor.world_from_cam.perturbed([0.3, 0.3, 0, 0, 0, 0]))
    sigmas = []
    for second in (views[1], replace(views[1], anchor=wrong)):
        result = localize(query, [views[0], second, views[2]], known, known, LocalizeOptions(), seed=0).result
        sigmas.append(result.evidence.gate["record_shift_sigmas"])
    assert sigmas[0] < 1.0
    assert sigmas[1] > MAX_SHIFT_SIGMAS


def test_a_matcher_whose_smooth_errors_are_small_is_believed_more() -> None:
    known, query, views = world(3)
    options = LocalizeOptions(joint=JointOptions(anchor_position_m=1e-3, anchor_rotation_deg=1e-3))
    variances_m2 = []
    for matcher in (known, DeclaredMatcher(known, smooth_noise=0.25)):
        result = localize(query, views, matcher, known, options, seed=0).result
        assert isinstance(result, Correction)
        assert np.linalg.norm(result.world_from_cam.translation_m - known.truth.translation_m) < 0.05
        assert result.world_from_cam.covariance is not None
        variances_m2.append(result.world_from_cam.covariance.trace())
    assert variances_m2[1] < 0.8 * variances_m2[0]


def test_no_number_of_anchors_averages_away_how_the_camera_is_mounted() -> None:
    sigma_rad, found = np.radians(0.35), []
    for shared in (0.7, 1e-9):
        known, query, views = world(2)
        joint = JointOptions(anchor_rotation_deg=0.5, shared_rotation=shared)
        result = localize(query, views, known, known, LocalizeOptions(joint=joint), seed=0).result
        assert isinstance(result, Correction)
        found.append(result.world_from_cam.covariance)
    np.testing.assert_allclose(found[0] - found[1], np.diag([0.0] * 3 + [sigma_rad**2] * 3), atol=1e-9)


def test_what_a_check_found_counts_where_the_configuration_states_nothing() -> None:
    """An error common to the drive widens the answer in full, and noise between anchors is that of their records."""
    known, query, views = world(2)
    common = np.diag([0.0] * 5 + [np.radians(1.0) ** 2])
    noise = AnchorNoise(0.02, 0.05, common)
    found = [replace(view, anchor=replace(view.anchor, noise=noise)) for view in views]
    loose = [replace(view, anchor=replace(view.anchor, noise=replace(noise, rotation_deg=0.5))) for view in views]
    stated = LocalizeOptions(joint=JointOptions(anchor_position_m=0.02, anchor_rotation_deg=0.05))
    loosely_stated = LocalizeOptions(joint=JointOptions(anchor_position_m=0.02, anchor_rotation_deg=0.5))

    def covariance(views: list[AnchorView], options: LocalizeOptions) -> np.ndarray:
        result = localize(query, views, known, known, options, seed=0).result
        assert isinstance(result, Correction)
        assert result.world_from_cam.covariance is not None
        return result.world_from_cam.covariance

    plain = covariance(views, stated)
    np.testing.assert_allclose(covariance(views, LocalizeOptions()), plain)
    np.testing.assert_allclose(covariance(found, stated), plain)
    added = covariance(found, LocalizeOptions()) - plain
    assert added[5, 5] == pytest.approx(np.radians(1.0) ** 2, rel=1e-6)
    widened = covariance(loose, LocalizeOptions()) - added
    np.testing.assert_allclose(widened, covariance(views, loosely_stated), rtol=0.02, atol=1e-6)


def test_an_error_of_a_record_moves_the_pose_by_what_the_solution_says() -> None:
    """Moved anchors move the pose alike; one anchor's turn moves it by its own part."""
    known, query, views = world(2)

    def solution(views: list[AnchorView]) -> Solution:
        found = localize(query, views, known, known, LocalizeOptions(), seed=0).solution
        assert found is not None
        return found

    before = solution(views)
    assert before.by_records is not None
    np.testing.assert_allclose(before.by_records[:, :, 0].sum(axis=1), np.eye(6, 3), atol=0.02)
    error = np.array([0.003, -0.002, 0.001, 2e-4, -1e-4, 3e-4])
    moved = replace(views[1].anchor, world_from_cam=views[1].anchor.world_from_cam.perturbed(error))
    after = solution([views[0], replace(views[1], anchor=moved), views[2]])
    expected = before.by_records[:, 1].reshape(6, 6) @ error
    change = after.world_from_cam.minus(before.world_from_cam)
    np.testing.assert_allclose(change, expected, atol=0.2 * np.abs(expected).max())


def test_no_anchor_is_a_reason() -> None:
    known, query, _views = world(1)
    result = localize(query, [], known, known, LocalizeOptions(), seed=0).result
    assert isinstance(result, Rejection)
    assert result.reason is Reason.NO_ANCHOR_NEARBY


def test_a_pose_far_from_the_report_is_refused_not_pulled() -> None:
    known, query, views = world(1)
    far = Query("q", BLANK, CAMERA, query.reported_enu_m + np.array([300.0, 0.0, 0.0]))
    result = localize(far, views, known, known, LocalizeOptions(), seed=0).result
    assert isinstance(result, Rejection)
    assert result.reason is Reason.IMPLAUSIBLE_DISPLACEMENT


def test_unknown_reported_position_does_not_reject() -> None:
    known, _query, views = world(1)
    blind = Query("q", BLANK, CAMERA, np.full(3, np.nan))
    result = localize(blind, views, known, known, LocalizeOptions(), seed=0).result
    assert isinstance(result, Correction)
    assert np.isnan(result.evidence.displacement_m)


def test_an_anchor_in_the_wrong_place_is_noticed() -> None:
    """Half of the evidence says another place: refuse, do not average."""
    known, query, views = world(1)
    wrong = Pose(Rotation.identity(), np.array([15.0, 0.0, 0.0])) @ views[1].anchor.world_from_cam
    aliased = [views[0], AnchorView(Anchor("1", "test", "none", CAMERA, wrong, "exact"), BLANK)]
    known.matches = known.matches[:2]
    result = localize(query, aliased, known, known, LocalizeOptions(), seed=0).result
    assert isinstance(result, Rejection)
    assert result.reason in {Reason.AMBIGUOUS_POSE, Reason.ANCHORS_DISAGREE}
