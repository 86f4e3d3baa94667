"""Photos of the small street without a position, or with a useless one, find their anchors by what they show."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geocorrect import Localizer, read_anchors
from geocorrect.api import other_place
from geocorrect.config import Settings, with_depth
from geocorrect.demo.world.build import DemoWorld
from geocorrect.match.sift import SiftOptions
from geocorrect.records import Correction
from geocorrect.retrieve.options import AppearanceOptions, RetrieveOptions

pytestmark = pytest.mark.long  # the first pays for the rendered street

STREET = "6242709432081940"


@pytest.fixture
def searching(small_world: DemoWorld, tmp_path: Path) -> Localizer:
    """The small street's first drive, searched by appearance."""
    return comparing(small_world, tmp_path, AppearanceOptions("search", folder=tmp_path / "appearance"))


def comparing(small_world: DemoWorld, tmp_path: Path, looked: AppearanceOptions, matched: int = 4) -> Localizer:
    """The small street's first drive; half of SIFT's default features."""
    drive = small_world.drives[0]
    anchors = read_anchors(
        drive, "vbr", ground_truth=drive / f"{drive.name}_gt.txt", alignment=small_world.alignment, spacing_m=0
    )
    plain = with_depth(Settings(), "lidar")
    settings = plain.model_copy(
        update={
            "retrieve": RetrieveOptions(max_candidates=matched, appearance=looked),
            "match": replace(plain.match, sift=SiftOptions(max_features=4000)),
        }
    )
    return Localizer(anchors, settings=settings)


def test_photos_of_the_street_find_their_anchors_without_or_with_a_useless_position(
    searching: Localizer, small_world: DemoWorld, tmp_path: Path
) -> None:
    camera, lon_deg, lat_deg = stated(small_world, tmp_path)
    truth = small_world.truth
    for reported in (None, (lon_deg + 0.006, lat_deg)):  # nowhere, and half a kilometre off
        found = searching.localize(small_world.photos[STREET], reported=reported, camera=camera)
        assert isinstance(found.result, Correction)
        centre = truth.photos[STREET].world_from_cam.translation_m
        frame = truth.frame
        here = frame.enu_from_wgs84(*searching.frame.wgs84_from_enu(found.result.world_from_cam.translation_m))
        assert np.linalg.norm(here - centre) < 0.5


def test_a_photo_is_compared_with_another_place_which_has_few_of_its_matches(
    small_world: DemoWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_place, "ALIKE", 0.0)
    camera, lon_deg, lat_deg = stated(small_world, tmp_path)
    checking = comparing(small_world, tmp_path, AppearanceOptions("check", folder=tmp_path / "appearance"), matched=1)
    found = checking.localize(small_world.photos[STREET], reported=(lon_deg, lat_deg), camera=camera).result
    assert isinstance(found, Correction)
    assert 0.0 < found.evidence.gate["other_place_likeness"] < 1.0
    assert 0.0 <= found.evidence.gate["other_place_share"] < 0.5


def stated(small_world: DemoWorld, tmp_path: Path) -> tuple[Path, float, float]:
    """File of the photo's camera, and the reported longitude and latitude."""
    facts = next(record for record in small_world.metadata if record["id"] == STREET)
    focal, k1, k2 = facts["camera_parameters"]
    camera = tmp_path / "camera.json"
    camera.write_text(json.dumps({"phone": {"projection_type": "perspective", "focal": focal, "k1": k1, "k2": k2}}))
    return camera, *facts["geometry"]["coordinates"]
