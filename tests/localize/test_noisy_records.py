"""Records noisier than stated: the photo's own matches tell, of positions and of rotations apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geocorrect.localize.joint.estimate import solve_joint
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import Solution
from simulation.estimator import SimulatorOptions, simulate
from simulation.estimator_noise import MatchNoise
from simulation.estimator_observe import observe_case

SHARP = MatchNoise(principal_point_px=0.0, query_field_px=0.2, anchor_field_px=0.2)
STATED_M, STATED_DEG = 0.02, 0.05


def solved(position_m: float, rotation_deg: float, seed: int) -> tuple[Solution, float]:
    """Five anchors with LiDAR and records of that noise; (solution, position's error in stated sigmas)."""
    world = SimulatorOptions(
        anchors=5, neighbours_m=(), match_noise=SHARP, anchor_position_m=position_m, anchor_rotation_deg=rotation_deg
    )
    case = simulate(world, seed)
    camera = replace(case.query_camera, focal_sigma=3e-4)
    found = solve_joint(observe_case(case, "lidar", 0.2, LocalizeOptions(), 0), camera, LocalizeOptions(), 0)
    assert isinstance(found, Solution)
    off_m, covariance = found.world_from_cam.minus(case.world_from_query)[:3], found.world_from_cam.covariance
    assert covariance is not None
    return found, float(np.sqrt(off_m @ np.linalg.solve(covariance[:3, :3], off_m)))


@pytest.mark.parametrize("seed", range(4))
def test_records_as_noisy_as_stated_keep_their_noise(seed: int) -> None:
    found, sigmas = solved(STATED_M, STATED_DEG, seed)
    assert found.record_noise == 1.0
    assert sigmas < 3.4


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_positions_noisier_than_stated_widen_what_is_stated(seed: int) -> None:
    found, sigmas = solved(4 * STATED_M, STATED_DEG, seed)
    assert found.record_noise > 1.4
    assert sigmas < 3.4


@pytest.mark.parametrize("seed", [2, 4])
def test_turned_records_leave_the_positions_nearly_as_they_are(seed: int) -> None:
    """Rotations four times as noisy are widened, by more than the positions that they look like in part."""
    found, sigmas = solved(STATED_M, 4 * STATED_DEG, seed)
    right, _ = solved(STATED_M, STATED_DEG, seed)
    assert found.record_noise < 1.4
    widened, stated = (one.world_from_cam.covariance for one in (found, right))
    assert widened is not None
    assert stated is not None
    assert np.sqrt(widened[5, 5] / stated[5, 5]) > 2.0
    assert sigmas < 3.4
