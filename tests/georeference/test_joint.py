from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.result_cache import kept

from geocorrect.anchors.alignment import Alignment
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.georeference.diagnose import diagnose_clicks, diagnose_solution
from geocorrect.georeference.joint.model import State, evaluate, geometry_of, marks_in_images, reach
from geocorrect.georeference.joint.refine import settled
from geocorrect.georeference.joint.solve import solve_joint
from geocorrect.georeference.problem import ClickedImage, Priors, Problem
from geocorrect.georeference.umeyama import solve_umeyama
from simulation.georeference import Clicking, SyntheticDrive, synthetic_drive
from simulation.georeference_trial import Trial, random_clicking, run_trial


def with_heights(drive: SyntheticDrive, on_ground: bool) -> Problem:
    """The same clicks, the marks' true heights known."""
    problem = drive.problem
    state = State(drive.world_from_local, drive.base_height_m, np.zeros((len(problem.images), 3)))
    reached = drive.world_from_local.apply(reach(problem, geometry_of(problem), state).point_m)
    target = problem.target_m.copy()
    target[:, 2] = reached[:, 2]
    return replace(
        problem, target_m=target, on_ground=np.full(len(problem), on_ground), sigma_height_m=np.full(len(problem), 0.1)
    )


def track_error_m(drive: SyntheticDrive, found: Similarity) -> float:
    """Largest plan error along the drive."""
    off = found.apply(drive.track_local_m) - drive.world_from_local.apply(drive.track_local_m)
    return float(np.linalg.norm(off[:, :2], axis=1).max())


@pytest.mark.parametrize("kind", ["no height", "ground height", "level"])
def test_jacobians_are_exact(kind: str) -> None:
    drive = synthetic_drive(Clicking(n_images=4), 5)
    problem = drive.problem if kind == "no height" else with_heights(drive, kind == "ground height")
    ground = np.random.default_rng(0).normal(size=(4, 3)) * 0.01
    state = State(drive.world_from_local, drive.base_height_m + 0.1, ground)
    geometry = geometry_of(problem)
    found = evaluate(problem, geometry, state)
    assert found.visible.all()
    for k in range(found.jacobian.shape[2]):
        step = np.zeros(found.jacobian.shape[2])
        step[k] = 1e-6
        ahead, behind = (evaluate(problem, geometry, state.moved(sign * step)).residual for sign in (1, -1))
        numeric = (ahead - behind) / 2e-6
        assert found.jacobian[:, :, k] == pytest.approx(numeric, rel=1e-5, abs=2e-4 * (1 + np.abs(numeric).max()))


def test_without_noise_the_truth_fits_exactly() -> None:
    """A base 2 m above level ground, a camera 0.67 m lower: worked out by hand."""
    drive = synthetic_drive(Clicking(), 0)
    image = drive.problem.images[0]
    level = ClickedImage("0", image.camera, Pose.identity(), image.base_from_cam)
    mark = np.array([[10.0, 1.0, np.nan]])
    one = np.ones(1)
    problem = Problem(
        (level,), np.zeros(1, np.int64), np.zeros((1, 2)), mark, one, one, one, np.zeros(1, np.int64),
        np.ones(1, bool), np.array([0.0, 0.0, 1.0]),
    )  # fmt: skip
    # camera at (0.07, 0.23, -0.67): 9.93 m ahead, 0.77 m left, 1.33 m below it
    expected, _ = image.camera.project(np.array([[-0.77, 1.33, 9.93]]))
    state = State(Similarity.identity(), 2.0, np.zeros((1, 3)))
    problem = replace(problem, px=expected)
    assert marks_in_images(problem, geometry_of(problem), state) == pytest.approx(expected, abs=1e-6)
    assert evaluate(problem, geometry_of(problem), state).residual == pytest.approx(np.zeros((1, 3)), abs=1e-6)


@pytest.mark.parametrize(("map_m", "ahead_m"), [(0.25, 40.0), (1.0, 3.0)])
def test_a_wrong_mark_is_far_in_either_direction(map_m: float, ahead_m: float) -> None:
    """Linearised at the click or at the mark alone, one of the two would be within three sigmas."""
    drive = synthetic_drive(Clicking(n_images=3, sigma_map_m=map_m), 2)
    problem = drive.problem
    state = State(drive.world_from_local, drive.base_height_m, np.zeros((3, 3)))
    camera = drive.world_from_local.apply(problem.images[0].local_from_cam.translation_m)
    forward = drive.world_from_local.rotation.apply(problem.images[0].local_from_cam.rotation.apply([0, 0, 1]))
    target = problem.target_m.copy()
    target[0, :2] = (camera + ahead_m * forward / np.linalg.norm(forward[:2]))[:2]
    click, _ = problem.images[0].camera.project(np.array([[0.0, drive.base_height_m - 0.67, 15.0]]))
    px = problem.px.copy()
    px[0] = click[0]
    problem = replace(problem, target_m=target, px=px)
    geometry = settled(problem, geometry_of(problem), state, 15)
    assert evaluate(problem, geometry, state).d2[0] > 5**2


