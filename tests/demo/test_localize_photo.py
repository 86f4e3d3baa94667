"""`geocorrect localize` on photos of the small street, from a drive's files and from a catalog."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.world_cache import cached_demo

from geocorrect.__main__ import run
from geocorrect.demo.world.build import DemoWorld

pytestmark = pytest.mark.long  # the first pays for the rendered street

STREET, OTHER_STREET = "6242709432081940", "2483688768743474"


@pytest.fixture(autouse=True)
def _as_in_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plenty on these photos, and a quarter of the default's work."""
    monkeypatch.setenv("GEOCORRECT__MATCH__SIFT__MAX_FEATURES", "4000")


def record(world: DemoWorld, photo: str) -> dict[str, Any]:
    return next(record for record in world.metadata if record["id"] == photo)


@pytest.fixture
def camera(small_world: DemoWorld, tmp_path: Path) -> Path:
    """The camera of the street photo as OpenSfM writes it."""
    facts = record(small_world, STREET)
    focal, k1, k2 = facts["camera_parameters"]
    path = tmp_path / "camera.json"
    path.write_text(json.dumps({"phone": {"projection_type": "perspective", "focal": focal, "k1": k1, "k2": k2}}))
    return path


def command(world: DemoWorld, photo: str, *more: str) -> list[str]:
    drive = world.drives[0]
    return [
        "localize", str(world.photos[photo]), "--anchors", str(drive), "--format", "vbr",
        "--ground-truth", str(drive / f"{drive.name}_gt.txt"), "--alignment", str(world.alignment), "--spacing-m", "0",
        *more,
    ]  # fmt: skip


def place(world: DemoWorld, photo: str) -> list[str]:
    lon_deg, lat_deg = record(world, photo)["geometry"]["coordinates"]
    return ["--position", f"{lon_deg},{lat_deg}"]


def error_m(world: DemoWorld, answer: dict[str, Any]) -> float:
    truth = world.truth.photos[answer["image_id"]]
    frame = world.truth.frame
    here = frame.enu_from_wgs84(answer["lon_deg"], answer["lat_deg"], answer["height_m"])
    return float(np.linalg.norm(here - truth.world_from_cam.translation_m))


@pytest.mark.parametrize("depth", ["lidar", "triangulated"])
def test_a_photo_is_put_where_it_was_taken(
    depth: str, small_world: DemoWorld, camera: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "found.png"
    more = [*place(small_world, STREET), "--camera", str(camera), "--depth", depth, "--picture", str(picture), "--json"]
    assert run(command(small_world, STREET, *more)) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == "accepted"
    assert answer["depth"] == depth
    assert answer["depth_is_oracle"] is (depth == "lidar")
    error = error_m(small_world, answer)
    assert error < 0.2
    assert 0 < answer["expected_error_m"] < 0.5
    assert answer["ellipse_95"]["semi_major_m"] >= answer["ellipse_95"]["semi_minor_m"] > 0
    assert answer["heading_deg"] == pytest.approx(small_world.truth.photos[STREET].heading_deg, abs=0.5)
    assert answer["displacement_m"] > 2
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_without_a_position_the_anchors_are_searched(
    small_world: DemoWorld, camera: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(small_world, STREET, "--camera", str(camera), "--json")) == 0
    answer = json.loads(capsys.readouterr().out)
    assert error_m(small_world, answer) < 0.2
    assert answer["displacement_m"] is None


def test_a_photo_from_elsewhere_is_rejected_without_a_pose(
    small_world: DemoWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(small_world, OTHER_STREET, *place(small_world, STREET), "--focal", "422", "--json")) == 7
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == "rejected"
    assert answer["reason"]
    assert "lon_deg" not in answer


def test_far_from_all_anchors_it_says_how_far(small_world: DemoWorld, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command(small_world, STREET, "--position", "12.6,41.9", "--focal", "422")) == 7
    said = capsys.readouterr().err
    assert "no_anchor_nearby" in said
    assert "the search radius is 50 m" in said


def test_the_catalog_knows_the_harvested_photo(capsys: pytest.CaptureFixture[str]) -> None:
    out = cached_demo()
    (photo,) = (out / "images").rglob(f"{STREET}*.jpg")
    capsys.readouterr()
    assert run(["-c", str(out / "geocorrect.toml"), "localize", str(photo)]) == 0
    said = capsys.readouterr().err
    for fragment in ("latitude, longitude", "expected error", "accepted", "depth: lidar (measured: an oracle)"):
        assert fragment in said
