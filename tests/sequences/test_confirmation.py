"""Results that hang on one anchor: confirmed by results that rest on others, never by those that share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from support.catalog_world import ROME

from geocorrect.errors import Status
from geocorrect.localize.gate import GateStatistics, as_mapping
from geocorrect.localize.options import GateOptions
from geocorrect.records import AnchorEvidence, Correction, Evidence, Rejection
from geocorrect.sequences.adjust import SequencePose, SequenceSolution
from geocorrect.sequences.compute import compute_sequence
from geocorrect.sequences.confirmation import records_of, records_tested_by
from geocorrect.sequences.decide import Change, Member, sequence_results
from geocorrect.sequences.graph import Innovation
from geocorrect.sequences.input import SequencePhotos
from geocorrect.sequences.options import SequenceOptions
from simulation.sequences import SequenceWorld, simulate_sequence

STEPS = simulate_sequence(SequenceWorld(n_images=24, anchored=0.0), 5)
GATE = GateOptions()
LONE = {"independent_anchors": 1.0, "supporting_anchors": 1.0}
SIGMA = np.diag([0.03**2] * 3 + [np.radians(0.1) ** 2] * 3)


def result(i: int, anchors: Sequence[str], off_m: float = 0.0) -> Correction:
    """Photo i as localised from some anchors; from one alone it is for review."""
    pose = STEPS.truth[i].perturbed([off_m, 0, 0, 0, 0, 0]).with_covariance(SIGMA)
    seen = tuple(AnchorEvidence(a, 200, 150, 100, 120) for a in anchors)
    lone = len(anchors) == 1
    evidence = Evidence(anchors=seen, matcher="m", depth="d", gate=LONE if lone else {"independent_anchors": 2.0})
    return Correction(str(i), pose, Status.REVIEW if lone else Status.ACCEPTED, 0.05, 0.1, evidence)


def changed(own: dict[int, Correction], gate: GateOptions = GATE) -> tuple[dict[int, Change], SequenceSolution | None]:
    """What the sequence makes of its photos' own results."""
    n = len(STEPS.truth)
    nowhere = np.full((n, 3), np.nan)
    ids = tuple(str(i) for i in range(n))
    photos = SequencePhotos(ids, tuple(STEPS.hints()), nowhere, nowhere[:, 0], nowhere[:, 0], None, None)
    computed = compute_sequence(photos, {str(i): r for i, r in own.items()}, ROME, SequenceOptions(), gate)
    for one in computed.results:
        if one.change is Change.FLAGGED:
            assert isinstance(one.result, Rejection)
        if one.change is Change.CONFIRMED:
            assert isinstance(one.result, Correction)
            assert one.result.status is Status.ACCEPTED
    return {int(one.result.image_id): one.change for one in computed.results}, computed.solution


GOOD = {i: result(i, ["a", "b"]) for i in (0, 2, 4, 12, 14)}


def test_a_lone_anchor_is_confirmed_by_results_of_others_and_refuted_where_they_contradict() -> None:
    changes, _ = changed({**GOOD, 6: result(6, ["c"]), 9: result(9, ["d"], off_m=1.0)})
    assert (changes[6], changes[9]) == (Change.CONFIRMED, Change.FLAGGED)


def test_a_prediction_that_a_metre_would_not_contradict_confirms_nothing() -> None:
    """Ten photos from the next result a metre is three standard deviations: no outlier, and not confirmed either."""
    changes, solution = changed({**{i: GOOD[i] for i in (0, 2, 4)}, 23: result(23, ["c"], off_m=0.9)})
    assert solution is not None
    found = solution.poses[23]
    assert found.innovation is not None
    assert (found.is_outlier, found.weight) == (False, 0.0)
    assert 23 not in changes


def test_results_of_one_wrong_anchor_do_not_confirm_each_other() -> None:
    """They outnumber the right ones, agree with each other and with the motion; the right ones are untouched."""
    wrong = {i: result(i, ["c"], off_m=6.0) for i in range(15, 24)}
    changes, solution = changed({**GOOD, **wrong})
    assert all(changes.get(i) is not Change.CONFIRMED for i in wrong)
    assert not any(changes.get(i) in (Change.FLAGGED, Change.DOUBTED) for i in GOOD)
    assert solution is not None
    placed = [i for i, change in changes.items() if change is Change.PLACED]
    off_m = [np.linalg.norm(solution.poses[i].world_from_cam.minus(STEPS.truth[i])[:3]) for i in placed]
    assert max(off_m) < 1.0


def test_with_nothing_but_one_anchor_nothing_is_said() -> None:
    changes, solution = changed({i: result(i, ["c"], off_m=6.0) for i in range(0, 24, 2)})
    assert (changes, solution) == ({}, None)


def test_two_lone_anchors_confirm_each_other() -> None:
    own = {i: result(i, ["c"] if i < 12 else ["d"]) for i in range(0, 24, 2)}
    changes, solution = changed(own)
    assert solution is not None
    assert changes[10] is changes[12] is Change.CONFIRMED