@pytest.mark.long
def test_the_truth_is_found_and_bad_clicks_flagged() -> None:
    drive = synthetic_drive(Clicking(n_images=6, bad_share=0.3, sigma_px=2.0, sigma_map_m=0.1), 7)
    found = solve_joint(drive.problem)
    assert track_error_m(drive, found.world_from_local) < 0.5
    assert (found.outlier == drive.bad).all()
    assert found.base_height_m == pytest.approx(drive.base_height_m, abs=3 * found.base_height_sigma_m + 0.02)
    assert diagnose_solution(drive.problem, found) == []


@pytest.mark.long
def test_a_dozen_seeds_keep_their_promise() -> None:
    """A small version of benchmarks/georeference.py: coverage over accepted drives, no wrong basin."""

    def trials_of_seeds() -> list[Trial]:
        return [run_trial(random_clicking(seed), seed) for seed in range(1000, 1012)]

    trials = kept(trials_of_seeds)
    accepted = [trial for trial in trials if trial.accepted]
    assert len(accepted) >= 9
    assert not any(trial.wrong_basin for trial in accepted)
    assert np.mean([trial.covered for trial in accepted]) > 0.85


@pytest.mark.long
@pytest.mark.parametrize("offset_m", [5e6])
def test_a_far_origin_changes_nothing(offset_m: float) -> None:
    near, far = (synthetic_drive(Clicking(bad_share=0.2), 3, offset) for offset in (0.0, offset_m))
    first, second = solve_joint(near.problem), solve_joint(far.problem)
    here = first.world_from_local.apply(near.track_local_m)
    there = second.world_from_local.apply(far.track_local_m) - offset_m
    assert np.abs(there - here)[:, :2].max() < 1e-3
    assert (first.outlier == second.outlier).all()
    assert second.covariance == pytest.approx(first.covariance, rel=1e-3, abs=1e-9)


def test_the_reference_method_does_not_care_for_the_origin_either() -> None:
    near, far = (synthetic_drive(Clicking(sigma_px=1.0, sigma_map_m=0.05), 3, offset) for offset in (0.0, 5e6))
    here = solve_umeyama(near.problem).world_from_local.apply(near.track_local_m)
    there = solve_umeyama(far.problem).world_from_local.apply(far.track_local_m) - 5e6
    assert np.abs(there - here)[:, :2].max() < 1e-3
    assert track_error_m(near, solve_umeyama(near.problem).world_from_local) < 25.0


@pytest.mark.long
@pytest.mark.parametrize("on_ground", [True, False])
def test_heights_of_marks_fix_the_vertical(on_ground: bool) -> None:
    drive = synthetic_drive(Clicking(n_images=6, sigma_px=2.0, sigma_map_m=0.1), 11)
    found = solve_joint(with_heights(drive, on_ground))
    middle = np.array([image.local_from_base.translation_m for image in drive.problem.images]).mean(axis=0)
    off = found.world_from_local.apply(middle) - drive.world_from_local.apply(middle)
    assert abs(off[2]) < 0.3
    assert found.covariance[2, 2] < 25.0
    alignment = Alignment(Frame("x", 0, 0), found.world_from_local, found.covariance)
    assert np.sqrt(alignment.position_covariance(middle)[2, 2]) < 0.3


def test_without_heights_the_vertical_is_said_to_be_unknown() -> None:
    drive = synthetic_drive(Clicking(), 1)
    found = solve_joint(replace(drive.problem, priors=Priors(ground_height_sigma_m=10.0)))
    alignment = Alignment(Frame("x", 0, 0), found.world_from_local, found.covariance)
    middle = np.array([image.local_from_base.translation_m for image in drive.problem.images]).mean(axis=0)
    assert np.sqrt(alignment.position_covariance(middle)[2, 2]) == pytest.approx(10.0, rel=0.1)
    assert found.world_from_local.apply(middle)[2] == pytest.approx(drive.base_height_m, abs=1.5)


@pytest.mark.long
def test_one_mark_in_several_images_counts_once() -> None:
    """A mark clicked in many images has one map error: the covariance must not shrink as if there were many."""
    drive = synthetic_drive(Clicking(n_images=4, sigma_map_m=1.0, sigma_px=1.0), 4)
    problem = drive.problem

    def yaw_sigma(of: Problem) -> float:
        found = solve_joint(of, n_starts=1)
        return float(np.sqrt(found.covariance[5, 5] / max(1.0, found.reduced_chi2)))

    repeated = problem.subset(np.repeat(np.arange(len(problem)), 4))
    assert yaw_sigma(repeated) > 0.85 * yaw_sigma(problem)
    assert yaw_sigma(replace(repeated, landmark=np.arange(len(repeated)))) < 0.7 * yaw_sigma(problem)


