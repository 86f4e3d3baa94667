"""The gate: who supports a pose, and what is refused however well it fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from geocorrect.errors import Reason, Status
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.localize.gate import GateStatistics, decide, gate_statistics, probability_wrong
from geocorrect.localize.independence import independent_anchors
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import GateOptions
from geocorrect.localize.solution import AnchorFit, Solution
from geocorrect.records import Anchor, Query, ScaleSource

CAMERA = Camera.pinhole(640, 480, 500.0, 500.0, 319.5, 239.5)
QUERY = Query("q", np.zeros((1, 1, 3), np.uint8), CAMERA, np.zeros(3))
GOOD = GateStatistics(
    n_inliers=900.0,
    inlier_share=0.95,
    coverage=0.8,
    displacement_m=6.0,
    height_difference_m=0.1,
    anchor_spread_m=0.1,
    alternative_share=0.0,
    supporting_anchors=3.0,
    support_share=1.0,
    expected_error_m=0.05,
    expected_heading_error_deg=0.1,
    reported_sigmas=0.8,
    scale_sigmas=0.5,
    leave_one_out_m=0.02,
    inlier_patches=350.0,
)


def judged(shares: list[float], copies: int = 1, shift_m: float = float("nan"), last: int = 100) -> GateStatistics:
    """Statistics of a solution whose anchors hold these shares of 100 matches as inliers.

    copies: how often a matcher finds each; shift_m: how far the poses lie that the anchors give alone; last: matches of
    the last anchor.
    """
    rng = np.random.default_rng(0)
    observations, fits = [], []
    for index, share in enumerate(shares):
        anchor = Anchor(str(index), "a", Path("none"), CAMERA, Pose.identity(), "a")
        px = np.repeat(rng.uniform(0, 400, (100 if index < len(shares) - 1 else last, 2)), copies, axis=0)
        n = len(px)
        rays = np.tile([0.0, 0.0, 1.0], (n, 1))
        observations.append(Observations(anchor, px, px, rays, rays, np.ones(n), np.ones(n)))
        fits.append(AnchorFit(np.arange(n) < n * share, np.zeros(n), shift_m))
    pose = Pose.identity().with_covariance(np.eye(6) * 1e-4)
    return gate_statistics(Solution(pose, tuple(fits), 0.0, ScaleSource.BASELINES), observations, QUERY, GateOptions())


def test_half_of_the_matches_is_no_support() -> None:
    """An anchor displaced along the street keeps its far points as inliers: two right anchors are two of four."""
    statistics = judged([0.98, 0.97, 0.44, 0.0])
    assert statistics.supporting_anchors == 2
    assert statistics.support_share == 0.5
    decision = decide(replace(statistics, expected_error_m=0.05), GateOptions())
    assert (decision.status, decision.reason) == (Status.REJECTED, Reason.ANCHORS_DISAGREE)


def test_a_moving_vehicle_does_not_take_an_anchors_support() -> None:
    assert judged([0.66, 0.95]).support_share == 1.0


def test_a_good_solution_is_accepted_and_a_street_from_elsewhere_is_not() -> None:
    assert decide(GOOD, GateOptions()).status is Status.ACCEPTED
    elsewhere = replace(GOOD, support_share=1 / 3, supporting_anchors=1.0)
    assert decide(elsewhere, GateOptions()).status is Status.REJECTED


def test_another_place_that_explains_nearly_as_much_is_no_acceptance() -> None:
    """Five anchors of a street of equal bays: 0.9 m off with 9 mm stated, the next bay had 55 % of the support."""
    shares = {share: decide(replace(GOOD, alternative_share=share), GateOptions()) for share in (0.4, 0.55, 0.65)}
    assert [d.status for d in shares.values()] == [Status.ACCEPTED, Status.REVIEW, Status.REJECTED]
    assert shares[0.55].detail == "another, distant pose has 55% of the support"


def test_weaker_evidence_is_never_more_trusted() -> None:
    weak = replace(GOOD, inlier_share=0.5, inlier_patches=60.0, expected_error_m=0.4, supporting_anchors=1.0)
    assert probability_wrong(weak) > probability_wrong(GOOD)
    doubts = {
        "inlier_share": 0.5, "inlier_patches": 60.0, "expected_error_m": 0.4, "supporting_anchors": 1.0,
        "alternative_share": 0.5, "support_share": 0.6, "contradiction_sigmas": 5.0, "reported_sigmas": 3.0,
    }  # fmt: skip
    for name, value in doubts.items():
        assert probability_wrong(replace(GOOD, **{name: value})) >= probability_wrong(GOOD), name
    assert probability_wrong(replace(GOOD, expected_error_m=float("nan"))) > probability_wrong(GOOD)


def test_what_a_matcher_finds_ten_times_in_one_patch_counts_once() -> None:
    few, many = judged([0.98, 0.97]), judged([0.98, 0.97], copies=10)
    assert many.n_inliers == 10 * few.n_inliers
    assert many.inlier_patches == few.inlier_patches > 90
    assert probability_wrong(many) == probability_wrong(few)


DUSK = replace(
    GOOD, n_inliers=148.0, inlier_share=0.90, coverage=0.26, displacement_m=2.0, anchor_spread_m=0.01,
    expected_error_m=0.07, reported_sigmas=0.6, leave_one_out_m=0.01, contradiction_sigmas=1.9, inlier_patches=93.0,
    independent_anchors=3.0,
)  # fmt: skip
"""KITTI at dusk, SIFT, 6 cm off; with ALIKED 283 inliers in 175 patches, 5 cm off."""
MIRRORED = replace(
    DUSK, n_inliers=164.0, inlier_share=0.67, coverage=0.21, anchor_spread_m=0.37, expected_error_m=0.34,
    reported_sigmas=2.4, leave_one_out_m=0.21, contradiction_sigmas=0.9, inlier_patches=79.0,
)  # fmt: skip
"""The same street mirrored, ALIKED: three anchors agree on a pose 20 m away."""


def test_poor_light_is_accepted_and_a_mirrored_street_is_not() -> None:
    assert decide(DUSK, GateOptions()).status is Status.ACCEPTED
    aliked = replace(DUSK, n_inliers=283.0, coverage=0.46, expected_error_m=0.08, inlier_patches=175.0)
    assert decide(aliked, GateOptions()).status is Status.ACCEPTED
    assert decide(MIRRORED, GateOptions()).status is not Status.ACCEPTED


def test_a_minority_that_puts_the_photo_elsewhere_has_to_be_refuted_by_other_photos() -> None:
    """Three anchors may see the same copy of a façade, and the fourth the right one."""
    contested = judged([0.98, 0.97, 0.96, 0.1], shift_m=5.0)
    assert (contested.contested_m, contested.support_share) == (5.0, 0.75)
    assert np.isnan(judged([0.98, 0.97, 0.96], shift_m=5.0).contested_m), "these support it, wherever their own poses"
    assert judged([0.98, 0.97, 0.96, 0.1]).contested_m == np.inf
    decision = decide(replace(GOOD, support_share=0.75, contested_m=5.0), GateOptions())
    assert decision.status is Status.REVIEW
    assert decision.detail == "25% of the anchors with enough matches put the photo 5.0 m away"
    # Whoever is right, the photo is within a metre.
    assert decide(replace(GOOD, support_share=0.75, contested_m=0.6), GateOptions()).status is Status.ACCEPTED
    believing = GateOptions(min_independent_anchors=1)
    assert decide(replace(GOOD, support_share=0.75, contested_m=5.0), believing).status is Status.ACCEPTED


def test_an_anchor_with_far_fewer_matches_than_the_others_contests_nothing() -> None:
    """45 matches on what repeats itself against three times 100; a copy of a façade has more."""
    assert np.isnan(judged([0.98, 0.97, 0.96, 0.1], shift_m=5.0, last=45).contested_m)
    assert judged([0.98, 0.97, 0.96, 0.1], shift_m=5.0, last=55).contested_m == 5.0


def test_one_anchor_alone_on_a_small_part_of_the_photo_is_left_for_a_review() -> None:
    """A poster or a garage that another street has too: 80 perfect matches, 5 m off, nobody to contradict."""
    nan = float("nan")
    lone = replace(
        GOOD, supporting_anchors=1.0, coverage=0.15, n_inliers=90.0, inlier_patches=29.0, anchor_spread_m=nan
    )
    assert decide(lone, GateOptions()).status is not Status.ACCEPTED
    covering = replace(lone, coverage=0.7, n_inliers=480.0, inlier_patches=134.0, independent_anchors=1.0)
    assert decide(covering, GateOptions(min_independent_anchors=1)).status is Status.ACCEPTED
    decision = decide(covering, GateOptions())
    assert (decision.status, decision.detail[:16]) == (Status.REVIEW, "one anchor alone")


def independent(
    depth_from: Sequence[set[str]],
    *,
    matched: int | None = None,
    common: float = 0.0,
    instants: Sequence[int] = (),
    shift_sigmas: float = 1.0,
    lens_sigmas: float = 0.0,
) -> int:
    """Of anchors "0", "1", … of which the first `matched` support the pose."""
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    observations = []
    for index, sources in enumerate(depth_from):
        at = noon + timedelta(seconds=instants[index]) if instants else None
        anchor = Anchor(str(index), "a", Path("none"), CAMERA, Pose.identity(), "a", captured_at=at)
        px, rays = np.zeros((9, 2)), np.tile([0.0, 0.0, 1.0], (9, 1))
        depth = np.ones(9)
        observations.append(
            Observations(anchor, px, px, rays, rays, depth, depth, common, depth_from=frozenset(sources))
        )
    supporting = np.arange(len(observations)) < (matched or len(observations))
    return independent_anchors(observations, supporting, shift_sigmas, lens_sigmas)


def test_anchors_that_measure_depth_from_each_other_count_as_one_fewer() -> None:
    assert independent([set(), set()]) == 2  # measured
    assert independent([{"1"}, {"0"}]) == 1
    assert independent([{"1"}, {"0", "7"}]) == 2  # a neighbour that the photo was not matched with
    assert independent([{"1", "2"}, {"0", "2"}, {"0", "1"}]) == 2
    # The third anchor contradicts the pose: that it gave the others their depth confirms nothing.
    assert independent([{"1", "2"}, {"0", "2"}, {"0", "1"}], matched=2) == 1
    assert independent([set(), set()], common=0.2) == 1  # a network's scale
    # Of three records that contradict each other one is wrong, which looks the same as another scale.
    assert independent([{"1", "2"}, {"0", "2"}, {"0", "1"}], shift_sigmas=2.0) == 1
    assert independent([set(), set(), set()], shift_sigmas=2.0) == 3
    assert independent([set()]) == 1


OF_EACH_OTHER = [{str(other) for other in range(5) if other != own} for own in range(5)]
"""Five anchors whose depth comes from each other."""


def test_where_lens_and_records_are_contradicted_at_once_no_number_of_records_knows_the_scale() -> None:
    """Traffic at most of the anchors' pace: KITTI raw with a drawn queue, five anchors, two photos 4.5 m off."""
    assert independent(OF_EACH_OTHER, shift_sigmas=2.5) == 3
    assert independent(OF_EACH_OTHER, lens_sigmas=2.2) == 4
    assert independent(OF_EACH_OTHER, shift_sigmas=2.5, lens_sigmas=2.2) == 1
    assert independent([set()] * 5, shift_sigmas=6.5, lens_sigmas=2.2) == 5  # measured depth


def test_records_that_contradict_each_other_by_several_times_their_noise_know_no_scale() -> None:
    """The same queue: three photos 4.4 to 4.8 m off with a lens that nothing doubted, by 6.6 sigmas."""
    assert independent(OF_EACH_OTHER, shift_sigmas=6.6) == 1
    assert independent([set()] * 5, shift_sigmas=6.6) == 5  # measured depth


def test_two_cameras_of_one_instant_are_one_record() -> None:
    assert independent([set(), set()], instants=[0, 0]) == 1
    assert independent([set(), set()], instants=[0, 1]) == 2


def test_two_right_anchors_with_lidar_need_no_confirmation() -> None:
    assert (
        decide(replace(GOOD, supporting_anchors=2.0, independent_anchors=2.0), GateOptions()).status is Status.ACCEPTED
    )


def test_a_lens_that_only_distortion_explains_is_left_for_a_review() -> None:
    assert decide(replace(GOOD, principal_shift_px=24.0), GateOptions()).status is Status.REVIEW
    assert decide(replace(GOOD, principal_shift_px=10.0), GateOptions()).status is Status.ACCEPTED
