"""Anchors and lenses that are wrong and say that they are right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Pose
from geocorrect.localize.joint.consensus import compare
from geocorrect.localize.joint.estimate import _is_poor, solve_joint
from geocorrect.localize.joint.initialise import start_state
from geocorrect.localize.joint.priors import prior_information
from geocorrect.localize.joint.problem import build_problem
from geocorrect.localize.joint.residuals import residuals
from geocorrect.localize.joint.solve import Noise, _graduated, minimise, objective
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import Solution
from simulation.estimator import SimulatedCase, SimulatorOptions, simulate
from simulation.estimator_observe import observe_case

OPTIONS = LocalizeOptions()
SIGMA = np.diag([0.02**2] * 3 + [np.radians(0.1) ** 2] * 3)


def own(*shifts_m: float) -> list[Pose]:
    """Poses from single anchors, displaced along x."""
    return [Pose(Rotation.identity(), np.array([x, 0.0, 0.0]), SIGMA) for x in shifts_m]


def test_a_majority_refutes_the_anchor_that_contradicts_it() -> None:
    found = compare(own(0.0, 0.02, 1.0), Pose.identity(), [100, 100, 100])
    assert found.set_aside.tolist() == [False, False, True]
    assert found.is_explained
    assert found.sigmas < 1.0


@pytest.mark.parametrize("shifts_m", [(0.0, 1.0), (0.0, 1.0, 2.0), (0.0, 0.0, 1.0, 1.0)])
def test_where_nobody_can_tell_who_is_wrong_the_error_is_in_the_covariance(shifts_m: tuple[float, ...]) -> None:
    poses = own(*shifts_m)
    middle = Pose(Rotation.identity(), np.array([float(np.mean(shifts_m)), 0.0, 0.0]))
    found = compare(poses, middle, [100] * len(poses))
    assert not found.set_aside.any()
    spread = float(np.std(shifts_m))
    assert found.unexplained[0, 0] == pytest.approx(spread**2)
    assert found.unexplained[1, 1] == pytest.approx(0.0)


def test_errors_that_the_poses_state_themselves_explain_their_distance() -> None:
    found = compare(own(0.0, 0.05, -0.03), Pose.identity(), [100] * 3)
    assert found.is_explained
    assert not found.set_aside.any()


def test_noise_larger_than_stated_sets_nobody_aside() -> None:
    """A third pose 5 sigmas off: it could be the tail of a noise that is larger than stated."""
    found = compare(own(0.0, 0.0, 0.16), Pose.identity(), [100] * 3)
    assert not found.set_aside.any()
    assert not found.is_explained


def test_a_vague_anchor_that_contradicts_widens_little() -> None:
    """It hardly moves the joint pose: what it contradicts counts by its precision."""
    vague = Pose(Rotation.identity(), np.array([5.0, 0.0, 0.0]), SIGMA * 30**2)
    found = compare([*own(0.0), vague], Pose.identity(), [100, 40])
    assert not found.is_explained
    assert found.unexplained[0, 0] == pytest.approx(25.0 / (1 + 30**2))


def test_anchors_without_a_pose_of_their_own_have_no_say() -> None:
    found = compare([*own(0.0), None], Pose.identity(), [100, 100])
    assert np.isnan(found.sigmas)
    assert found.is_explained


def test_an_end_that_fits_its_own_matches_badly_is_no_other_answer() -> None:
    """The copy of a façade fits fewer matches, but those well; a lens bent for a far pose fits many, badly."""
    case, observations = case_and_observations(0, 2)
    rows = [np.arange(len(o)) for o in observations]
    camera, origin = case.query_camera, np.zeros(3)
    problem = build_problem(observations, rows, camera, origin)
    prior, sigma_px = prior_information(observations, camera, OPTIONS.joint), 1.3
    state = start_state(problem, case.world_from_query, sigma_px, OPTIONS.joint)
    winner = minimise(problem, state, prior, sigma_px, OPTIONS.joint)
    half = winner.weights.support * (np.arange(len(winner.weights.support)) % 2)
    copied = replace(winner, weights=replace(winner.weights, support=half))
    lost = (winner.weights.support > 0.25).sum() - (half > 0.25).sum()
    assert lost > 20
    pixel = winner.at.pixel * (half > 0.25) + 100.0 * (half <= 0.25)  # mismatches for the copy
    copy = replace(copied, at=replace(winner.at, pixel=pixel))
    bent = replace(winner, at=replace(winner.at, pixel=winner.at.pixel + 2.0 * sigma_px))
    assert not _is_poor(copy, winner, problem, prior, sigma_px, OPTIONS.joint)
    assert _is_poor(bent, winner, problem, prior, sigma_px, OPTIONS.joint)
    assert not _is_poor(winner, winner, problem, prior, sigma_px, OPTIONS.joint)


def case_and_observations(seed: int, anchors: int) -> tuple[SimulatedCase, list[Observations]]:
    case = simulate(SimulatorOptions(anchors=anchors, neighbours_m=()), seed)
    return case, observe_case(case, "lidar", 0.2, OPTIONS, 0)


def displaced(o: Observations, along_m: float) -> Observations:
    """The anchor with a record that is wrong along its viewing direction."""
    pose = o.anchor.world_from_cam
    moved = Pose(pose.rotation, pose.translation_m + pose.rotation.apply([0.0, 0.0, along_m]))
    return replace(o, anchor=replace(o.anchor, world_from_cam=moved))


def solved(case: SimulatedCase, observations: list[Observations]) -> tuple[Solution, float, float]:
    """(solution, position error, squared error in units of the stated covariance)."""
    found = solve_joint(observations, case.query_camera, OPTIONS, 0)
    assert isinstance(found, Solution)
    off = found.world_from_cam.minus(case.world_from_query)[:3]
    assert found.world_from_cam.covariance is not None
    nees = float(off @ np.linalg.solve(found.world_from_cam.covariance[:3, :3], off))
    return found, float(np.linalg.norm(off)), nees


def test_one_of_three_displaced_by_a_metre_is_set_aside() -> None:
    case, observations = case_and_observations(0, 3)
    found, error_m, nees = solved(case, [displaced(observations[0], 1.0), *observations[1:]])
    assert found.fits[0].weight == 0.0
    assert found.fits[1].weight == found.fits[2].weight == 1.0
    assert error_m < 0.15
    assert nees < 12.0


def test_one_of_two_displaced_is_a_wide_error_and_not_a_wrong_answer() -> None:
    """Nobody can tell which; the stated ellipsoid holds the truth, and the contradiction is on record."""
    case, observations = case_and_observations(2, 2)
    found, error_m, nees = solved(case, [displaced(observations[0], 1.0), observations[1]])
    assert found.contradiction_sigmas > 3.0
    assert nees < 12.0
    covariance = found.world_from_cam.covariance
    assert covariance is not None
    assert np.sqrt(np.linalg.eigvalsh(covariance[:3, :3])[-1]) > 0.3 * error_m


@pytest.mark.long
def test_noise_that_the_records_do_not_state_widens_the_error() -> None:
    """0.1 m and 0.2° where 2 cm and 0.05° are stated, bearings only."""
    wide, narrow = [], []
    for noise_m, kept in ((0.1, wide), (0.02, narrow)):
        for seed in range(2):
            options = SimulatorOptions(anchors=3, neighbours_m=(), anchor_position_m=noise_m, anchor_rotation_deg=0.05)
            case = simulate(options, seed)
            found, _, _ = solved(case, observe_case(case, "none", 0.2, OPTIONS, 0))
            covariance = found.world_from_cam.covariance
            assert covariance is not None
            kept.append(np.sqrt(np.trace(covariance[:3, :3])))
    assert np.median(np.array(wide) / np.array(narrow)) > 1.4


def test_a_calibrated_focal_length_that_the_matches_refute_is_not_believed() -> None:
    case, observations = case_and_observations(3, 3)
    right = replace(case.query_camera, focal_sigma=3e-4)
    wrong = replace(right.with_focal_scaled(1.05), focal_sigma=3e-4)
    for camera, is_right in ((right, True), (wrong, False)):
        found, error_m, nees = solved(replace(case, query_camera=camera), observations)
        assert (found.lens_sigmas < 5.0) is is_right
        # 1 % where it is refuted: the lens' distortion, unknown then, too, bends the same rays.
        assert found.focal_ratio == pytest.approx(1.0 if is_right else 1 / 1.05, abs=0.001 if is_right else 0.01)
        assert error_m < 0.15
        assert nees < 12.0


def test_the_solver_does_not_leave_a_hypothesis_for_a_worse_one() -> None:
    """Half of one anchor's matches agree on another place, as on a repeated façade. A graduation that starts far too
    wide averages them in, and its end is worse than its start.
    """
    case, observations = case_and_observations(6, 2)
    slid = observations[1].anchor_rays @ Rotation.from_euler("y", 6.0, degrees=True).as_matrix().T
    wrong = np.random.default_rng(0).random(len(slid)) < 0.55
    observations[1] = replace(observations[1], anchor_rays=np.where(wrong[:, None], slid, observations[1].anchor_rays))
    wide = replace(OPTIONS.joint, graduation=(60.0, 60.0, 60.0, 1.0))
    rows = [np.arange(min(len(o), 150)) for o in observations]
    problem = build_problem(observations, rows, case.query_camera, case.world_from_query.translation_m)
    prior = prior_information(observations, case.query_camera, wide)
    start = start_state(problem, Pose(case.world_from_query.rotation, np.zeros(3)), 1.3, wide)
    schedule = [(inflation, wide.iterations_per_level) for inflation in wide.graduation]
    led_away = _graduated(problem, start, prior, Noise(1.3, 1.3, np.ones(2)), schedule, wide)
    end = minimise(problem, start, prior, 1.3, wide)
    cost = [
        objective(problem, state, residuals(problem, state), prior, 1.3, wide)
        for state in (end.state, start, led_away.state)
    ]
    assert cost[0] <= cost[1]
    assert cost[0] < cost[2]
    assert np.linalg.norm(end.state.centre) < 0.2