def test_one_image_is_refused_and_two_are_reported() -> None:
    drive = synthetic_drive(Clicking(n_images=3), 0)
    one = drive.problem.subset(drive.problem.image_index == 0)
    assert [(f.code, f.fatal) for f in diagnose_clicks(one)] == [("one_image", True)]
    assert [(f.code, f.fatal) for f in diagnose_clicks(drive.problem.without_image(0))] == [("two_images", False)]


def with_random_marks(extent_m: float, seed: int) -> Problem:
    """Good clicks whose marks were replaced by random places on the map."""
    problem = synthetic_drive(Clicking(n_images=4), 9).problem
    target = problem.target_m.copy()
    target[:, :2] = np.random.default_rng(seed).uniform(-extent_m, extent_m, (len(target), 2))
    return replace(problem, target_m=target)


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1])
def test_random_marks_near_the_drive_are_refused_for_both_reasons(seed: int) -> None:
    """Some pair always fits by chance, in more places than one, and no third click agrees."""
    problem = with_random_marks(300.0, seed)
    findings = {f.code: f for f in diagnose_solution(problem, solve_joint(problem))}
    assert {code for code, finding in findings.items() if finding.fatal} == {"few_agree", "ambiguous"}
    assert "only 2 of 20 clicks, in 2 images, agree" in findings["few_agree"].text


def test_random_marks_far_apart_give_nothing_to_start_from() -> None:
    with pytest.raises(InputError, match="no two clicks lie on the ground far enough apart"):
        solve_joint(with_random_marks(2000.0, 0))


def test_uncertainty_grows_away_from_the_clicks() -> None:
    drive = synthetic_drive(Clicking(n_images=3, length_m=900), 6)
    found = solve_joint(drive.problem)
    alignment = Alignment(Frame("x", 0, 0), found.world_from_local, found.covariance)
    clicked = np.array([image.local_from_base.translation_m for image in drive.problem.images])
    near = clicked.mean(axis=0)
    far = near + Rotation.from_euler("z", 40, degrees=True).apply([800.0, 0.0, 0.0])
    small, large = (np.sqrt(np.trace(alignment.position_covariance(place)[:2, :2])) for place in (near, far))
    assert large > 3 * small


def test_the_reference_method_refuses_what_it_cannot_do() -> None:
    drive = synthetic_drive(Clicking(n_images=4, clicks_per_image=3), 0)
    with pytest.raises(InputError, match="0 images have the 4 clicks"):
        solve_umeyama(drive.problem)
    straight = synthetic_drive(Clicking(n_images=3), 0)
    images = tuple(
        replace(image, local_from_base=Pose(Rotation.identity(), [10.0 * k, 0.0, 0.0]))
        for k, image in enumerate(straight.problem.images)
    )
    with pytest.raises(InputError, match="umeyama: "):
        solve_umeyama(replace(straight.problem, images=images, up_local=np.array([0.0, 0.0, 1.0])))


def test_records_refuse_impossible_shapes() -> None:
    problem = synthetic_drive(Clicking(n_images=3), 0).problem
    with pytest.raises(ValueError, match="px must be"):
        replace(problem, px=problem.px[:3])
    with pytest.raises(ValueError, match="finite"):
        replace(problem, px=problem.px * np.nan)
    with pytest.raises(ValueError, match="must be positive"):
        replace(problem, sigma_px=problem.sigma_px * 0)
    with pytest.raises(ValueError, match="must be on the ground"):
        replace(problem, on_ground=~problem.on_ground)


def test_the_similarity_in_three_dimensions_is_the_full_one() -> None:
    """Exact clicks on flat ground: all seven parameters come back; one straight drive fixes only the plan."""
    drive = synthetic_drive(Clicking(n_images=6, clicks_per_image=8, sigma_px=1e-3, sigma_map_m=1e-4), 5)
    full, plan = (solve_umeyama(drive.problem, in_plan=in_plan) for in_plan in (False, True))
    assert track_error_m(drive, full.world_from_local) < 0.1
    assert track_error_m(drive, plan.world_from_local) < 0.1
    assert full.world_from_local.scale == pytest.approx(1.0, abs=2e-3)
    assert np.linalg.eigvalsh(full.covariance).min() > 0
    straight = synthetic_drive(Clicking(n_images=4), 0)
    images = tuple(
        replace(
            image, local_from_base=Pose(Rotation.identity(), [10.0 * k, 0.0, 0.0]), base_from_cam=image.base_from_cam
        )
        for k, image in enumerate(straight.problem.images)
    )
    with pytest.raises(InputError, match=r"umeyama-3d: .*one line"):
        solve_umeyama(replace(straight.problem, images=images, up_local=np.array([0.0, 0.0, 1.0])), in_plan=False)
