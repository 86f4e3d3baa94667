"""How cameras with a rolling shutter moved: from the pictures around them, with an error that holds, or unknown."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from support import catalog_world as world
from support.batch_scene import in_process

from geocorrect.api.describe_photo import stated_camera
from geocorrect.api.motion import UNKNOWN_TURN_RAD_S, anchor_motion, photo_motion, photo_motions, with_motion
from geocorrect.catalog import Catalog
from geocorrect.config import CameraSection, Settings
from geocorrect.errors import InputError
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.jobs.plan import plan_run
from geocorrect.jobs.tiles import read_pieces
from geocorrect.localize.joint.device_lens import DeviceLens
from geocorrect.records import Anchor, AnchorIndex, Image, MetadataQuality, Position
from geocorrect.retrieve.options import RetrieveOptions

ROLLING = replace(world.CAMERA, readout_s=0.03)
LENSES = tuple(DeviceLens("Acme", f"Cam {k}", 1024, 768, readout_s=0.03) for k in range(2))


def way(seconds: float) -> Pose:
    """From 8 m/s eastwards, speeding up by 1.5 m/s² and turning right by 10° a second."""
    along_m = 8.0 * seconds + 0.75 * seconds**2
    return Pose(rotation_from_heading(90.0 + 10.0 * seconds), np.array([along_m, 0.0, 1.6]))


def anchor(seconds: float, camera: str = "front") -> Anchor:
    taken = replace(world.anchor(0), id=f"{camera}-{seconds}", camera=ROLLING, world_from_cam=way(seconds))
    path = taken.path.parent / camera / f"{seconds}.png"
    return replace(taken, path=path, captured_at=world.START + timedelta(seconds=seconds))


@pytest.mark.parametrize("times", [(-0.2, 0.2), (-0.5, 0.1), (0.4,), (-1.0,), (-2.5, 2.9), (-0.1, 0.1, -0.6)])
def test_an_anchor_moves_as_its_drive_does(times: tuple[float, ...]) -> None:
    moving = anchor_motion(anchor(0.0), [anchor(seconds) for seconds in (0.0, *times)])
    assert moving is not None
    assert abs(moving.velocity_m_s[0] - 8.0) < 1.5 * moving.velocity_sigma_m_s
    np.testing.assert_allclose(moving.velocity_m_s[1:], 0.0, atol=1e-9)
    np.testing.assert_allclose(moving.turn_rad_s, [0, 0, -np.radians(10.0)], atol=moving.turn_sigma_rad_s)


def test_neighbours_on_both_sides_tell_more_than_one() -> None:
    both, one = (anchor_motion(anchor(0.0), [anchor(s) for s in times]) for times in ((-0.5, 0.5), (0.5,)))
    assert both is not None
    assert one is not None
    assert both.velocity_sigma_m_s < 0.5 * one.velocity_sigma_m_s < 0.3


@pytest.mark.parametrize(
    "others",
    [
        [],
        [anchor(3.5)],
        [anchor(0.2, "rear")],
        [replace(anchor(0.2), drive_id="another")],
        [replace(anchor(0.2), dataset="another")],
        [replace(anchor(0.2), captured_at=None)],
        [anchor(0.2), replace(anchor(0.0), id="another face")],
    ],
    ids=["alone", "too late", "other camera", "other drive", "other data set", "no time", "same moment"],
)
def test_an_unknown_motion_is_none(others: list[Anchor]) -> None:
    assert anchor_motion(anchor(0.0), others) is None


def test_only_anchors_with_a_rolling_shutter_are_looked_at() -> None:
    anchors = {a.id: a for a in (anchor(0.0), anchor(0.4), anchor(0.8))}
    anchors["front-0.4"] = replace(anchors["front-0.4"], camera=world.CAMERA)
    ids = tuple(sorted(anchors))
    enu_m = np.array([anchors[name].world_from_cam.translation_m for name in ids])
    index = AnchorIndex(ids, enu_m, np.zeros(3), ("",) * 3, ("",) * 3)
    asked: list[list[str]] = []

    def read(wanted: list[str]) -> dict[str, Anchor]:
        asked.append(list(wanted))
        return {name: anchors[name] for name in wanted}

    reading = with_motion(read, index)
    assert reading(["front-0.4"])["front-0.4"] is anchors["front-0.4"]
    assert asked == [["front-0.4"]]
    found = reading(["front-0.4", "front-0.0"])
    assert list(found) == ["front-0.4", "front-0.0"]
    assert found["front-0.4"].motion is None
    moving = found["front-0.0"].motion
    assert moving is not None
    assert moving.velocity_m_s[0] == pytest.approx(8.3)  # from the one at 0.4 s


def photo(seconds: float, east_m: float, **changes: object) -> Image:
    lon, lat, _ = world.ROME.wgs84_from_enu([east_m, 0.0, 0.0])
    made = replace(world.image(0), id=f"{seconds}", reported=Position(float(lon), float(lat)))
    return replace(made, captured_at=world.START + timedelta(seconds=seconds), **changes)


def test_a_photo_moves_as_it_was_reported() -> None:
    own, around = photo(0.0, 7.0), [photo(-0.9, 0.0), photo(0.0, 7.0), photo(1.1, 20.0)]
    moving = photo_motion(own, around, world.ROME)
    assert moving is not None
    np.testing.assert_allclose(moving.velocity_m_s, [10.0, 0.0, 0.0], atol=0.01)
    assert 1.0 < moving.velocity_sigma_m_s < 2.0
    assert np.array_equal(moving.turn_rad_s, np.zeros(3))
    assert moving.turn_sigma_rad_s == UNKNOWN_TURN_RAD_S
    whole = photo_motion(own, [photo(-1.0, 0.0), own, photo(1.0, 20.0)], world.ROME)
    assert whole is not None
    assert whole.velocity_sigma_m_s > moving.velocity_sigma_m_s + 1.0, "times rounded to seconds"


def test_a_reconstruction_tells_more_and_the_turn_too() -> None:
    def placed(seconds: float, component: str = "c") -> Image:
        pose = way(seconds)
        lon, lat, height = world.ROME.wgs84_from_enu(pose.translation_m)
        place = Position(float(lon), float(lat), float(height) - world.ROME.height_m)
        return photo(
            seconds, -500.0, computed=place, computed_enu_from_cam=pose, quality=MetadataQuality.SFM,
            provider={"merge_cc": component},
        )  # fmt: skip

    moving = photo_motion(placed(0.0), [placed(-1.01), placed(0.0), placed(0.99)], world.ROME)
    assert moving is not None
    assert abs(moving.velocity_m_s[0] - 8.0) < moving.velocity_sigma_m_s < 0.6
    np.testing.assert_allclose(moving.turn_rad_s, [0, 0, -np.radians(10.0)], atol=1e-6)
    apart = photo_motion(placed(0.0), [placed(-1.01), placed(0.0), placed(0.99, "d")], world.ROME)
    assert apart is not None
    assert np.linalg.norm(apart.velocity_m_s) < 0.01, "reported positions, which stand still"


@pytest.mark.parametrize(
    "around",
    [
        [photo(0.0, 0.0)],
        [photo(0.0, 0.0), photo(3.5, 30.0)],
        [photo(0.0, 0.0), replace(photo(0.0, 5.0), id="same moment")],
        [photo(0.0, 0.0), replace(photo(1.0, 5.0), reported=None)],
    ],
    ids=["alone", "too late", "same moment", "no position"],
)
def test_an_unknown_motion_of_a_photo_is_none(around: list[Image]) -> None:
    assert photo_motion(photo(0.0, 0.0), around, world.ROME) is None


def test_a_batch_gives_photos_and_anchors_their_motion(catalog: Catalog) -> None:
    """Photos of two sequences, a second and 5 m apart; anchors alike. Without a stated readout nothing is given."""
    world.fill(catalog)
    anchors = [replace(world.anchor(k), camera=ROLLING) for k in range(6)]
    catalog.upsert_anchors(anchors)
    for lenses in ((), LENSES):
        settings = Settings(camera=CameraSection(lenses=lenses), retrieve=RetrieveOptions(radius_m=30.0))
        plan = plan_run(in_process(settings), catalog)
        tasks = [task for piece in read_pieces(plan, plan.due, catalog) for task in piece]
        motions = {task.key: task.motion for task in tasks}
        assert len(motions) > 10
        for motion in motions.values():
            if not lenses:
                assert motion is None
                continue
            assert motion is not None
            np.testing.assert_allclose(motion.velocity_m_s, [5.0, 0.0, 0.0], atol=0.01)
        seen = {a.id: a.motion for task in tasks for a in task.anchors}
        for name, motion in seen.items():
            assert (motion is not None) == (name in {a.id for a in anchors})
            if motion is not None:
                np.testing.assert_allclose(motion.velocity_m_s, [5.0, 0.0, 0.0], atol=0.01)


def test_a_camera_file_may_state_the_readout(tmp_path: Path) -> None:
    file = tmp_path / "camera.json"
    content = {"projection_type": "perspective", "focal": 0.8, "k1": 0.0, "k2": 0.0}
    file.write_text(json.dumps(content | {"readout_s": 0.03}), encoding="utf-8")
    assert stated_camera(file, 640, 480).readout_s == 0.03
    file.write_text(json.dumps(content | {"readout_s": 30}), encoding="utf-8")
    with pytest.raises(InputError, match="camera.json.*readout_s must be at most 0.2 seconds"):
        stated_camera(file, 640, 480)


def test_photos_that_are_not_in_the_catalog_have_no_motion(catalog: Catalog) -> None:
    world.fill(catalog)
    stranger = replace(world.image(1), id="stranger")
    assert photo_motions([stranger, replace(stranger, sequence_id=None)], catalog, world.ROME, LENSES) == {}
