"""Weak priors on the pose: right derivatives, help where matches say little, silence where they say enough."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.config import load_settings
from geocorrect.errors import ConfigError
from geocorrect.geometry.pose import Pose
from geocorrect.localize.joint.estimate import solve_joint
from geocorrect.localize.options import LocalizeOptions, PosePriorOptions
from geocorrect.localize.pose_prior import NO_PRIOR, PosePrior
from geocorrect.localize.solution import Solution
from simulation.estimator import SimulatorOptions, simulate
from simulation.estimator_observe import observe_case

OPTIONS = LocalizeOptions()
ALL = PosePriorOptions(reported_m=10.0, height_m=0.5, roll_deg=2.0, pitch_deg=4.0)


def with_prior(prior: PosePriorOptions) -> LocalizeOptions:
    return replace(OPTIONS, joint=replace(OPTIONS.joint, prior=prior))


def test_derivatives_equal_numeric_ones() -> None:
    rng = np.random.default_rng(1)
    prior = PosePrior(rng.normal(0, 3, 3), np.array([10.0, 10.0, 0.5]), 0.05, 0.1)
    pose = Pose(Rotation.random(random_state=2), rng.normal(0, 3, 3))
    residual, by_pose = prior.rows(pose.rotation.as_matrix(), pose.translation_m)
    assert residual.shape == (5,)
    for column in range(6):
        ends = []
        for step in (1e-6, -1e-6):
            moved = pose.perturbed(step * np.eye(6)[column])
            ends.append(prior.rows(moved.rotation.as_matrix(), moved.translation_m)[0])
        np.testing.assert_allclose(by_pose[:, column], (ends[0] - ends[1]) / 2e-6, atol=1e-6)


def test_what_is_not_known_says_nothing() -> None:
    residual, by_pose = NO_PRIOR.rows(np.eye(3), np.zeros(3))
    assert residual.shape == (0,)
    assert by_pose.shape == (0, 6)
    unreported = PosePrior(np.array([np.nan, np.nan, 1.0]), np.array([10.0, 10.0, 0.5]), np.nan, np.nan)
    assert unreported.rows(np.eye(3), np.zeros(3))[0].tolist() == [-2.0]


@pytest.mark.long
def test_a_lone_anchor_with_raw_depth_gains() -> None:
    """A scale that is 20 % uncertain over some metres of baseline: height and report say more than the depth."""
    errors, sigmas = [], []
    for seed in range(12):
        case = simulate(SimulatorOptions(anchors=1, neighbours_m=()), seed)
        observations = observe_case(case, "predicted", 0.2, OPTIONS, 0)
        found = [
            solve_joint(observations, case.query_camera, options, 0, case.reported_m)
            for options in (OPTIONS, with_prior(PosePriorOptions(height_m=0.5, roll_deg=2.0)))
        ]
        assert all(isinstance(f, Solution) for f in found)
        errors.append([np.linalg.norm(f.world_from_cam.minus(case.world_from_query)[:3]) for f in found])
        sigmas.append([np.sqrt(np.trace(f.world_from_cam.covariance[:3, :3])) for f in found])
    assert (np.array(sigmas)[:, 1] <= np.array(sigmas)[:, 0] * 1.02).all()
    assert np.mean(np.array(errors)[:, 1]) <= np.mean(np.array(errors)[:, 0])


@pytest.mark.long
def test_a_pose_that_is_known_is_not_pulled_to_the_report() -> None:
    """Never the prior in disguise: the report is 3–10 m off, the answer stays."""
    for seed in range(4):
        case = simulate(SimulatorOptions(anchors=3, neighbours_m=()), seed)
        observations = observe_case(case, "lidar", 0.2, OPTIONS, 0)
        alone = solve_joint(observations, case.query_camera, OPTIONS, 0, case.reported_m)
        pulled = solve_joint(
            observations, case.query_camera, with_prior(PosePriorOptions(reported_m=10.0)), 0, case.reported_m
        )
        assert isinstance(alone, Solution)
        assert isinstance(pulled, Solution)
        assert np.linalg.norm(pulled.world_from_cam.minus(alone.world_from_cam)[:3]) < 2e-3


def test_a_photo_without_a_report_is_solved_with_the_other_priors() -> None:
    case = simulate(SimulatorOptions(anchors=2, neighbours_m=()), 2)
    observations = observe_case(case, "lidar", 0.2, OPTIONS, 0)
    assert isinstance(solve_joint(observations, case.query_camera, with_prior(ALL), 0), Solution)


@pytest.mark.parametrize(
    ("name", "value", "message"), [("reported_m", 1.0, "prior|pull"), ("height_m", 0.0, "positive")]
)
def test_a_prior_that_would_be_the_answer_is_refused(name: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PosePriorOptions(**{name: value})


def test_priors_are_read_from_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "geocorrect.toml"
    path.write_text("[localize.joint.prior]\nreported_m = 10.0\nroll_deg = 3.0\n")
    assert load_settings(path, {}).settings.localize.joint.prior == PosePriorOptions(reported_m=10.0, roll_deg=3.0)
    page = (Path(__file__).resolve().parents[2] / "docs" / "localize.md").read_text(encoding="utf-8")
    path.write_text(page.split("```toml")[1].split("```")[0])
    assert load_settings(path, {}).settings.localize.joint.prior == PosePriorOptions(10.0, 1.0, 3.0, 8.0)
    path.write_text("[localize.joint.prior]\nreported_m = 0.5\n")
    with pytest.raises(ConfigError, match="reported_m"):
        load_settings(path, {})
