"""What the gate learns about a solution: how far it moves without an anchor, whether depth and baselines agree on
the scale, how far it is from the report.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geocorrect.errors import Reason, Status
from geocorrect.geometry.pose import Pose
from geocorrect.localize.gate import decide, gate_statistics
from geocorrect.localize.joint.estimate import solve_joint
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import GateOptions, LocalizeOptions
from geocorrect.localize.solution import Solution
from geocorrect.records import Query
from simulation.estimator import SimulatorOptions, simulate
from simulation.estimator_observe import observe_case

OPTIONS = LocalizeOptions()
BLANK = np.zeros((1, 1, 3), np.uint8)


def solved(observations: list[Observations], case_seed: int, anchors: int = 2) -> tuple[Solution, Query]:
    case = simulate(SimulatorOptions(anchors=anchors, neighbours_m=()), case_seed)
    solution = solve_joint(observations, case.query_camera, OPTIONS, 0)
    assert isinstance(solution, Solution)
    return solution, Query("q", BLANK, case.query_camera, case.reported_m)


def observed(seed: int, kind: str = "lidar", anchors: int = 2) -> list[Observations]:
    case = simulate(SimulatorOptions(anchors=anchors, neighbours_m=()), seed)
    return observe_case(case, kind, 0.2, OPTIONS, 0)  # type: ignore[arg-type]


@pytest.mark.long
def test_an_anchor_on_record_in_another_place_pulls_or_is_set_aside() -> None:
    """Moved by 0.6 m along the street, less than any other rule sees; what is stated holds the photo either way."""
    unmoved, moved, aside, distances2 = [], [], [], []
    for seed in range(5):
        right = observed(seed, anchors=3)
        unmoved.append(solved(right, seed, 3)[0].leave_one_out_m)
        pose = right[-1].anchor.world_from_cam
        wrong = replace(
            right[-1].anchor, world_from_cam=Pose(pose.rotation, pose.translation_m + np.array([0.0, 0.6, 0.0]))
        )
        solution, _ = solved([*right[:-1], replace(right[-1], anchor=wrong)], seed, 3)
        moved.append(solution.leave_one_out_m)
        aside.append(solution.fits[-1].weight == 0.0)
        truth = simulate(SimulatorOptions(anchors=3, neighbours_m=()), seed).world_from_query
        off_m, covariance = solution.world_from_cam.minus(truth)[:3], solution.world_from_cam.covariance
        assert covariance is not None
        distances2.append(float(off_m @ np.linalg.solve(covariance[:3, :3], off_m)))
    # The noise of the records is found from the matches, too, which leaves a wrong one less to pull with.
    pulled = np.array(moved) > 1.3 * np.array(unmoved)
    assert np.median(unmoved) < 0.1
    assert (pulled | aside).all()
    assert max(distances2) < 7.8


@pytest.mark.long
def test_leaving_one_out_predicts_what_solving_without_it_gives() -> None:
    """The one-step estimate against solving again without each anchor."""
    pairs = []
    for seed in range(6):
        all_of_them = observed(seed, anchors=3)
        full, _ = solved(all_of_them, seed, 3)
        shifts = []
        for n in range(3):
            rest, _ = solved(all_of_them[:n] + all_of_them[n + 1 :], seed, 3)
            shifts.append(np.linalg.norm((rest.world_from_cam.translation_m - full.world_from_cam.translation_m)[:2]))
        pairs.append((full.leave_one_out_m, max(shifts)))
    predicted, real = np.array(pairs).T
    assert 0.4 < np.median(predicted / real) < 2.5


def test_one_anchor_has_nothing_to_leave_out() -> None:
    assert np.isnan(solved(observed(1, anchors=1), 1, 1)[0].leave_one_out_m)


@pytest.mark.long
@pytest.mark.parametrize("factor", [1.0, 1.3])
def test_a_wrong_depth_scale_is_seen_where_baselines_know_better(factor: float) -> None:
    """LiDAR that measures 30 % too far against anchors 3 m apart; right depth stays within a few sigmas."""
    sigmas, reasons = [], []
    for seed in range(5):
        scaled = [replace(o, depth_m=o.depth_m * factor, common_log_sigma=0.02) for o in observed(seed, anchors=3)]
        solution, query = solved(scaled, seed, 3)
        statistics = gate_statistics(solution, scaled, query, GateOptions())
        sigmas.append(solution.scale_sigmas)
        strict = GateOptions(max_scale_sigmas=6.0)
        reasons.append(decide(replace(statistics, alternative_share=0.0, anchor_spread_m=0.1), strict).reason)
    if factor == 1.0:
        assert np.median(sigmas) < 2.5
        assert Reason.SCALE_DISAGREES not in reasons
    else:
        assert np.median(sigmas) > 6.0
        assert reasons.count(Reason.SCALE_DISAGREES) >= 3


def test_distance_from_the_report_is_measured_in_its_own_errors() -> None:
    observations = observed(3)
    solution, query = solved(observations, 3)
    near = gate_statistics(solution, observations, query, GateOptions(reported_sigma_m=8.0))
    assert near.reported_sigmas == pytest.approx(near.displacement_m / 8.0, rel=0.02)
    nowhere = replace(query, reported_enu_m=np.full(3, np.nan))
    unreported = gate_statistics(solution, observations, nowhere, GateOptions())
    assert np.isnan(unreported.reported_sigmas)
    assert decide(unreported, GateOptions()).status in (Status.ACCEPTED, Status.REVIEW)
