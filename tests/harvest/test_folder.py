"""Photos without Mapillary: EXIF folders, OpenSfM projects, mapillary_tools description files."""

from __future__ import annotations

import io
import json
import math
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PillowImage
from support.harvest_support import jpeg

from geocorrect.errors import InputError, Reason
from geocorrect.geometry.frame import Frame
from geocorrect.harvest.local.exif import EXIF_FOCAL_SIGMA, read_photo
from geocorrect.harvest.local.folder import import_description, import_folder, import_opensfm
from geocorrect.harvest.mapillary.metadata import ASSUMED_FOCAL_SIGMA
from geocorrect.io.pixels import read_image
from geocorrect.records import MetadataQuality

GPS = {1: "N", 2: (41.0, 54.0, 0.0), 3: "E", 4: (12.0, 30.0, 3.6), 6: 50.0, 17: 90.0, 16: "T"}


def photo(
    path: Path, gps: dict[int, Any] | None = None, detail: dict[int, Any] | None = None, size: Any = (64, 48)
) -> Path:
    exif = PillowImage.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8825).update(GPS if gps is None else gps)
    exif.get_ifd(0x8769).update(detail or {})
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.open(io.BytesIO(jpeg(*size))).save(path, "JPEG", exif=exif)
    return path


def test_folder_with_exif(tmp_path: Path) -> None:
    photo(tmp_path / "b" / "two.JPG", detail={0xA405: 27})
    photo(tmp_path / "one.jpg")
    (tmp_path / "notes.txt").write_text("no photo")
    images = {image.id: image for image in import_folder(tmp_path).images}
    assert set(images) == {"b/two.JPG", "one.jpg"}
    one, two = images["one.jpg"], images["b/two.JPG"]
    assert one.reported is not None
    assert (one.reported.lon_deg, one.reported.lat_deg) == (pytest.approx(12.501), pytest.approx(41.9))
    assert (one.reported.height_m, one.heading_deg, one.device_make, one.problem) == (50.0, 90.0, "Maker", None)
    assert one.camera is not None
    assert two.camera is not None
    assert (one.camera.focal_sigma, two.camera.focal_sigma) == (ASSUMED_FOCAL_SIGMA, EXIF_FOCAL_SIGMA)
    assert two.camera.focal_x_px == pytest.approx(64 * 27 / 36)
    assert one.quality is MetadataQuality.RAW_ONLY
    assert one.path is not None
    assert read_image(one.path, one.exif_orientation).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("gps", "lon_lat_height"),
    [
        ({**GPS, 1: "S", 3: "W", 5: b"\x01"}, (-12.501, -41.9, -50.0)),
        ({**GPS, 1: None}, None),
        ({}, None),
        ({**GPS, 2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)}, None),
        ({**GPS, 2: (141.0, 0.0, 0.0)}, None),
    ],
)
def test_positions(tmp_path: Path, gps: dict[int, Any], lon_lat_height: tuple[float, ...] | None) -> None:
    clean = {key: value for key, value in gps.items() if value is not None}
    position = read_photo(photo(tmp_path / "a.jpg", clean), "a").reported
    if lon_lat_height is None:
        assert position is None
        assert import_folder(tmp_path).images[0].problem is Reason.POSITION_MISSING
    else:
        assert position is not None
        assert (position.lon_deg, position.lat_deg, position.height_m) == pytest.approx(lon_lat_height)


@pytest.mark.parametrize(
    ("detail", "gps", "expected"),
    [
        (
            {0x9003: "2024:05:01 12:00:00", 0x9011: "+05:30", 0x9291: "25"},
            {},
            datetime(2024, 5, 1, 6, 30, 0, 250000, UTC),
        ),
        ({0x9003: "2024:05:01 12:00:00", 0x9011: "-03:30"}, {}, datetime(2024, 5, 1, 15, 30, tzinfo=UTC)),
        ({0x9003: "2024:05:01 12:00:00"}, {}, None),
        (
            {0x9003: "2024:05:01 12:00:00"},
            {7: (10.0, 1.0, 2.5), 29: "2024:05:01"},
            datetime(2024, 5, 1, 10, 1, 2, 500000, UTC),
        ),
        ({0x9003: "0000:00:00 00:00:00", 0x9011: "+01:00"}, {}, None),
        ({0x9003: "2024:05:01 12:00:00", 0x9011: "+99:99"}, {}, None),
    ],
)
def test_times(tmp_path: Path, detail: dict[int, Any], gps: dict[int, Any], expected: datetime | None) -> None:
    assert read_photo(photo(tmp_path / "a.jpg", {**GPS, **gps}, detail), "a").captured_at == expected


