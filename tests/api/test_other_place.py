"""Photos that another place shows as well as the one that carries their pose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.api.other_place import beside_other_places
from geocorrect.errors import Reason, Status
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.tangent import unit_rays
from geocorrect.localize.correct import TracedResult
from geocorrect.localize.gate import GateStatistics, as_mapping, decide, waits_only_for_confirmation
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import Solution
from geocorrect.records import Anchor, AnchorEvidence, Correction, Evidence, Query, Rejection, ScaleSource

CAMERA = Camera.pinhole(640, 480, 500.0, 500.0, 319.5, 239.5)
QUERY = Query("q", np.zeros((1, 1, 3), np.uint8), CAMERA, np.zeros(3))
OPTIONS = LocalizeOptions()
LOOKS_NORTH = Rotation.from_matrix(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]))
POSE = Pose(LOOKS_NORTH, np.zeros(3)).with_covariance(np.eye(6) * 1e-4)
STATISTICS = GateStatistics(
    n_inliers=400.0, inlier_share=0.95, coverage=0.8, displacement_m=6.0, height_difference_m=0.1, anchor_spread_m=0.1,
    alternative_share=0.0, supporting_anchors=2.0, support_share=1.0, expected_error_m=0.05,
    expected_heading_error_deg=0.1, reported_sigmas=0.8, scale_sigmas=0.5, leave_one_out_m=0.02,
    independent_anchors=2.0, inlier_patches=350.0,
)  # fmt: skip


def anchor(name: str, north_m: float) -> Anchor:
    return Anchor(name, "drive", Path("none"), CAMERA, Pose(LOOKS_NORTH, np.array([0.0, north_m, 0.0])), "alignment")


HERE, BESIDE, THERE = anchor("here", -3.0), anchor("beside", 10.0), anchor("there", -24.0)
ALL = (HERE, BESIDE, THERE)


def found(**statistics: float) -> TracedResult:
    """An accepted photo at the origin, which 200 matches with one anchor carry."""
    judged = replace(STATISTICS, **statistics)
    evidence = Evidence((AnchorEvidence("here", 220, 210, 200, 190),), gate=as_mapping(judged))
    status = decide(judged, OPTIONS.gate).status
    solution = Solution(POSE, (), 0.0, ScaleSource.DEPTH)
    return TracedResult(Correction("q", POSE, status, 0.05, 0.1, evidence), (), solution)


def matched(o: Anchor, count: int, copy_m: float) -> Observations:
    """Matches with an anchor: what the photo sees, and the anchor `copy_m` further south, as on another house."""
    random = np.random.default_rng(4)
    seen = np.column_stack([random.uniform(-4, 4, count), random.uniform(9, 25, count), random.uniform(-2, 3, count)])
    query_px = CAMERA.project(POSE.inverse().apply(seen))[0]
    in_anchor: NDArray[np.float64] = o.world_from_cam.inverse().apply(seen - [0.0, copy_m, 0.0])
    anchor_px = CAMERA.project(in_anchor)[0]
    rays = unit_rays(CAMERA, query_px), unit_rays(CAMERA, anchor_px)
    return Observations(o, query_px, anchor_px, *rays, in_anchor[:, 2], np.full(count, 0.01))


def judge(traced: TracedResult, likeness: dict[str, float], seen: Observations | None = None) -> TracedResult:
    asked = []

    def observe(which: Anchor) -> Observations | None:
        asked.append(which.id)
        return seen

    judged = beside_other_places(traced, QUERY, ALL, likeness, observe, OPTIONS)
    assert asked == ([] if seen is None else ["there"])
    return judged


def test_a_photo_that_another_place_shows_better_is_left_for_a_review_that_nobody_confirms() -> None:
    judged = judge(found(), {"here": 0.3, "there": 0.4}, matched(THERE, 300, copy_m=24.0)).result
    assert isinstance(judged, Correction)
    assert judged.status is Status.REVIEW
    assert judged.evidence.gate["other_place_likeness"] == pytest.approx(4 / 3)
    assert judged.evidence.gate["other_place_share"] == pytest.approx(1.5)
    statistics = replace(STATISTICS, other_place_share=1.5)
    assert "an anchor there has 150% of the matches of the best one here" in decide(statistics, OPTIONS.gate).detail
    lone = judge(found(independent_anchors=1.0), {"here": 0.3, "there": 0.4}, matched(THERE, 300, copy_m=24.0)).result
    assert waits_only_for_confirmation(found(independent_anchors=1.0).result, OPTIONS.gate)
    assert not waits_only_for_confirmation(lone, OPTIONS.gate)


def test_a_place_with_fewer_matches_changes_no_decision() -> None:
    judged = judge(found(), {"here": 0.3, "there": 0.4}, matched(THERE, 100, copy_m=24.0)).result
    assert isinstance(judged, Correction)
    assert (judged.status, judged.evidence.gate["other_place_share"]) == (Status.ACCEPTED, 0.5)
    waiting = judge(found(independent_anchors=1.0), {"here": 0.3, "there": 0.4}, matched(THERE, 20, copy_m=24.0)).result
    assert isinstance(waiting, Correction)
    assert waiting.status is Status.REVIEW, "it never accepts what waits"


def test_an_anchor_behind_that_sees_the_same_is_no_other_place() -> None:
    judged = judge(found(), {"here": 0.3, "there": 0.4}, matched(THERE, 300, copy_m=0.0)).result
    assert isinstance(judged, Correction)
    assert (judged.status, judged.evidence.gate["other_place_share"]) == (Status.ACCEPTED, 0.0)


def test_a_place_that_looks_otherwise_is_not_matched() -> None:
    judged = judge(found(), {"here": 0.4, "there": 0.1, "beside": 0.9}).result
    assert isinstance(judged, Correction)
    assert judged.evidence.gate["other_place_likeness"] == pytest.approx(0.25), "10 m away is no other place"
    assert np.isnan(judged.evidence.gate["other_place_share"])
    assert judged.status is Status.ACCEPTED


def test_nobody_is_asked_about_a_pose_that_is_not_believed_anyway() -> None:
    judged = judge(found(expected_error_m=1.0), {"here": 0.3, "there": 0.4}).result
    assert isinstance(judged, Correction)
    assert np.isnan(judged.evidence.gate["other_place_share"])


def test_what_was_matched_already_is_not_matched_again() -> None:
    traced = replace(found(), observations=(matched(THERE, 300, copy_m=24.0),))
    judged = judge(traced, {"here": 0.3, "there": 0.4}).result
    assert isinstance(judged, Correction)
    assert judged.status is Status.REVIEW


def test_nothing_is_said_where_nothing_is_known() -> None:
    for likeness in ({"here": 0.3}, {"there": 0.4}, {"here": 0.3, "beside": 0.3}):
        traced = found()
        assert judge(traced, likeness) is traced
    rejected = TracedResult(Rejection("q", Reason.TOO_FEW_MATCHES))
    assert judge(rejected, {"here": 0.3, "there": 0.4}) is rejected
