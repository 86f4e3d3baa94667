"""What a drive's anchors err by alike: clock and mounting are found with their errors, and noise beside them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from geocorrect.anchors.check import AnchorCheck, check_anchors
from geocorrect.anchors.drive_errors import DriveModel, camera_of, drive_models
from geocorrect.anchors.neighbour_view import NeighbourView
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.jobs.anchors.neighbour_views import neighbour_view
from geocorrect.localize.joint.estimate import solve_joint
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import Solution
from geocorrect.records import Anchor, AnchorNoise
from simulation.drive import DriveOptions, simulate_drive
from simulation.estimator import ANCHOR_CAMERA

CLOCK_S, MOUNTING_DEG, ROTATION_DEG, POSITION_M = 0.04, (0.1, 0.3, 0.0), 0.1, 0.02
MEASURED = np.diag([0.006**2] * 3 + [np.radians(0.03) ** 2] * 3)
START = datetime(2026, 6, 1, tzinfo=UTC)
SPEED_M_S, SPACING_M = 8.0, 1.5


def way(seconds: float) -> Pose:
    """A street with bends: 24 m long, 12° to either side."""
    along_m = SPEED_M_S * seconds
    phase = 2 * np.pi * along_m / 24.0
    heading_deg = np.degrees(np.arctan(0.8 * 2 * np.pi / 24.0 * np.cos(phase)))
    return Pose(rotation_from_heading(float(heading_deg)), np.array([0.8 * np.sin(phase), along_m, 1.8]))


class Drive:
    """Two cameras take a picture in turn; every anchor is seen by its four neighbours, the average of whose errors
    enters the view.
    """

    def __init__(self, count: int, clock_s: float, mounting_deg: Collection[float], seed: int) -> None:
        random = np.random.default_rng(seed)
        self.names = [f"{n:03d}" for n in range(count)]
        self.neighbours = {
            name: [self.names[n + step] for step in (-2, -1, 1, 2) if 0 <= n + step < count]
            for n, name in enumerate(self.names)
        }
        self.anchors, self.error, self.seen = [], {}, {}
        for n, name in enumerate(self.names):
            taken_s = n * SPACING_M / SPEED_M_S
            true, record = way(taken_s), way(taken_s + clock_s)
            turn = record.rotation.apply(np.radians(list(mounting_deg))) if n % 2 else np.zeros(3)
            noise = [*(POSITION_M * random.normal(size=3)), *(np.radians(ROTATION_DEG) * random.normal(size=3))]
            record = record.perturbed([0, 0, 0, *turn]).perturbed(noise)
            camera = f"camera_{n % 2}"
            when = START + timedelta(seconds=taken_s)
            self.anchors.append(Anchor(name, "d", Path(camera) / name, ANCHOR_CAMERA, record, "exact", when))
            self.error[name] = record.minus(true)
            self.seen[name] = np.sqrt(np.diag(MEASURED)) * random.normal(size=6)

    def view(self, name: str, neighbours: Collection[str]) -> NeighbourView:
        part = np.eye(6) / len(neighbours)
        shift = self.error[name] + self.seen[name] - part @ np.sum([self.error[n] for n in neighbours], axis=0)
        return NeighbourView(shift, MEASURED, np.repeat([0.02, np.radians(0.05)], 3), dict.fromkeys(neighbours, part))

    def check(self) -> tuple[AnchorCheck, DriveModel]:
        models = drive_models(self.anchors, 0.02, 0.05)
        (model,) = models.values()
        return check_anchors(self.neighbours, self.view, drives=models), model


@pytest.mark.parametrize("seed", range(3))
def test_clock_mounting_and_noise_of_a_drive_are_found(seed: int) -> None:
    """A clock 40 ms late, the second camera turned by 0.3°, rotation noise of 0.1° stated as 0.05°."""
    check, model = Drive(80, CLOCK_S, MOUNTING_DEG, seed).check()
    (errors,) = check.drives.values()
    clock_s, sigma_s = errors.clock_s
    assert sigma_s < 0.006
    assert abs(clock_s - CLOCK_S) < 3 * sigma_s
    turn, sigma = errors.values[4:7], np.sqrt(np.diag(errors.covariance)[4:7])
    assert (sigma < np.radians(0.06)).all()
    assert (np.abs(turn - np.radians(MOUNTING_DEG)) < 3 * sigma).all()
    assert 0.02 * errors.noise[0] == pytest.approx(POSITION_M, rel=0.3)
    assert 0.05 * errors.noise[1] == pytest.approx(ROTATION_DEG, rel=0.3)
    assert errors.noise[0] < errors.upper[0] < 1.2 * errors.noise[0]
    assert len(check.named) <= 1
    common = errors.common(model.effects["010"])
    late = way(10 * SPACING_M / SPEED_M_S + CLOCK_S).minus(way(10 * SPACING_M / SPEED_M_S))
    assert common[1, 1] == pytest.approx(late[1] ** 2 + 0.5 * (errors.values[1:4] ** 2).sum(), rel=0.5)
    assert np.degrees(np.sqrt(common[3, 3])) == pytest.approx(np.hypot(*MOUNTING_DEG[:2]) / np.sqrt(2), rel=0.4)


def test_a_drive_without_such_errors_has_none() -> None:
    """Four sigmas are never reached by chance; less is reported with its error, and not used."""
    values = [drive.check()[0].drives["d/"].values for drive in (Drive(60, 0.0, (0, 0, 0), s) for s in range(4))]
    assert not np.any(values)


def test_a_straight_drive_at_one_speed_says_nothing_of_its_clock() -> None:
    drive = Drive(40, 0.0, (0, 0, 0), 0)
    anchors = [
        replace(a, world_from_cam=Pose(rotation_from_heading(0.0), np.array([0.0, SPACING_M * n, 0.0])))
        for n, a in enumerate(drive.anchors)
    ]
    check = check_anchors(drive.neighbours, drive.view, drives=drive_models(anchors, 0.02, 0.05))
    clock_s, sigma_s = check.drives["d/"].clock_s
    assert clock_s == 0.0
    assert sigma_s > 0.03


def test_pictures_of_one_moment_have_no_motion() -> None:
    """Faces of a panorama lie in one folder and look to all sides: no turn from the one to the other is the car's."""
    anchors = Drive(4, 0.0, (0, 0, 0), 0).anchors
    (model,) = drive_models([replace(a, path=Path("c/x"), captured_at=START) for a in anchors], 0.02, 0.05).values()
    assert not any(effect.any() for effect in model.effects.values())
    (model,) = drive_models([replace(a, path=Path("c/x")) for a in anchors], 0.02, 0.05).values()
    assert model.effects["001"][1, 0] == pytest.approx(SPEED_M_S, rel=0.1)


