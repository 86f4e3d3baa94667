"""Metadata: real answers, and everything malformed that a field can hold (rows 10, 16, 17)."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.harvest_support import street_image

from geocorrect.errors import Reason
from geocorrect.geometry.frame import Frame, angle_difference_deg
from geocorrect.harvest.mapillary.fields import altitude_m, compass_deg, zeros_in_a_row
from geocorrect.harvest.mapillary.metadata import (
    ASSUMED_FOCAL_SIGMA,
    DEFAULT_FOCAL_SIGMA,
    FIELDS,
    SFM_FOCAL_SIGMA,
    read_image_record,
    sideways_deg,
    with_camera,
    without_false_norths,
)
from geocorrect.records import Image, MetadataQuality

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def read(record: dict[str, Any], size: tuple[int, int] | None = (640, 480)) -> Image:
    return with_camera(read_image_record(record, NOW), size)


# --- real answers ---


@pytest.mark.data
def test_recorded_answers_parse_and_are_classified(shared_data: Path) -> None:
    folder = shared_data / "mapillary" / "api" / "graph"
    images = {path.stem: read(json.loads(path.read_text()), (2048, 1536)) for path in folder.glob("[0-9]*.json")}
    assert len(images) == 4
    expected = {
        "135511895288847": ("sfm", SFM_FOCAL_SIGMA),
        "148137757289079": ("sfm", SFM_FOCAL_SIGMA),
        "308609047601518": ("sfm", SFM_FOCAL_SIGMA),
        "464249047982277": ("default", DEFAULT_FOCAL_SIGMA),
    }
    for image_id, image in images.items():
        assert image.camera is not None
        assert (str(image.quality), image.camera.focal_sigma) == expected[image_id]
        assert image.problem is None
        assert sideways_deg(image) < 5 or image.quality is MetadataQuality.DEFAULT
        assert "filler_url" not in repr(image)
    camera = images["135511895288847"].camera
    assert camera is not None
    assert camera.focal_x_px == pytest.approx(0.85136388143343 * 2048)
    assert (camera.principal_x_px, camera.principal_y_px) == (1023.5, 767.5)
    assert images["135511895288847"].captured_at == datetime(2019, 7, 21, 14, 57, 52, 184000, UTC)


@pytest.mark.data
def test_computed_heading_is_the_azimuth_of_the_optical_axis(shared_data: Path) -> None:
    for path in (shared_data / "mapillary" / "api" / "graph").glob("[0-9]*.json"):
        image = read(json.loads(path.read_text()))
        assert image.computed is not None
        assert image.computed_enu_from_cam is not None
        here = Frame("here", image.computed.lon_deg, image.computed.lat_deg)
        heading = here.heading_deg(image.computed_enu_from_cam)
        assert abs(angle_difference_deg(heading, image.computed_heading_deg)) < 1e-4


def rome(shared_data: Path) -> list[Image]:
    """The recorded images of the campus sequence; the file has no height, type or size: those of the device."""
    with (shared_data / "mapillary" / "rome_campus_sequence.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    records = [
        {
            "id": row["id"],
            "sequence": row["sequence"],
            "captured_at": int(row["captured_at"]),
            "geometry": {"coordinates": [float(row["long"]), float(row["lat"])]},
            "computed_geometry": {"coordinates": [float(row["sfm_long"]), float(row["sfm_lat"])]},
            "compass_angle": float(row["compass"]),
            "computed_rotation": [float(row[name]) for name in ("rx", "ry", "rz")],
            "camera_parameters": [float(row[name]) for name in ("f", "k1", "k2")],
            "camera_type": "perspective",
        }
        for row in rows
    ]
    return [read(record, None) for record in records]


@pytest.mark.data
def test_rome_rotations_give_headings_by_the_optical_axis_rule(shared_data: Path) -> None:
    images = rome(shared_data)
    assert len(images) == 18
    headings = []
    for image in images:
        assert image.quality is MetadataQuality.SFM
        assert image.computed_enu_from_cam is not None
        assert image.computed is not None
        # Independent of Frame: third row of the world-to-camera rotation, east and north components.
        optical_axis = image.computed_enu_from_cam.rotation.inv().as_matrix()[2]
        rule = np.degrees(np.arctan2(optical_axis[0], optical_axis[1])) % 360
        here = Frame("here", image.computed.lon_deg, image.computed.lat_deg)
        headings.append(here.heading_deg(image.computed_enu_from_cam))
        assert abs(angle_difference_deg(headings[-1], rule)) < 0.01
        assert sideways_deg(image) < 20
    against_compass = angle_difference_deg(headings, [image.heading_deg for image in images])
    # The phone's compass is off by a nearly constant angle; the sequence drives along one road.
    assert np.abs(against_compass).max() < 45
    assert against_compass.std() < 10


@pytest.mark.data
def test_rome_offsets_from_gps_to_sfm(shared_data: Path) -> None:
    offsets = []
    for image in rome(shared_data):
        assert image.reported is not None
        assert image.computed is not None
        here = Frame("here", image.reported.lon_deg, image.reported.lat_deg)
        offsets.append(np.linalg.norm(here.enu_from_wgs84(image.computed.lon_deg, image.computed.lat_deg, 0.0)[:2]))
    assert 0.5 < np.median(offsets) < 10
    assert max(offsets) < 25


# --- row 10: malformed fields ---


@pytest.mark.parametrize("geometry", [None, ..., {}, {"coordinates": None}, {"coordinates": [1]}, "POINT (1 2)", 7, []])
def test_missing_or_malformed_geometry(geometry: Any) -> None:
    image = read(street_image(0, geometry=geometry))
    assert image.reported is None
    assert image.problem is Reason.POSITION_MISSING


@pytest.mark.parametrize("coordinates", [[0, 0], [1e-5, -1e-5], [200, 10], [10, 95], [float("nan"), 1], ["12", "41"]])
def test_positions_that_are_none(coordinates: list[Any]) -> None:
    assert read(street_image(0, geometry={"type": "Point", "coordinates": coordinates})).reported is None


@pytest.mark.parametrize(
    "parameters", [[1, 2], [0.8] * 4, ["0.8", 0, 0], [float("nan"), 0, 0], [-0.8, 0, 0], "0.8", {}, 3]
)
def test_camera_parameters_that_make_no_camera(parameters: Any) -> None:
    image = read(street_image(0, camera_parameters=parameters))
    assert image.camera is None
    assert image.problem is Reason.CAMERA_UNSUPPORTED


@pytest.mark.parametrize("parameters", [[], [0, 0, 0], ...])
def test_absent_parameters_give_an_assumed_camera_that_says_so(parameters: Any) -> None:
    image = read(street_image(0, camera_parameters=parameters, computed_rotation=...))
    assert image.camera is not None
    assert image.camera.focal_sigma == ASSUMED_FOCAL_SIGMA
    assert image.provider["camera_origin"] == "assumed"


def test_default_parameters_are_labelled() -> None:
    image = read(street_image(0, camera_parameters=[0.85, 0, 0]))
    assert image.camera is not None
    assert (image.camera.focal_sigma, image.provider["camera_origin"]) == (DEFAULT_FOCAL_SIGMA, "default")


@pytest.mark.parametrize(
    ("changes", "quality"),
    [
        ({"computed_geometry": ...}, "raw_only"),
        ({"computed_rotation": ...}, "raw_only"),
        ({"computed_rotation": [1, 2]}, "raw_only"),
        ({}, "sfm"),
        ({"computed_rotation": [np.pi / 2, 0, 0], "camera_parameters": [0.85, 0, 0]}, "default"),
        ({"computed_rotation": [np.pi / 2, 0, 0], "camera_parameters": [0, 0, 0]}, "default"),
        ({"computed_rotation": [np.pi / 2, 0, 0]}, "default"),
        ({"computed_rotation": [1.5680816608427, -0.12745545191882, 0.075540302347128], "camera_type": "spherical",
          "camera_parameters": ...}, "sfm"),
        ({"computed_rotation": [np.pi / 2, 0, 0], "camera_type": "spherical", "camera_parameters": ...}, "default"),
    ],
)  # fmt: skip
def test_quality_classes(changes: dict[str, Any], quality: str) -> None:
    assert str(read(street_image(0, **changes), (640, 320)).quality) == quality


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (4294967281, -15.0),
        (4.294967281e9, -15.0),
        (48.7, 48.7),
        (1e9, np.nan),
        ("30", np.nan),
        (None, np.nan),
        (True, np.nan),
    ],
)
def test_altitude(value: Any, expected: float) -> None:
    assert altitude_m(value) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-1, np.nan), (370, 10.0), (360, 0.0), (0.0, 0.0), (359.9, 359.9), ("12", np.nan), (None, np.nan), (1e9, np.nan)],
)
def test_compass(value: Any, expected: float) -> None:
    assert compass_deg(value) == pytest.approx(expected, nan_ok=True)


def test_zero_runs() -> None:
    assert zeros_in_a_row([0.0, 0.0, 1.0, 0.0, 0.0, 0.0]) == [False, False, False, True, True, True]
    assert zeros_in_a_row([]) == []
    assert zeros_in_a_row([0.0] * 3 + [float("nan")]) == [True] * 3 + [False]
    images = without_false_norths([read(street_image(index, compass_angle=0)) for index in range(3)])
    assert np.isnan([image.heading_deg for image in images]).all()


@pytest.mark.parametrize("captured_at", [None, "yesterday", -5, 1e20, float("nan"), 0])
def test_capture_time_that_is_none(captured_at: Any) -> None:
    assert read(street_image(0, captured_at=captured_at)).captured_at is None


def test_control_characters_and_missing_creator() -> None:
    image = read(street_image(0, make="Go\x00Pro\n", creator=...))
    assert image.device_make == "GoPro"
    assert image.attribution.creator == "deleted user"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["coordinates", "username", "id"]), inner)
    ),
    max_leaves=6,
)


@pytest.mark.long
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES), st.integers(1, 4000), st.integers(1, 4000))
def test_no_content_whatever_raises(changes: dict[str, Any], width: int, height: int) -> None:
    image = read({**street_image(0), **changes, "id": "123"}, (width, height))
    assert image.id == "123"
    assert image.camera is None or (image.camera.width, image.camera.height) in {(width, height), (height, width)}
    assert (image.camera is None) <= (image.problem is not None)


# --- row 16: gravity ---


@pytest.mark.parametrize(("orientation", "turn_deg"), [(1, 0.0), (3, 180.0), (6, -90.0), (8, 90.0)])
def test_gravity_confirms_the_orientation(orientation: int, turn_deg: float) -> None:
    """A level camera whose sensor was held turned: the up vector must come out on top of the upright picture."""
    from scipy.spatial.transform import Rotation

    level = Rotation.from_rotvec([np.pi / 2 + 0.05, 0, 0])
    held = Rotation.from_euler("z", turn_deg, degrees=True) * level
    image = read(street_image(0, computed_rotation=list(held.as_rotvec()), exif_orientation=orientation))
    assert sideways_deg(image) == pytest.approx(0.0, abs=1e-6)
    assert image.problem is None
    wrong = {1: 6, 3: 1, 6: 8, 8: 1}[orientation]
    contradicted = read(street_image(0, computed_rotation=list(held.as_rotvec()), exif_orientation=wrong))
    assert contradicted.problem is Reason.ORIENTATION_AMBIGUOUS


# --- row 17: camera types ---


@pytest.mark.parametrize("kind", ["telepathic", "", "fisheye_rotated", "tele\u202epathic"])
def test_unknown_camera_type_is_kept_and_marked(kind: str) -> None:
    image = read(street_image(0, camera_type=kind))
    assert (image.problem is Reason.CAMERA_UNSUPPORTED) == (kind != "")


def test_panorama_called_perspective_is_marked() -> None:
    assert read(street_image(0, is_pano=True)).problem is Reason.CAMERA_UNSUPPORTED


@pytest.mark.parametrize("kind", ["spherical", "equirectangular", "SPHERICAL"])
def test_panoramas(kind: str) -> None:
    image = read(
        street_image(0, camera_type=kind, camera_parameters=..., is_pano=True, width=640, height=320), (640, 320)
    )
    assert image.problem is None
    assert image.camera is not None
    assert str(image.camera.projection) == "spherical"


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("fisheye", [0.4686, -0.0562, 0.0045]),
        ("brown", [0.9, 0.9, 0.01, -0.01, 0.1, -0.05, 0.001, 0.002, 0.01]),
        ("fisheye_opencv", [0.5, 0.5, 0, 0, 0.01, 0, 0, 0]),
        ("dual", [0.6, 0.01, 0.0, 0.5]),
    ],
)
def test_long_parameter_lists(kind: str, parameters: list[float]) -> None:
    image = read(street_image(0, camera_type=kind, camera_parameters=parameters))
    assert image.problem is None
    assert image.camera is not None
    assert str(image.camera.projection) == kind
