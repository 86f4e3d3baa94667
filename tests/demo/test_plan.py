"""What the full demo world holds, known before anything is rendered."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shapely import Point, Polygon

from geocorrect.demo.summary import reported_error_m
from geocorrect.demo.world.drives import ENU_FROM_STREET, FRAME
from geocorrect.demo.world.plan import SIZES, WorldPlan, street_from_raw
from geocorrect.demo.world.truth import DemoTruth, read_truth
from geocorrect.errors import InputError
from geocorrect.geometry.frame import angle_difference_deg, pitch_roll_deg


@pytest.fixture(scope="module")
def plan() -> WorldPlan:
    return WorldPlan(7, SIZES["full"])


@pytest.fixture(scope="module")
def truth(plan: WorldPlan) -> DemoTruth:
    return plan.truth


def test_there_is_enough_to_judge_by(plan: WorldPlan, truth: DemoTruth) -> None:
    kinds = [photo.kind for photo in truth.photos.values()]
    assert len(truth.photos) == len(plan.shots) == len(plan.metadata)
    assert sum(photo.localisable for photo in truth.photos.values()) == kinds.count("street") >= 60
    assert len(kinds) - kinds.count("street") >= 8
    assert kinds.count("other street") >= 4
    assert len(truth.anchors_m) >= 40
    assert len(plan.drives) == 2
    devices = {shot.plan.device for shot in plan.shots if shot.localisable}
    assert len({device.parameters for device in devices}) >= 4
    assert len({device.raw_size_px for device in devices}) >= 3
    assert {device.camera_type for device in devices} == {"perspective", "fisheye"}
    assert {device.exif_orientation for device in devices} == {1, 6}


def test_reported_positions_have_a_slowly_varying_bias_of_three_to_ten_metres(truth: DemoTruth) -> None:
    sequences = defaultdict(list)
    for photo in truth.photos.values():
        if photo.kind != "other street":
            assert 2.999 < reported_error_m(FRAME, photo) < 10.001
            reported = FRAME.enu_from_wgs84(photo.reported_lon_deg, photo.reported_lat_deg, photo.height_m)
            sequences[photo.sequence].append((reported - photo.world_from_cam.translation_m)[:2])
    for biases in sequences.values():
        steps = np.linalg.norm(np.diff(biases, axis=0), axis=1)
        assert np.median(steps) < 1.5


def test_headings_are_wrong_or_missing(plan: WorldPlan, truth: DemoTruth) -> None:
    angles = {record["id"]: record.get("compass_angle") for record in plan.metadata}
    assert sum(angle is None for angle in angles.values()) >= 4
    assert sum(angle == -1.0 for angle in angles.values()) >= 2
    assert sum(angle == 0.0 for angle in angles.values()) >= 3
    known = [(angle, truth.photos[key]) for key, angle in angles.items() if angle and angle > 0]
    errors = [abs(float(angle_difference_deg(a, p.heading_deg))) for a, p in known if p.localisable]
    assert 5 < np.median(errors) < 30
    assert np.max(errors) > 20


def test_photos_of_another_street_claim_to_be_in_this_one(truth: DemoTruth) -> None:
    anchors = truth.anchors_m[:, :2]
    for photo in truth.photos.values():
        reported = FRAME.enu_from_wgs84(photo.reported_lon_deg, photo.reported_lat_deg, photo.height_m)[:2]
        assert np.linalg.norm(anchors - reported, axis=1).min() < 60
        true_distance = np.linalg.norm(anchors - photo.world_from_cam.translation_m[:2], axis=1).min()
        assert (true_distance > 200) == (photo.kind == "other street")


def test_localisable_photos_look_where_an_anchor_looks(plan: WorldPlan, truth: DemoTruth) -> None:
    poses = [
        ENU_FROM_STREET @ plan.street_from_anchor(drive, index)[0]
        for drive in plan.drives
        for index in range(drive.n_images)
    ]
    axes = np.array([pose.rotation.as_matrix()[:, 2] for pose in poses])
    for photo in truth.photos.values():
        if photo.localisable:
            forward = photo.world_from_cam.rotation.as_matrix()[:, 2]
            distance = np.linalg.norm(truth.anchors_m - photo.world_from_cam.translation_m, axis=1)
            assert distance[axes @ forward > np.cos(np.radians(35))].min() < 7.5
        elif photo.kind in ("sky", "ground"):
            pitch, _ = pitch_roll_deg(photo.world_from_cam)
            assert abs(pitch) > 70


def test_nobody_stands_inside_a_wall_or_a_car(truth: DemoTruth) -> None:
    solids = [Polygon(outline) for outline in (*truth.building_outlines_m, *truth.object_outlines_m)]
    for photo in truth.photos.values():
        if photo.kind != "other street":
            here = Point(photo.world_from_cam.translation_m[:2])
            assert not any(solid.contains(here) for solid in solids), photo
    for anchor in truth.anchors_m:
        assert min(solid.distance(Point(anchor[:2])) for solid in solids) > 0.3


def test_upright_phones_turn_the_sensor_and_not_the_view(plan: WorldPlan) -> None:
    shot = next(s for s in plan.shots if s.plan.device.exif_orientation == 6 and s.localisable)
    raw = street_from_raw(shot).rotation.as_matrix()
    upright = shot.street_from_upright.rotation.as_matrix()
    assert raw[:, 2] == pytest.approx(upright[:, 2])
    # orientation 6: raw right is upright down, raw down is upright left
    assert raw[:, 0] == pytest.approx(upright[:, 1], abs=1e-12)
    assert raw[:, 1] == pytest.approx(-upright[:, 0], abs=1e-12)


def test_seeds_decide(plan: WorldPlan) -> None:
    again, other = WorldPlan(7, SIZES["full"]), WorldPlan(8, SIZES["full"])
    assert json.dumps(again.metadata) == json.dumps(plan.metadata)
    assert json.dumps(again.truth.as_json()) == json.dumps(plan.truth.as_json())
    assert json.dumps(other.metadata) != json.dumps(plan.metadata)


def test_the_truth_survives_its_file(truth: DemoTruth, tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth.as_json()))
    again = read_truth(path)
    assert again.photos.keys() == truth.photos.keys()
    for one, other in zip(again.photos.values(), truth.photos.values(), strict=True):
        assert np.abs(one.world_from_cam.minus(other.world_from_cam)).max() < 1e-9
        assert vars(replace(one, world_from_cam=other.world_from_cam)) == vars(other)
    assert again.frame == truth.frame
    assert np.array_equal(again.anchors_m, truth.anchors_m)
    path.write_text(path.read_text()[:1000])
    with pytest.raises(InputError, match=r"truth\.json.*build the world again"):
        read_truth(path)