def test_unreadable_and_missing_photos_are_images_with_a_problem(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8nothing")
    (tmp_path / "empty.png").write_bytes(b"")
    assert {image.problem for image in import_folder(tmp_path).images} == {Reason.IMAGE_UNREADABLE}


def test_senseless_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        import_folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no photos"):
        import_folder(tmp_path)


def test_panorama_by_its_xmp(tmp_path: Path) -> None:
    path = photo(tmp_path / "pano.jpg", size=(128, 64))
    data = path.read_bytes()
    xmp = b'http://ns.adobe.com/xap/1.0/\x00<x GPano:ProjectionType="equirectangular"/>'
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp + data[2:])
    camera = import_folder(tmp_path).images[0].camera
    assert camera is not None
    assert str(camera.projection) == "spherical"


@pytest.mark.data
def test_recorded_photos(shared_data: Path) -> None:
    images = {image.id: image for image in import_folder(shared_data / "opensfm_berlin" / "images").images}
    first = images["01.jpg"]
    assert first.reported is not None
    assert first.reported.lat_deg == pytest.approx(52 + 31 / 60 + 8.1 / 3600)
    assert first.camera is not None
    assert first.camera.focal_x_px == pytest.approx(3264 * 35 / 36)
    assert first.problem is None


@pytest.mark.data
def test_opensfm_project(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "opensfm_berlin"
    (tmp_path / "images").symlink_to(source / "images")
    shutil.copyfile(source / "reconstruction_example.json", tmp_path / "reconstruction.json")
    imported = import_opensfm(tmp_path)
    assert not imported.skipped
    for image in imported.images:
        assert image.quality is MetadataQuality.SFM
        assert image.computed is not None
        assert image.reported is not None
        assert image.computed_enu_from_cam is not None
        here = Frame("here", image.reported.lon_deg, image.reported.lat_deg)
        offset = here.enu_from_wgs84(image.computed.lon_deg, image.computed.lat_deg, 0.0)
        assert math.hypot(*offset[:2]) < 15, "reconstruction and GPS agree to GPS accuracy"
        assert image.camera is not None
        assert image.camera.focal_x_px == pytest.approx(0.8696658484855359 * 3264)


def test_opensfm_project_without_reconstruction(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg")
    with pytest.raises(InputError, match=r"reconstruction\.json"):
        import_opensfm(tmp_path)
    (tmp_path / "reconstruction.json").write_text(json.dumps([{"shots": {"gone.jpg": {"rotation": [0, 0, 1]}}}]))
    imported = import_opensfm(tmp_path)
    assert imported.images[0].quality is MetadataQuality.RAW_ONLY
    assert "gone.jpg" in imported.skipped[0][0]


def test_description_file(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    entries = [
        {
            "filename": str(tmp_path / "a.jpg"),
            "filetype": "image",
            "MAPLatitude": 41.95,
            "MAPLongitude": 12.55,
            "MAPAltitude": 12.5,
            "MAPCaptureTime": "2024_05_01_12_00_00_384",
            "MAPCompassHeading": {"TrueHeading": 33.5, "MagneticHeading": 30.0},
            "MAPSequenceUUID": "s1",
        },
        {"filename": "b.jpg", "error": {"type": "MapillaryGPSNoiseError", "message": "GPS is too noisy"}},
        {"filename": "c.mp4", "filetype": "gopro"},
        {"filename": "lost.jpg", "filetype": "image", "MAPLatitude": 1, "MAPLongitude": 1, "MAPCaptureTime": "x"},
        7,
    ]
    path = tmp_path / "mapillary_image_description.json"
    path.write_text(json.dumps(entries))
    imported = import_description(path)
    image, lost = imported.images
    assert image.reported is not None
    assert (image.reported.lon_deg, image.reported.height_m, image.heading_deg) == (12.55, 12.5, 33.5)
    assert image.captured_at == datetime(2024, 5, 1, 12, 0, 0, 384000, UTC)
    assert image.problem is None
    assert str(image.sequence_id).startswith("s1-")
    assert lost.problem is Reason.IMAGE_MISSING
    assert len(imported.skipped) == 3
    assert "too noisy" in imported.skipped[0][1]


@pytest.mark.parametrize("content", ["{", "{}", "7"])
def test_broken_description_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "d.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"d\.json"):
        import_description(path)