def test_pairs_that_share_an_anchor_do_not_confirm_each_other() -> None:
    """Two anchors whose own distance is the scale: with a third in common one wrong record is in both."""
    shared = {i: pair_for_review(i, "ab" if i < 12 else "bc", independent=1.0) for i in range(0, 24, 2)}
    assert [records_of(shared[i], GATE) for i in (2, 14)] == [frozenset("ab"), frozenset("bc")]
    assert changed(shared) == ({}, None)
    apart = shared | {i: pair_for_review(i, "cd", independent=1.0) for i in range(12, 24, 2)}
    assert changed(apart)[0][12] is Change.CONFIRMED


def test_how_many_anchors_are_enough_is_as_configured() -> None:
    """Of three that the configuration asks for there are two: such results share a record, too, and say nothing."""
    pairs = {i: pair_for_review(i, "ab", independent=2.0) for i in range(0, 24, 2)}
    assert changed(pairs)[0][2] is Change.CONFIRMED
    assert changed(pairs, GateOptions(min_independent_anchors=3)) == ({}, None)


def pair_for_review(i: int, anchors: str, independent: float) -> Correction:
    own = result(i, list(anchors))
    gate = {"independent_anchors": independent, "supporting_anchors": 2.0}
    return replace(own, status=Status.REVIEW, evidence=replace(own.evidence, gate=gate))


GATED = as_mapping(
    GateStatistics(
        n_inliers=300.0, inlier_share=0.9, coverage=0.6, displacement_m=3.0, height_difference_m=0.1,
        anchor_spread_m=np.nan, alternative_share=0.1, supporting_anchors=1.0, support_share=1.0, expected_error_m=0.1,
        expected_heading_error_deg=0.1, reported_sigmas=0.4, scale_sigmas=np.nan, leave_one_out_m=np.nan,
        independent_anchors=1.0, inlier_patches=115.0,
    )
)  # fmt: skip
FEW = {i: result(i, ["a", "b"]) for i in (0, 2, 4)}
"""So far from photo 23 that the motion tells a metre there, not 0.3 m."""


def lone(off_m: float = 0.0, **gate: float) -> Correction:
    own = result(23, ["c"], off_m)
    return replace(own, evidence=replace(own.evidence, gate=GATED | gate))


def with_another_anchor(own: Correction, anchor: str, weight: float = 1.0, **gate: float) -> Correction:
    seen = (*own.evidence.anchors, AnchorEvidence(anchor, 200, 150, 100, 120, weight=weight))
    return replace(own, evidence=replace(own.evidence, anchors=seen, gate=dict(own.evidence.gate) | gate))


def test_where_the_record_is_tested_a_prediction_good_to_a_metre_confirms_and_refutes_copies() -> None:
    tested = FEW | {0: with_another_anchor(FEW[0], "c")}
    assert 23 not in changed({**FEW, 23: lone()})[0], "nobody has tested the record"
    assert changed({**tested, 23: lone()})[0][23] is Change.CONFIRMED
    assert changed({**tested, 23: lone(off_m=8.0)})[0][23] is Change.FLAGGED


def test_what_the_gate_leaves_for_a_review_for_another_reason_stays_there() -> None:
    tested = FEW | {0: with_another_anchor(FEW[0], "c")}
    assert 23 not in changed({**tested, 23: lone(coverage=0.2)})[0]


def test_a_result_tests_the_records_of_the_anchors_that_agree_in_it() -> None:
    own = FEW[0]
    assert records_tested_by([own, lone(), None]) == frozenset(), "weights unknown; for review; no result"
    assert records_tested_by([with_another_anchor(own, "c")]) == {"c"}
    assert records_tested_by([with_another_anchor(own, "c", weight=0.0)]) == frozenset(), "set aside"
    for sign in ({"contradiction_sigmas": 2.0}, {"record_shift_sigmas": 1.6}, {"independent_anchors": 1.0}):
        assert records_tested_by([with_another_anchor(own, "c", **sign)]) == frozenset(), sign


def test_a_result_that_its_sequence_gives_no_weight_is_not_replaced() -> None:
    """Else a right one for review, which a poor reconstruction contradicts, would go out where that puts it."""
    own = replace(result(3, ["a", "b"]), status=Status.REVIEW, expected_error_m=1.0)
    elsewhere = result(3, ["a", "b"], off_m=0.8).world_from_cam
    changes = []
    for weight in (0.001, 0.5):
        adjusted = SequencePose(elsewhere, weight, False, Innovation(4.0, 0.8, 0.1, 9 * SIGMA), 0, 0.0)
        solution = SequenceSolution((adjusted,), 3, 0, (20.0, 20.0))
        found = sequence_results([Member("3", own, np.zeros(3))], solution, "sfm_cluster", SequenceOptions())
        changes.append([one.change for one in found])
    assert changes == [[], [Change.CONFIRMED]]
