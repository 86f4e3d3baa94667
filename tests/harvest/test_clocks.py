"""Clocks of cameras, receivers, description files and services are believed within bounds only."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL.TiffImagePlugin import IFDRational
from support.harvest_support import street_image
from support.photos import GPS, photo

from geocorrect.catalog import Catalog
from geocorrect.harvest.local.exif import read_photo
from geocorrect.harvest.local.folder import import_description, import_folder
from geocorrect.harvest.mapillary.metadata import read_image_record

CASES = Path(__file__).parent / "cases"
NOON = {0x9003: "2022:05:01 12:00:00"}


def at(date: str, time: tuple[Any, ...] = (10.0, 0.0, 0.0)) -> dict[int, Any]:
    return {**GPS, 29: date, 7: time}


@pytest.mark.parametrize(
    ("gps", "detail", "expected"),
    [
        # GPS dates that nobody believes: a typo, no fix, week roll-overs, the end of the calendar
        (at("0111:10:04"), NOON, None),
        (at("1970:01:01"), NOON, None),
        (at("1980:01:06"), {}, None),
        (at("2002:09:15"), NOON, None),
        (at("9999:12:31", (23.0, 59.0, 59.0)), {}, None),
        (at("2080:01:01"), {}, None),
        # a time of day that is none
        (at("2022:05:01", (4294967295.0, 0.0, 0.0)), NOON, None),
        (at("2022:05:01", (10.0, 60.0, 0.0)), NOON, None),
        (at("2022:05:01", (IFDRational(1, 0), 0.0, 0.0)), NOON, None),
        # the camera's clock with its offset goes before; a day apart is agreement, because its zone is unknown
        (at("0111:10:04"), {**NOON, 0x9011: "+02:00"}, datetime(2022, 5, 1, 10, tzinfo=UTC)),
        (at("2022:05:01"), NOON, datetime(2022, 5, 1, 10, tzinfo=UTC)),
        (at("2022:04:30", (22.0, 0.0, 0.0)), NOON, datetime(2022, 4, 30, 22, tzinfo=UTC)),
        (at("2022:05:03"), NOON, None),
        # a camera clock that nobody believes does not contradict
        (at("2022:05:01"), {0x9003: "1980:01:01 00:00:00"}, datetime(2022, 5, 1, 10, tzinfo=UTC)),
        ({**GPS}, {0x9003: "9999:12:31 23:59:59", 0x9011: "-05:00"}, None),
        ({**GPS}, {0x9003: "0001:01:01 00:00:00", 0x9011: "+14:00"}, None),
    ],
)
def test_exif_clocks(tmp_path: Path, gps: dict[int, Any], detail: dict[int, Any], expected: datetime | None) -> None:
    image = read_photo(photo(tmp_path / "a.jpg", gps, detail), "a")
    assert image.captured_at == expected
    assert image.problem is None
    assert image.device_make == "Maker", "nothing else is lost"


@pytest.mark.parametrize(
    ("text", "fraction_us"),
    [(" 57", 57_000), ("  7", 7_000), ("57", 570_000), ("57 ", 570_000), ("057", 57_000), ("x", 0), ("", 0)],
)
def test_sub_seconds_are_padded_with_zeros(tmp_path: Path, text: str, fraction_us: int) -> None:
    image = read_photo(photo(tmp_path / "a.jpg", detail={**NOON, 0x9011: "+00:00", 0x9291: text}), "a")
    assert image.captured_at == datetime(2022, 5, 1, 12, 0, 0, fraction_us, UTC)


@pytest.mark.parametrize("value", [3.5e12, 4e15, -1, 0, 1e9, "x"])
def test_times_of_the_service(value: object) -> None:
    now = datetime.now(UTC)
    image = read_image_record(street_image(0, captured_at=value), now)
    assert image.captured_at is None
    assert image.provider["notes"] == [f"captured_at {value} is not believed"]
    assert read_image_record(street_image(0), now).captured_at is not None


@pytest.mark.parametrize(
    "said", ["0111_10_04_10_00_00_000", "1970_01_01_00_00_00_000", "2080_01_01_00_00_00_000", "9999_12_31_23_59_59_999"]
)
def test_times_of_a_description_file(tmp_path: Path, said: str) -> None:
    """The photo's own clock counts then."""
    photo(tmp_path / "a.jpg", at("2022:05:01"))
    entry = {"filename": "a.jpg", "MAPLatitude": 41.9, "MAPLongitude": 12.5, "MAPCaptureTime": said}
    (tmp_path / "d.json").write_text(json.dumps([entry]))
    image = import_description(tmp_path / "d.json").images[0]
    assert image.captured_at == datetime(2022, 5, 1, 10, tzinfo=UTC)
    assert "MAPCaptureTime" in image.provider["notes"][0]


@pytest.mark.parametrize("name", ["a_gps_1970", "b_gps_rollover_2003", "c_gps_year_0111"])
def test_the_three_cases_are_unknown_and_noted(name: str, tmp_path: Path) -> None:
    image = next(image for image in import_folder(CASES).images if image.id == f"{name}.jpg")
    assert image.captured_at is None
    assert "GPS date" in image.provider["notes"][0]
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        catalog.upsert_images([image])
        assert catalog.images()[image.id].captured_at is None
