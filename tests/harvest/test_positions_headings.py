"""Positions and headings from every place where software keeps them, each against the reference that it names."""

from __future__ import annotations

import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.photos import GPS, photo

from geocorrect.errors import Reason
from geocorrect.harvest.local.exif import read_photo
from geocorrect.harvest.local.folder import import_description, import_folder, import_opensfm
from geocorrect.harvest.local.heading import declination
from geocorrect.records import Position

DAY = {0x9003: "2022:07:01 12:00:00"}
ROME_2022_DEG = 3.73
"""Declination by NOAA's calculator (WMM 2020): 41.9 N, 12.5 E, July 2022."""


@pytest.mark.parametrize(
    ("place", "year", "expected_deg"),
    [
        # NOAA's test values of the models, height 0: WMM 2015v2, 2020 and 2025
        ((80.0, 0.0), 2015.0, -3.90),
        ((0.0, 120.0), 2015.0, 0.55),
        ((0.0, 120.0), 2020.0, 0.16),
        ((80.0, 0.0), 2020.0, -1.28),
        ((-80.0, 240.0), 2020.0, 69.36),
        ((80.0, 0.0), 2025.0, 1.28),
        ((0.0, 120.0), 2025.0, -0.16),
    ],
)
def test_declination_is_that_of_the_model(place: tuple[float, float], year: float, expected_deg: float) -> None:
    found = declination(Position((place[1] + 180) % 360 - 180, place[0]), datetime(int(year), 1, 1))  # noqa: DTZ001
    assert found is not None
    assert found.degrees == pytest.approx(expected_deg, abs=0.02)
    assert 0.2 < found.sigma_deg < 2


@pytest.mark.parametrize(("lat", "year"), [(41.9, 2005), (41.9, 2031), (86.5, 2022), (-64.1, 2022)])
def test_no_declination_outside_the_models_or_at_the_poles(lat: float, year: int) -> None:
    lon = 136.0 if lat < 0 else 164.0 if lat > 80 else 12.5
    assert declination(Position(lon, lat), datetime(year, 7, 1)) is None  # noqa: DTZ001


@pytest.mark.parametrize(
    ("gps", "detail", "expected_deg"),
    [
        ({**GPS, 16: "M"}, DAY, 90 + ROME_2022_DEG),
        ({**GPS, 16: "M\0", 17: 359.0}, DAY, 359 + ROME_2022_DEG - 360),
        ({**GPS, 16: "M"}, {}, math.nan),
        ({16: "M", 17: 90.0}, DAY, math.nan),
        ({**GPS, 16: "M"}, {0x9003: "2001:07:01 12:00:00"}, math.nan),
        ({**GPS, 16: "T"}, DAY, 90.0),
        ({**GPS, 16: "M", 29: "2022:07:01", 7: (10.0, 0.0, 0.0)}, {}, 90 + ROME_2022_DEG),
    ],
)
def test_a_magnetic_heading_is_converted_or_unknown(
    tmp_path: Path, gps: dict[int, Any], detail: dict[int, Any], expected_deg: float
) -> None:
    image = read_photo(photo(tmp_path / "a.jpg", gps, detail), "a")
    assert image.heading_deg == pytest.approx(expected_deg, abs=0.1, nan_ok=True)
    if math.isnan(expected_deg):
        assert "magnetic heading" in image.provider["notes"][-1]
    elif gps[16] != "T":
        assert image.provider["magnetic_heading_deg"] == gps[17]
        assert 0.2 < image.provider["declination_sigma_deg"] < 1


def test_the_case_without_a_date_is_unknown() -> None:
    cases = {image.id: image for image in import_folder(Path(__file__).parent / "cases").images}
    assert math.isnan(cases["07_magnetic.jpg"].heading_deg)


@pytest.mark.parametrize(
    ("reference", "height_m"),
    [(0, 50), (1, -50), (2, 50), (3, -50), (b"\x00", 50), (b"\x01", -50), (b"\x03", -50)],
)
def test_heights_below_their_reference_are_negative(tmp_path: Path, reference: object, height_m: float) -> None:
    position = read_photo(photo(tmp_path / "a.jpg", {**GPS, 5: reference}), "a").reported
    assert position is not None
    assert position.height_m == height_m


