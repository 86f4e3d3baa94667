"""Landmarks clicked over HTTP in a synthetic drive: cameras are placed where they were. Needs no real data."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.served import TOKEN, Served, served
from support.vbr_world import write_calibration

from geocorrect.catalog import Catalog
from geocorrect.geometry.frame import Frame
from geocorrect.georeference.landmarks.read import read_landmarks
from geocorrect.serve.landmarks.drive import LandmarkFiles
from geocorrect.serve.state import ServeSettings
from simulation.georeference import CAMERA, Clicking, SyntheticDrive, synthetic_drive

pytestmark = pytest.mark.long
FRAME = Frame("town", 12.4964, 41.9028, 48.0)
N_CLICKS = 25


@pytest.fixture(scope="module")
def truth() -> SyntheticDrive:
    return synthetic_drive(Clicking(sigma_px=0.5, sigma_map_m=0.02), seed=5)


@pytest.fixture
def files(truth: SyntheticDrive, tmp_path: Path) -> LandmarkFiles:
    """The five clicked photos as a drive of five rows, as VBR writes one."""
    (tmp_path / "photos").mkdir()
    rows = []
    for number, image in enumerate(truth.problem.images):
        pose = image.local_from_base
        rows.append(" ".join(f"{value:.9f}" for value in (number, *pose.translation_m, *pose.rotation.as_quat())))
        Image.new("RGB", (CAMERA.width, CAMERA.height)).save(tmp_path / "photos" / f"{number:010d}.png")
    (tmp_path / "town_gt.txt").write_text("\n".join(["#timestamp tx ty tz qx qy qz qw", *rows, ""]))
    calibration = write_calibration(tmp_path / "vbr_calib.yaml", CAMERA)
    return LandmarkFiles(
        (tmp_path / "town_gt.txt",), calibration, (tmp_path / "clicks.geojson",), (tmp_path / "photos",)
    )


@pytest.fixture
def server(files: LandmarkFiles, empty_geopackage: Path, tmp_path: Path) -> Iterator[Served]:
    with (
        Catalog.open(str(shutil.copy(empty_geopackage, tmp_path / "c.gpkg"))) as catalog,
        served(ServeSettings(catalog, TOKEN, landmarks=files)) as server,
    ):
        yield server


def click(server: Served, truth: SyntheticDrive, number: int, **more: Any) -> dict[str, Any]:
    """What the server says to a click on a true place."""
    east_m, north_m, _ = truth.problem.target_m[number]
    lon_deg, lat_deg, _ = FRAME.wgs84_from_enu(np.array([east_m, north_m, 0.0]))
    u_px, v_px = truth.problem.px[number].tolist()
    asked = {
        "version": server.get("/api/landmarks/state").value["version"], "action": "add", "landmark": f"mark {number}",
        "photo": int(truth.problem.image_index[number]), "u_px": u_px, "v_px": v_px, "lon_deg": float(lon_deg),
        "lat_deg": float(lat_deg),
    }  # fmt: skip
    answer = server.post("/api/landmarks/click", asked | more)
    assert answer.status == 200, answer.body
    said: dict[str, Any] = answer.value
    return said


def test_cameras_are_placed_where_they_were(server: Served, truth: SyntheticDrive, files: LandmarkFiles) -> None:
    for number in range(N_CLICKS):
        said = click(server, truth, number)
    assert not any(each["outlier"] for each in said["clicks"])
    assert len(read_landmarks(files.clicks[0])) == N_CLICKS
    for number, image in enumerate(truth.problem.images):
        true_m = truth.world_from_local.apply(image.local_from_cam.translation_m)
        lon_deg, lat_deg = server.get(f"/api/landmarks/view?drive=0&photo={number}").value["camera"]
        found_m = FRAME.enu_from_wgs84(lon_deg, lat_deg, FRAME.height_m)
        assert found_m[:2] == pytest.approx(true_m[:2], abs=0.5)
    place = said["clicks"][0]["lat_deg"] + 10.0 / 111_100
    moved = click(server, truth, 0, action="replace", index=0, lat_deg=place)
    assert [each["outlier"] for each in moved["clicks"]].count(True) == 1
    undone = server.post("/api/landmarks/undo", {"version": moved["version"]}).value
    stored = server.post("/api/landmarks/store", {"version": undone["version"]})
    assert stored.status == 200, stored.body


def test_the_photo_is_shown_raw_and_undistorted(server: Served) -> None:
    raw, flat = (server.get(f"/landmarks/picture/0/0{query}") for query in ("", "?undistorted"))
    assert (raw.headers["content-type"], flat.headers["content-type"]) == ("image/png", "image/jpeg")
    there = server.get("/api/landmarks/pixels?drive=0&photo=0&to=undistorted&px=100,600").value["px"]
    back = server.get(f"/api/landmarks/pixels?drive=0&photo=0&to=raw&px={there[0][0]},{there[0][1]}").value["px"]
    assert back[0] == pytest.approx([100.0, 600.0], abs=0.02)
    assert there[0] != pytest.approx([100.0, 600.0], abs=1.0)
