"""LiDAR by ray casting: points on surfaces, organised cloud, nothing missed by the column search."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.demo.render import lidar
from geocorrect.demo.render.lidar import LidarModel, scan
from geocorrect.demo.render.surfaces import Block, Scene, floor, panel
from geocorrect.demo.render.textures import Texture
from geocorrect.demo.street.street import StreetPlan, build_street
from geocorrect.geometry.pose import Pose

EXACT = LidarModel(columns=256, range_sigma_m=0.0, drop_out=0.0)
SENSOR = Pose(Rotation.from_euler("zyx", [20, 1, -2], degrees=True), np.array([0.5, -0.2, 2.0]))
GREY = Texture("grey", 8, 8, partial(np.full, (8, 8, 3), 90, np.uint8))


def returned(cloud: np.ndarray) -> np.ndarray:
    return cloud[np.abs(cloud[:, :3]).sum(axis=1) > 0, :3].astype(float)


def test_points_lie_on_the_wall_and_only_there() -> None:
    wall = panel((12.0, 0.0, 0.0), (-1, 0, 0), (10.0, 6.0), GREY)
    cloud = scan(Scene.of([wall]), EXACT, SENSOR, (1,))
    assert cloud.shape == (64 * 256, 4)
    assert cloud.dtype == np.float32
    world = SENSOR.apply(returned(cloud))
    assert len(world) > 400
    assert world[:, 0] == pytest.approx(12.0, abs=1e-4)
    assert np.abs(world[:, 1]).max() < 5.01
    assert world[:, 2].min() > -0.01
    assert world[:, 2].max() < 6.01


def test_rows_fall_and_columns_turn_clockwise() -> None:
    directions = EXACT.directions()
    assert np.linalg.norm(directions, axis=-1) == pytest.approx(1.0)
    assert (np.diff(directions[:, 0, 2]) < 0).all()
    azimuth = np.unwrap(np.arctan2(directions[0, :, 1], directions[0, :, 0]))
    assert (np.diff(azimuth) < 0).all()


def test_noise_and_drop_outs_are_as_stated() -> None:
    model = replace(EXACT, range_sigma_m=0.02, drop_out=0.1)
    ground = floor((-60, -60), (60, 60), 0.0, GREY)
    exact, noisy = (scan(Scene.of([ground]), m, SENSOR, (3,)) for m in (replace(EXACT, drop_out=0.0), model))
    hit = np.abs(exact[:, :3]).sum(axis=1) > 0
    kept = hit & (np.abs(noisy[:, :3]).sum(axis=1) > 0)
    steep = np.linalg.norm(exact[:, :3], axis=1) < 12  # grazing returns are lost more often
    assert kept[hit & steep].mean() == pytest.approx(0.9, abs=0.02)
    ranges = np.linalg.norm(noisy[:, :3].astype(float), axis=1) - np.linalg.norm(exact[:, :3].astype(float), axis=1)
    assert ranges[kept].std() == pytest.approx(0.02, rel=0.1)


def test_the_search_for_beams_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    quads = build_street(StreetPlan(3, 40.0, 10.0)).quads
    box = Block((0.6, -0.1), 1.0, 1.0, 0.0, 0.4).quads(GREY, GREY, GREY)  # under the sensor
    scene = Scene.of([*quads, *box])
    sensor = Pose(SENSOR.rotation, np.array([15.0, 1.5, 2.08]))
    for pose in (SENSOR, sensor):
        fast = scan(scene, EXACT, pose, (4,))
        with monkeypatch.context() as patch:
            patch.setattr(lidar, "_columns", lambda corners, n: np.tile([[0], [n - 1]], len(corners)))
            patch.setattr(lidar, "_rows", lambda corners, model: np.tile([[0], [model.beams]], len(corners)))
            patch.setattr(lidar, "_least_range_m", lambda corners: np.zeros(len(corners)))
            assert np.array_equal(fast, scan(scene, EXACT, pose, (4,)))


def test_the_same_seed_gives_the_same_scan() -> None:
    scene = Scene.of([floor((-60, -60), (60, 60), 0.0, GREY)])
    model = LidarModel(columns=128)
    assert np.array_equal(scan(scene, model, SENSOR, (1, 2)), scan(scene, model, SENSOR, (1, 2)))
    assert not np.array_equal(scan(scene, model, SENSOR, (1, 2)), scan(scene, model, SENSOR, (1, 3)))
