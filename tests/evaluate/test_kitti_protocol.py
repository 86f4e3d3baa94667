"""The pipeline on a real street, measured against the inertial truth."""

from __future__ import annotations

import io
import json
import math
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.result_cache import kept
from support.world_cache import hash_of_files

from geocorrect.__main__ import run
from geocorrect.catalog.run import ResultFilter
from geocorrect.catalog.store import Catalog
from geocorrect.errors import Status

pytestmark = pytest.mark.long

EARTH_M_PER_DEG = 111_320.0


@dataclass(frozen=True)
class Measured:
    """What one run of the protocol leaves."""

    report: dict[str, Any]
    lon_lat: dict[str, tuple[float, float]]
    """Of every accepted query, as the catalog has them."""


def measure(folder: Path) -> Measured:
    """The protocol from the command line, in the test's process."""
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.setenv("GEOCORRECT__BATCH__ENGINE", "in-process")
        url = f"{scratch}/kitti.gpkg"
        assert run(["evaluate", "kitti-raw", str(folder), "--catalog", url, "--json"]) == 0
        with Catalog.open(url) as catalog:
            accepted = catalog.results(ResultFilter(status=(Status.ACCEPTED,)))
            places = {row.result.image_id: (row.lon_deg, row.lat_deg) for row in accepted}
    said.seek(0)
    return Measured(json.load(said), places)


@pytest.fixture(scope="module")
def measured(shared_data: Path) -> Measured:
    folder = shared_data / "kitti_raw"

    def kitti() -> Measured:
        return measure(folder)

    return kept(kitti, folder, hash_of_files("kitti", [folder]))


@pytest.mark.data
def test_the_bar_on_a_real_street(measured: Measured) -> None:
    report = measured.report
    assert report["n_queries"] == report["n_accepted"] == 17
    assert report["false_accepts"] == 0
    assert report["position_median_m"] <= 0.015
    assert report["position_max_m"] <= 0.04
    assert report["rotation_median_deg"] <= 0.13, "the drive's calibration of camera 03 against 02 is 0.075 degrees off"
    same_camera = [q["rotation_error_deg"] for q in report["queries"] if "image_02" in q["image_id"]]
    assert len(same_camera) == 7
    assert np.median(same_camera) <= 0.07
    assert 2.0 < report["reported_median_m"] < 4.5


@pytest.mark.data
def test_a_place_worked_out_by_hand(shared_data: Path, measured: Measured) -> None:
    """Frame 5 of camera 02: its longitude and latitude from the raw OXTS packets, by arithmetic of a page.

    The packets on both sides of the exposure are interpolated in time; the camera stands ahead of the inertial unit by
    the lever arm of the calibration files, turned by the yaw of the packet (roll and pitch are below 2°).
    """
    drive = shared_data / "kitti_raw" / "2011_09_26" / "2011_09_26_drive_0002_sync"
    lon_deg, lat_deg, yaw_rad = position_at_exposure(drive, 5)
    forward_m, left_m = camera_in_imu(drive.parent)
    east_m = forward_m * math.cos(yaw_rad) - left_m * math.sin(yaw_rad)
    north_m = forward_m * math.sin(yaw_rad) + left_m * math.cos(yaw_rad)
    expected_lat = lat_deg + north_m / EARTH_M_PER_DEG
    expected_lon = lon_deg + east_m / (EARTH_M_PER_DEG * math.cos(math.radians(lat_deg)))
    (found,) = (place for image_id, place in measured.lon_lat.items() if image_id.endswith("image_02/0000000005"))
    offset_east_m = (found[0] - expected_lon) * EARTH_M_PER_DEG * math.cos(math.radians(lat_deg))
    offset_north_m = (found[1] - expected_lat) * EARTH_M_PER_DEG
    assert math.hypot(offset_east_m, offset_north_m) < 0.08


def position_at_exposure(drive: Path, frame: int) -> tuple[float, float, float]:
    def seconds(folder: str) -> np.ndarray:
        lines = (drive / folder / "timestamps.txt").read_text().split()
        clock = [line for line in lines if ":" in line]
        return np.array([float(text.split(":")[1]) * 60 + float(text.split(":")[2]) for text in clock])

    packets = np.array(
        [np.loadtxt(drive / "oxts" / "data" / f"{i:010d}.txt") for i in range(10)]
    )  # lat, lon, alt, roll, pitch, yaw, …
    when = seconds("image_02")[frame]
    times = seconds("oxts")[:10]
    lat, lon, yaw = (np.interp(when, times, packets[:, column]) for column in (0, 1, 5))
    return float(lon), float(lat), float(yaw)


def camera_in_imu(date_folder: Path) -> tuple[float, float]:
    """Camera 02's centre ahead of and to the left of the inertial unit, from the three calibration files."""

    def numbers(file: str, key: str) -> np.ndarray:
        for line in (date_folder / file).read_text().splitlines():
            if line.startswith(f"{key}:"):
                return np.array(line.split(":")[1].split(), float)
        raise KeyError(key)

    def rigid(file: str) -> np.ndarray:
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = numbers(file, "R").reshape(3, 3), numbers(file, "T")
        return matrix

    rectify = np.eye(4)
    rectify[:3, :3] = numbers("calib_cam_to_cam.txt", "R_rect_00").reshape(3, 3)
    projection = numbers("calib_cam_to_cam.txt", "P_rect_02").reshape(3, 4)
    centre_in_rect = -np.linalg.solve(projection[:, :3], projection[:, 3])
    chain = rectify @ rigid("calib_velo_to_cam.txt") @ rigid("calib_imu_to_velo.txt")
    in_imu = np.linalg.solve(chain, [*centre_in_rect, 1.0])
    return float(in_imu[0]), float(in_imu[1])
