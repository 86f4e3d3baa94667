"""What a model is worth is decided by evidence: independence of the raw values, a place, the way that was travelled."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.harvest_support import SiteFactory, jpeg, street_image
from support.photos import GPS, photo

from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.harvest.local.folder import import_opensfm
from geocorrect.harvest.mapillary.metadata import ASSUMED_FOCAL_SIGMA, SFM_FOCAL_SIGMA, quality_of
from geocorrect.records import Image, MetadataQuality


def rotation(heading_deg: float, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> list[float]:
    """`computed_rotation`: axis-angle, world → camera."""
    return list(rotation_from_heading(heading_deg, pitch_deg, roll_deg).inv().as_rotvec())


@pytest.mark.parametrize(
    ("compass_deg", "computed_deg", "lean_deg", "parameters", "quality"),
    [
        # level to rounding: nobody estimated it, whatever the parameters say
        (77.3, 77.3, 0.0, [0.8123, 0.02, -0.01], "default"),
        (77.3, 91.0, 0.0, [0.8123, 0.02, -0.01], "default"),
        (77.3, 77.3, 0.0, [0.85, 0, 0], "default"),
        # nearly level, and the heading is the compass
        (77.3, 77.3, 0.01, [0.8123, 0.02, -0.01], "default"),
        (359.999, 0.001, 0.01, [0.8123, 0.02, -0.01], "default"),
        (77.3, 77.9, 0.01, [0.8123, 0.02, -0.01], "sfm"),
        # a real reconstruction may agree with a good compass
        (77.3, 77.3, 1.5, [0.8123, 0.02, -0.01], "sfm"),
        (None, 77.3, 1.5, [0.8123, 0.02, -0.01], "sfm"),
    ],
)
def test_a_model_that_repeats_the_raw_values_is_none(
    compass_deg: float | None, computed_deg: float, lean_deg: float, parameters: list[float], quality: str
) -> None:
    record = street_image(
        0,
        compass_angle=compass_deg,
        computed_compass_angle=computed_deg,
        computed_rotation=rotation(computed_deg, lean_deg),
        camera_parameters=parameters,
    )
    assert str(quality_of(record)) == quality


def street(off_deg: float, compass_off_deg: float | None, **changes: Any) -> list[dict[str, Any]]:
    """Twelve photos on the way east; headings of the model and of the compass beside the direction of travel."""
    images = []
    for index in range(12):
        computed_deg = (90 + off_deg + 2 * math.sin(index)) % 360
        compass_deg = None if compass_off_deg is None else (90 + compass_off_deg + 3 * math.cos(index)) % 360
        images.append(
            street_image(
                index,
                computed_rotation=rotation(computed_deg, 1.0, 0.7),
                computed_compass_angle=computed_deg,
                compass_angle=compass_deg,
                **changes,
            )
        )
    return images


@pytest.mark.parametrize(
    ("off_deg", "compass_off_deg", "is_believed"),
    [
        (0, 0, True),
        (20, None, True),
        (180, None, True),
        (90, 88, True),  # looks sideways, and its compass says so
        (100, 0, False),
        (100, None, False),
        (-80, 5, False),
        (75, 180, False),
    ],
)
def test_headings_against_the_way_that_was_travelled(
    site: SiteFactory, off_deg: float, compass_off_deg: float | None, is_believed: bool
) -> None:
    records = street(off_deg, compass_off_deg, width=160, height=120)
    here = site(records, files={record["id"]: jpeg(160, 120) for record in records})
    here.harvest()
    images = list(here.sink.by_id.values())
    expected = (MetadataQuality.SFM, SFM_FOCAL_SIGMA) if is_believed else (MetadataQuality.DEFAULT, ASSUMED_FOCAL_SIGMA)
    assert {(image.quality, image.camera and image.camera.focal_sigma) for image in images} == {expected}
    assert all(("notes" in image.provider) is not is_believed for image in images)


def project(folder: Path, reference: tuple[float, float], off_deg: float, *, has_gps: bool = True) -> list[Image]:
    """An OpenSfM project of eight photos, 8 m apart on the way east from 41.9 N, 12.501 E."""
    shots = {}
    for index in range(8):
        lon = (12.0, 30.0, 3.6 + 0.348 * index)
        photo(folder / "images" / f"{index}.jpg", {**GPS, 4: lon, 17: 90.0} if has_gps else {}, seed=index)
        cam_from_world = rotation_from_heading(90 + off_deg, 1.0, 0.5).inv()
        centre = np.array([83.0 + 8.0 * index, 0.0, 2.0])
        shots[f"{index}.jpg"] = {
            "rotation": list(cam_from_world.as_rotvec()),
            "translation": list(-cam_from_world.apply(centre)),
            "camera": "c",
        }
    camera = {"c": {"projection_type": "perspective", "width": 64, "height": 48, "focal": 0.5, "k1": 0, "k2": 0}}
    place = {"latitude": reference[0], "longitude": reference[1], "altitude": 0.0}
    content = [{"cameras": camera, "shots": shots, "reference_lla": place}]
    (folder / "reconstruction.json").write_text(json.dumps(content))
    return import_opensfm(folder).images


def test_a_sound_project_is_believed(tmp_path: Path) -> None:
    for image in project(tmp_path, (41.9, 12.5), 0.0):
        assert image.quality is MetadataQuality.SFM
        assert image.computed is not None
        assert image.reported is not None
        assert image.computed.lon_deg == pytest.approx(image.reported.lon_deg, abs=2e-5)
        assert image.camera is not None
        assert image.camera.focal_sigma == SFM_FOCAL_SIGMA


@pytest.mark.parametrize(
    ("reference", "has_gps"), [((0.0, 0.0), False), ((0.0, 0.0), True), ((1e-6, -1e-6), False), ((48.1, 11.5), True)]
)
def test_a_project_without_a_place_has_no_positions(
    tmp_path: Path, reference: tuple[float, float], has_gps: bool
) -> None:
    """OpenSfM writes 0, 0 where there was no GPS; another town than that of the photos is no better."""
    for image in project(tmp_path, reference, 0.0, has_gps=has_gps):
        assert (image.computed, image.quality) == (None, MetadataQuality.RAW_ONLY)
        assert image.camera is not None, "the camera needs no place"


@pytest.mark.parametrize("off_deg", [100.0, -80.0, 90.0])
def test_a_project_whose_headings_contradict_its_way_is_not_believed(tmp_path: Path, off_deg: float) -> None:
    for image in project(tmp_path, (41.9, 12.5), off_deg):
        assert image.quality is MetadataQuality.DEFAULT
        assert image.camera is not None
        assert image.camera.focal_sigma == ASSUMED_FOCAL_SIGMA
        assert "direction of travel" in image.provider["notes"][-1]


def test_matching_thousands_of_shots_takes_no_minutes() -> None:
    """Times are searched, not compared one by one: 20,000 shots and images, each 0.25 s apart."""
    from geocorrect.geometry.pose import Pose
    from geocorrect.harvest.local.opensfm import Reconstruction, Shot, match_shots

    pose = Pose(Rotation.identity(), np.zeros(3))
    moments = [datetime.fromtimestamp(1.6e9 + 0.25 * index, UTC) for index in range(20_000)]
    shots = {str(index): Shot(str(index), pose, "c", moment, "s") for index, moment in enumerate(moments)}
    images = [
        Image(f"i{index}", None, None, None, sequence_id="s", captured_at=moment)
        for index, moment in enumerate(moments)
    ]
    matched = match_shots(Reconstruction(shots, {}, None), images)
    assert {image_id[1:]: shot.name for image_id, shot in matched.items()} == {name: name for name in shots}