def test_cameras_are_told_apart_by_folder_and_lens() -> None:
    first, second, *_ = Drive(4, 0.0, (0, 0, 0), 0).anchors
    assert camera_of(first) != camera_of(second)
    assert camera_of(first) == camera_of(replace(second, path=Path("camera_0/x.png")))
    other = Camera.pinhole(512, 260, 301.0, 301.0, 255.5, 129.5)
    assert camera_of(first) != camera_of(replace(first, camera=other))


@pytest.mark.slow
def test_the_stated_heading_holds_on_a_drive_with_such_errors() -> None:
    """Matches as of RootSIFT. Every picture of the drive as a photo that its neighbours localise, against the truth."""
    options = DriveOptions(
        rotation_deg=ROTATION_DEG, wrong_share=0.0, weave_m=0.8, clock_s=CLOCK_S, mounting_deg=MOUNTING_DEG
    )
    drive, camera = simulate_drive(options, 1, with_lidar=False), replace(ANCHOR_CAMERA, focal_sigma=5e-4)

    def view(name: str, neighbours: Collection[str]) -> NeighbourView | None:
        seen = [drive.observations[name, n] for n in neighbours if (name, n) in drive.observations]
        return neighbour_view(seen, camera, drive.recorded[name], LocalizeOptions()) if len(seen) > 1 else None

    models = drive_models(drive.anchors, 0.02, 0.05)
    (model,) = models.values()
    (errors,) = check_anchors(drive.neighbours, view, drives=models).drives.values()
    clock_s, sigma_s = errors.clock_s
    assert abs(clock_s - CLOCK_S) < 3 * sigma_s < 0.02
    assert 0.05 * errors.noise[1] == pytest.approx(ROTATION_DEG, rel=0.3)
    noise = {
        name: AnchorNoise(0.02 * errors.upper[0], 0.05 * errors.upper[1], errors.common(effect))
        for name, effect in model.effects.items()
    }
    inside = []
    for name, around in drive.neighbours.items():
        seen = [drive.observations[name, n] for n in around if (name, n) in drive.observations]
        found = solve_joint(
            [replace(o, anchor=replace(o.anchor, noise=noise[o.anchor.id])) for o in seen], camera, LocalizeOptions(), 0
        )
        assert isinstance(found, Solution)
        assert found.world_from_cam.covariance is not None
        error = found.world_from_cam.minus(drive.true[name])[5]
        inside.append(abs(error) < 1.96 * np.sqrt(found.world_from_cam.covariance[5, 5]))
    assert np.mean(inside) >= 0.9


@pytest.mark.slow
def test_noise_below_that_of_the_matches_is_found() -> None:
    """0.5 cm where 2 cm is stated, matches as of RootSIFT and believed as it declares: believed less, it was 0.1 cm."""
    options = DriveOptions(position_m=0.005, wrong_m=3 * np.sqrt(3) * 0.02)
    drive, camera = simulate_drive(options, 1, with_lidar=False), replace(ANCHOR_CAMERA, focal_sigma=5e-4)

    def view(name: str, neighbours: Collection[str]) -> NeighbourView | None:
        seen = [drive.observations[name, n] for n in neighbours if (name, n) in drive.observations]
        return neighbour_view(seen, camera, drive.recorded[name], LocalizeOptions()) if len(seen) > 1 else None

    check = check_anchors(drive.neighbours, view, drives=drive_models(drive.anchors, 0.02, 0.05))
    assert 0.02 * check.noise[0] == pytest.approx(0.005, rel=0.3)
    assert set(check.named) == drive.wrong
