"""`geocorrect import` on what people's folders hold: one readable report, nothing lost, nothing wrong stored."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from support.photos import gpano, photo

from geocorrect.__main__ import run
from geocorrect.catalog import Catalog
from geocorrect.catalog.check import faults_of
from geocorrect.errors import Reason
from geocorrect.geometry.camera import Camera
from geocorrect.records import Image

CASES = Path(__file__).parents[1] / "harvest" / "cases"


def stored(path: Path) -> dict[str, Image]:
    with Catalog.open(str(path)) as catalog:
        assert faults_of(catalog.engine) == []
        return catalog.images()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Every kind of file at once."""
    shutil.copytree(CASES, tmp_path / "photos" / "clock")
    photos = tmp_path / "photos"
    photo(photos / "good.jpg")
    photo(photos / "portrait.jpg", main={0x0112: 6})
    photo(photos / "whole.jpg", size=(128, 64), xmp=gpano(ProjectionType="equirectangular").replace(b'"', b"'"))
    part = gpano(ProjectionType="equirectangular", FullPanoWidthPixels=256, CroppedAreaImageWidthPixels=128)
    photo(photos / "part.jpg", size=(128, 64), xmp=part)
    motion = photo(photos / "motion.jpg")
    motion.write_bytes(motion.read_bytes() + b"ftypmp42" + bytes(3000))
    (photos / "cut.jpg").write_bytes(motion.read_bytes()[:900])
    photo(photos / "phone.heic")
    photo(photos / "._good.jpg")
    PillowImage.fromarray(np.zeros((4, 4), np.int32)).save(photos / "dem.tif")
    (photos / "raw.dng").write_bytes(b"II*\0")
    (photos / "table.csv").write_text("a,b\n")
    return photos


def test_one_readable_report(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["import", str(folder), "--catalog", str(tmp_path / "c.gpkg")]) == 0
    said = capfd.readouterr().err
    for line in (
        "11 photos; problems: 1 camera_unsupported, 1 image_unreadable",
        "cut.jpg: truncated JPEG",
        "camera_unsupported: part.jpg",
        "5 notes",
        "GPS date 2003-11-09 contradicts the camera's 2023-06-25; capture time unknown",
        "part.jpg: declares a panorama that is neither a whole sphere nor a part with its place; camera unknown",
        "3 skipped",
        "1 × .dng is not read; convert it to JPEG",
    ):
        assert " ".join(line.split()) in " ".join(said.split())
    images = stored(tmp_path / "c.gpkg")
    assert len(images) == 11
    assert {image.id for image in images.values() if image.problem is not None} == {"cut.jpg", "part.jpg"}
    assert images["part.jpg"].problem is Reason.CAMERA_UNSUPPORTED
    assert str(images["whole.jpg"].camera and images["whole.jpg"].camera.projection) == "spherical"
    assert all(images[f"clock/{path.name}"].captured_at is None for path in CASES.glob("?_gps*"))
    assert math.isnan(images["clock/07_magnetic.jpg"].heading_deg)


def test_the_report_as_json_has_everything(folder: Path, tmp_path: Path, capfdbinary) -> None:  # type: ignore[no-untyped-def]
    assert run(["import", str(folder), "--dry-run", "--json", "--catalog", str(tmp_path / "c.gpkg")]) == 0
    answer = json.loads(capfdbinary.readouterr().out)
    assert answer["n_images"] == 11
    assert answer["problems"] == {"camera_unsupported": 1, "image_unreadable": 1}
    assert (len(answer["notes"]), len(answer["skipped"])) == (5, 3)
    assert not (tmp_path / "c.gpkg").exists()


@pytest.mark.data
def test_all_cases(shared_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Seven photos and a height raster; the rest are tables."""
    assert run(["import", str(shared_data / "cases"), "--catalog", str(tmp_path / "c.gpkg")]) == 0
    said = " ".join(capfd.readouterr().err.split())
    assert "7 photos; problems: none 4 notes" in said
    assert "1 skipped (all with --json) 1 × a raster of other than 8-bit colours, no photo: " in said
    images = stored(tmp_path / "c.gpkg")
    assert [image.problem for image in images.values() if image.problem is not None] == []
    part = images["panorama/g_partial_180.jpg"].camera
    assert part == Camera.spherical(2048, 1024).cropped(512, 300, 1024, 400)
    assert {image.id for image in images.values() if image.captured_at is not None} == set()
    sphere = images["panorama/c_single_quotes.jpg"].camera
    assert sphere is not None
    assert str(sphere.projection) == "spherical"
    assert math.isnan(images["heading/07_magnetic.jpg"].heading_deg)