DESCRIPTION = {
    "MAPLatitude": 41.95,
    "MAPLongitude": 12.55,
    "MAPAltitude": 33.0,
    "MAPCaptureTime": "2022_07_01_10_00_00_500",
    "MAPCompassHeading": {"TrueHeading": 45.0, "MagneticHeading": 45.0},
    "MAPSequenceUUID": "0",
}


def test_a_position_inside_the_image_description(tmp_path: Path) -> None:
    only = read_photo(photo(tmp_path / "a.jpg", {}, main={0x010E: json.dumps(DESCRIPTION)}), "a")
    assert only.reported == Position(12.55, 41.95, 33.0, "unknown")
    assert (only.heading_deg, only.problem) == (45.0, None)
    assert only.captured_at is not None
    both = read_photo(photo(tmp_path / "b.jpg", main={0x010E: json.dumps(DESCRIPTION)}), "b")
    assert both.reported is not None
    assert both.reported.lon_deg == pytest.approx(12.501), "EXIF has one of its own"
    ids = {image.sequence_id for image in import_folder(tmp_path).images}
    assert len(ids) == 1
    assert None not in ids


@pytest.mark.parametrize(
    "text", ["a sunny day", "{", "[]", '{"MAPLatitude": "x"}', '{"MAPLatitude": 1e999}', "[" * 5000]
)
def test_other_image_descriptions_say_nothing(tmp_path: Path, text: str) -> None:
    image = read_photo(photo(tmp_path / "a.jpg", {}, main={0x010E: text}), "a")
    assert (image.reported, image.problem) == (None, Reason.POSITION_MISSING)


@pytest.mark.parametrize(
    ("entry", "lon_deg", "heading_deg"),
    [
        ({"MAPLatitude": 41.95, "MAPLongitude": 12.55}, 12.55, 90.0),
        ({"MAPCompassHeading": {"TrueHeading": 45.0}}, 12.501, 45.0),
        ({}, 12.501, 90.0),
        ({"MAPLatitude": None, "MAPLongitude": 200, "MAPCompassHeading": {"TrueHeading": -1}}, 12.501, 90.0),
    ],
)
def test_what_a_description_does_not_say_stays(
    tmp_path: Path, entry: dict[str, Any], lon_deg: float, heading_deg: float
) -> None:
    photo(tmp_path / "a.jpg")
    (tmp_path / "d.json").write_text(json.dumps([{"filename": "a.jpg", **entry}]))
    image = import_description(tmp_path / "d.json").images[0]
    assert image.reported is not None
    assert image.reported.lon_deg == pytest.approx(lon_deg)
    assert image.heading_deg == heading_deg
    assert image.provider.get("heading_reference") == ("true" if heading_deg == 90 else None)


def test_positions_that_only_an_opensfm_project_keeps(tmp_path: Path) -> None:
    for index in range(4):
        photo(tmp_path / "images" / f"{index}.jpg", {} if index else GPS)
    (tmp_path / "exif").mkdir()
    gps = {"latitude": 41.91, "longitude": 12.51, "altitude": 7.0, "dop": 5.0}
    (tmp_path / "exif" / "1.jpg.exif").write_text(json.dumps({"gps": gps}))
    (tmp_path / "exif" / "3.jpg.exif").write_text(json.dumps({"gps": {}}))
    shots = {
        f"{index}.jpg": {"rotation": [1.5, 0, 0], "translation": [0, 0, 0], "camera": "c", "gps_position": [100, 0, 2]}
        for index in (0, 1, 2)
    }
    reference = {"latitude": 41.9, "longitude": 12.5, "altitude": 0.0}
    camera = {"c": {"projection_type": "perspective", "width": 64, "height": 48, "focal": 0.8, "k1": 0, "k2": 0}}
    content = [{"cameras": camera, "shots": shots, "reference_lla": reference}]
    (tmp_path / "reconstruction.json").write_text(json.dumps(content))
    images = import_opensfm(tmp_path).images
    lons = [None if image.reported is None else round(image.reported.lon_deg, 4) for image in images]
    assert lons == [12.501, 12.51, 12.5012, None]
    assert [image.problem for image in images] == [None, None, None, Reason.POSITION_MISSING]
