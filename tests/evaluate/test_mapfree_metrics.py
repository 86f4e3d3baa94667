"""Map-free metrics against the official outputs, against hand counts, and the odd rules of the evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.errors import InputError
from geocorrect.evaluate.mapfree.benchmark import (
    MapfreeRules,
    precision_recall,
    score_submission,
    share_correct,
    vcre_px,
    vcre_threshold_px,
)
from geocorrect.evaluate.mapfree.scene_files import MapfreeScene
from geocorrect.evaluate.mapfree.submission import Estimate
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose, rotation_angle_deg
from geocorrect.geometry.virtual_points import virtual_points_m

# --- against the official outputs ----------------------------------------------------------------------


def test_virtual_points_are_the_official_ones(mickey_official: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(virtual_points_m(), mickey_official["grid_pts"][:, :3], atol=1e-12)


def test_screen_errors_and_angles_are_the_official_ones(mickey_official: dict[str, np.ndarray]) -> None:
    for quaternions, translations, error, angle in zip(
        *(mickey_official[name] for name in ("vcre_q", "vcre_t", "vcre_err", "vcre_angdeg")), strict=True
    ):
        truth, estimate = (
            Pose.from_quaternion(q[[1, 2, 3, 0]], t) for q, t in zip(quaternions, translations, strict=True)
        )
        found = vcre_px(estimate, truth, mickey_official["vcre_K"], (540, 720))
        assert found == pytest.approx(error, abs=1e-6)
        assert rotation_angle_deg(estimate.rotation, truth.rotation) == pytest.approx(angle, abs=1e-6)


def test_the_area_is_the_official_one(mickey_official: dict[str, np.ndarray]) -> None:
    found = precision_recall(
        mickey_official["auc_conf"], mickey_official["auc_tp"], int(mickey_official["auc_failures"])
    )
    assert found.area == pytest.approx(float(mickey_official["auc_value"]), abs=1e-6)
    np.testing.assert_allclose(found.precision, mickey_official["auc_prec"], atol=1e-6)
    np.testing.assert_allclose(found.recall, mickey_official["auc_rec"], atol=1e-6)


# --- by hand -------------------------------------------------------------------------------------------


def test_precision_and_area_by_hand() -> None:
    """Four answers and one query without: sorted by confidence good, bad, good | good with a tie at 1."""
    confidence, good = [3.0, 2.0, 1.0, 1.0], [True, False, True, True]
    curve = precision_recall(confidence, good, 1)
    np.testing.assert_allclose(curve.recall, [4 / 5, 2 / 5, 1 / 5, 0.0])
    np.testing.assert_allclose(curve.precision, [3 / 4, 1 / 2, 1.0, 1.0])
    assert curve.area == pytest.approx(2 / 5 * 3 / 4 + 1 / 5 * 1 / 2 + 1 / 5 * 1.0)
    assert share_correct(good, 1) == pytest.approx(3 / 5)


def test_no_answers_have_no_area() -> None:
    assert precision_recall([], [], 7).area == 0.0
    assert share_correct([], 7) == 0.0
    assert np.isnan(share_correct([], 0))


@pytest.mark.parametrize("confidence", [[-1.0], [np.nan], [np.inf]])
def test_confidences_that_are_none_are_refused(confidence: list[float]) -> None:
    with pytest.raises(ValueError, match="finite and not negative"):
        precision_recall(confidence, [True], 0)


def test_a_camera_that_moves_sideways_moves_the_points_by_what_the_lens_says() -> None:
    """One centimetre to the right: every point moves by f · 0.01 / z to the left, unless it leaves the picture."""
    estimate = Pose(Rotation.identity(), np.array([0.01, 0.0, 0.0]))
    intrinsics = np.array([[400.0, 0, 270], [0, 400.0, 360], [0, 0, 1]])
    expected = np.mean(400.0 * 0.01 / virtual_points_m()[:, 2])
    assert vcre_px(estimate, Pose.identity(), intrinsics, (540, 720)) == pytest.approx(expected, rel=1e-9)
    assert vcre_threshold_px((540, 720)) == pytest.approx(90.0)
    assert vcre_threshold_px((640, 480)) == pytest.approx(80.0)


def test_points_behind_the_camera_stay_within_the_picture() -> None:
    behind = Pose(Rotation.from_rotvec([0.0, np.pi, 0.0]), np.zeros(3))
    intrinsics = np.array([[400.0, 0, 270], [0, 400.0, 360], [0, 0, 1]])
    at_camera = Pose(Rotation.identity(), np.array([0.0, 0.0, 1.8]))  # some points lie in the camera's own plane
    for estimate in (behind, at_camera):
        assert 0.0 < vcre_px(estimate, Pose.identity(), intrinsics, (540, 720)) <= 900.0


# --- rules of the evaluation ---------------------------------------------------------------------------

CAMERA = Camera.pinhole(540, 720, 590.0, 590.0, 269.5, 359.5)
TRUTH = Pose(Rotation.from_rotvec([0.1, -0.2, 0.05]), np.array([1.0, -0.5, 2.0]))


def _scene(name: str, n_queries: int = 11, camera: Camera = CAMERA) -> MapfreeScene:
    frames = ["seq0/frame_00000.jpg", *(f"seq1/frame_{i:05d}.jpg" for i in range(n_queries))]
    poses: dict[str, Pose | None] = dict.fromkeys(frames, TRUTH)
    return MapfreeScene(name, Path(name), dict.fromkeys(frames, camera), poses)


def _off_by(metres: float, degrees: float = 0.0, confidence: float = 1.0) -> Estimate:
    turn = Rotation.from_rotvec([0.0, np.radians(degrees), 0.0])
    return Estimate(Pose(turn * TRUTH.rotation, TRUTH.translation_m + np.array([metres, 0.0, 0.0])), confidence)


def test_every_fifth_query_counts_and_others_do_not() -> None:
    scene = _scene("s1")
    assert scene.queries(5) == ["seq1/frame_00000.jpg", "seq1/frame_00005.jpg", "seq1/frame_00010.jpg"]
    answers = {frame: _off_by(0.0) for frame in scene.queries(1)}
    answers["seq1/frame_00001.jpg"] = _off_by(50.0)  # not judged
    answers["seq1/frame_00005.jpg"] = _off_by(0.24, 4.9)
    answers["seq1/frame_00010.jpg"] = _off_by(0.26)
    scores = score_submission([scene], {"s1": answers})
    assert (scores["n_queries"], scores["n_answered"]) == (3, 3)
    assert scores["pose_precision"] == pytest.approx(2 / 3)
    assert scores["position_median_m"] == pytest.approx(0.24)
    assert scores["rotation_median_deg"] == pytest.approx(0.0, abs=1e-5)
    turned = score_submission([scene], {"s1": answers | {"seq1/frame_00005.jpg": _off_by(0.24, 5.1)}})
    assert turned["pose_precision"] == pytest.approx(1 / 3)


def test_a_scene_without_a_file_counts_every_frame() -> None:
    scenes = [_scene("s1"), _scene("s2")]
    answered = {"s1": {frame: _off_by(0.0) for frame in scenes[0].queries(5)}}
    official = score_submission(scenes, answered)
    assert official["n_queries"] == 3 + 11
    assert official["pose_precision"] == pytest.approx(3 / 14)
    even = score_submission(scenes, answered, MapfreeRules(missing_scene_counts_every_frame=False))
    assert even["n_queries"] == 3 + 3
    assert even["pose_auc"] == pytest.approx(3 / 6)


def test_medians_are_averaged_over_scenes_with_answers() -> None:
    scenes = [_scene("s1", 15), _scene("s2", 5), _scene("s3", 5)]
    answers = {
        "s1": {frame: _off_by(metres) for frame, metres in zip(scenes[0].queries(5), (0.1, 0.2, 0.9), strict=True)},
        "s2": {scenes[1].queries(5)[0]: _off_by(1.0)},
    }
    scores = score_submission(scenes, answers)
    assert scores["position_median_m"] == pytest.approx((0.2 + 1.0) / 2)
    assert scores["n_scenes"] == 2
    assert scores["answered_share"] == pytest.approx(4 / (3 + 1 + 5))


def test_the_size_of_the_last_line_stands_for_all() -> None:
    scene = _scene("s1", 1)
    small = Camera.pinhole(100, 100, 590.0, 590.0, 49.5, 49.5)
    scene = replace(scene, cameras={**scene.cameras, "seq1/frame_00099.jpg": small})
    answers = {"s1": {"seq1/frame_00000.jpg": _off_by(0.3)}}
    official = score_submission([scene], answers)
    own = score_submission([scene], answers, MapfreeRules(size_of_last_line=False))
    assert official["vcre_median_px"] < 0.5 * own["vcre_median_px"]
    assert scene.last_size == (100, 100)


def test_withheld_truth_is_said_so() -> None:
    scene = _scene("s1")
    hidden = replace(scene, world_from_cam=dict.fromkeys(scene.world_from_cam, None))
    with pytest.raises(InputError, match=r"s1: no true pose of seq1/frame_00000.jpg; .* only the leaderboard"):
        score_submission([hidden], {})
