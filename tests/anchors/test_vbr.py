from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.vbr_world import BASE_FROM_CAM, VbrWorld, local_from_base

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.readers.vbr.calibration import read_vbr_calibration
from geocorrect.anchors.readers.vbr.sequence import VbrOptions, read_vbr
from geocorrect.errors import InputError
from geocorrect.geometry.pose import rotation_angle_deg
from geocorrect.records import Anchor


def read(world: VbrWorld, options: VbrOptions | None = None) -> list[Anchor]:
    return read_vbr(world.folder, world.calibration, world.ground_truth, world.alignment, options)


def test_poses_are_the_truth_at_image_time(vbr: VbrWorld) -> None:
    anchors = read(vbr)
    for anchor in anchors:
        time_s = vbr.image_times_s[int(anchor.id[-10:])] - 1237.6
        truth = vbr.alignment.apply(local_from_base(time_s) @ BASE_FROM_CAM)
        # 20 Hz poses interpolated linearly on a 27 m radius: a sagitta of 0.74 mm
        assert np.linalg.norm(anchor.world_from_cam.translation_m - truth.translation_m) < 8e-4
        assert rotation_angle_deg(anchor.world_from_cam.rotation, truth.rotation) < 1e-3


def test_ids_are_stable_and_duplicates_dropped(vbr: VbrWorld) -> None:
    ids = [anchor.id for anchor in read(vbr)]
    assert ids[0] == "street0/camera_left/0000000000"
    assert len(ids) == 15
    assert "street0/camera_left/0000000004" not in ids
    assert "street0/camera_left/0000000005" in ids
    (vbr.folder / "camera_left/data/0000000000.png").unlink()
    assert [anchor.id for anchor in read(vbr)] == ids[1:]


def test_what_an_anchor_carries(vbr: VbrWorld) -> None:
    anchor = read(vbr)[0]
    assert (anchor.dataset, anchor.drive_id, anchor.alignment_id) == ("vbr", "street0", vbr.alignment.id)
    assert anchor.path.is_absolute()
    assert anchor.captured_at is None
    assert anchor.camera.distortion[:2] == pytest.approx((-0.1, 0.05))
    assert "VBR" in anchor.attribution.creator


def test_the_scan_is_carried_to_the_exposure(vbr: VbrWorld) -> None:
    """A point that stands still in the world, seen by the LiDAR 20 ms before the image."""
    anchor = read(vbr)[6]
    assert anchor.lidar is not None
    time_s = vbr.image_times_s[int(anchor.id[-10:])] - 1237.6
    point_local = np.array([30.0, 4.0, 1.0])
    seen = local_from_base(time_s - 0.02).inverse().apply(point_local)
    truth = (local_from_base(time_s) @ BASE_FROM_CAM).inverse().apply(point_local)
    assert anchor.lidar.cam_from_lidar.apply(seen) == pytest.approx(truth, abs=2e-3)
    still = (local_from_base(time_s) @ BASE_FROM_CAM).inverse() @ local_from_base(time_s)
    assert np.linalg.norm(still.apply(seen) - truth) > 0.15  # what ignoring the motion would cost


def test_spacing_and_no_scans(vbr: VbrWorld) -> None:
    spaced = read(vbr, VbrOptions(spacing_m=3.0, scans="none"))
    steps = np.diff([a.world_from_cam.translation_m for a in spaced], axis=0)
    assert np.linalg.norm(steps, axis=1).min() > 2.9
    assert len(spaced) < 5
    assert all(anchor.lidar is None for anchor in spaced)


def test_alignment_uncertainty_grows_along_the_drive(vbr: VbrWorld) -> None:
    covariance = np.diag([0.1**2] * 2 + [0.2**2, 0.0, 0.0, np.radians(0.5) ** 2])
    placed = Alignment(vbr.alignment.frame, vbr.alignment.world_from_local, covariance)
    vbr.alignment = placed
    for anchor in read(vbr):
        found = anchor.world_from_cam.covariance
        assert found is not None
        arm = np.linalg.norm((anchor.world_from_cam.translation_m - placed.world_from_local.translation_m)[:2])
        expected = 2 * 0.1**2 + (np.radians(0.5) * arm) ** 2
        assert found[0, 0] + found[1, 1] == pytest.approx(expected, rel=1e-6)
        assert anchor.alignment_id != replace(placed, covariance=None, id="").id


def test_an_image_outside_the_trajectory_is_refused_or_skipped(vbr: VbrWorld) -> None:
    lines = vbr.ground_truth.read_text().splitlines()
    vbr.ground_truth.write_text("\n".join(lines[:21]))
    with pytest.raises(InputError, match=r"0000000011.png: .*no pose at .*--uncovered skip"):
        read(vbr)
    assert len(read(vbr, VbrOptions(uncovered="skip"))) == 10
    vbr.ground_truth.write_text("\n".join([lines[0], "1 0 0 0 0 0 0 1", "1.1 0 0 0 0 0 0 1"]))
    with pytest.raises(InputError, match="do they belong together"):
        read(vbr, VbrOptions(uncovered="skip"))


def test_a_gap_in_the_trajectory_is_refused(vbr: VbrWorld) -> None:
    lines = vbr.ground_truth.read_text().splitlines()
    vbr.ground_truth.write_text("\n".join(lines[:8] + lines[25:]))
    with pytest.raises(InputError, match=r"\.png: .*gap of"):
        read(vbr)


def test_an_image_without_a_scan_is_refused_or_left_without(vbr: VbrWorld) -> None:
    for number in (3, 4):
        (vbr.folder / f"ouster_points/data/{number:010d}.bin").unlink()
    with pytest.raises(InputError, match=r"0000000003.png: no laser scan within 0.06 s"):
        read(vbr)
    without = [a for a in read(vbr, VbrOptions(scans="if_present")) if a.lidar is None]
    assert len(without) == 2


def _no_images(world: VbrWorld) -> None:
    for path in (world.folder / "camera_left/data").glob("*.png"):
        path.unlink()


def _extra_image(world: VbrWorld) -> None:
    cv2.imwrite(str(world.folder / "camera_left/data/0000000099.png"), np.zeros((48, 64, 3), np.uint8))


def _odd_name(world: VbrWorld) -> None:
    cv2.imwrite(str(world.folder / "camera_left/data/first.png"), np.zeros((48, 64, 3), np.uint8))


def _other_size(world: VbrWorld) -> None:
    cv2.imwrite(str(world.folder / "camera_left/data/0000000002.png"), np.zeros((24, 32, 3), np.uint8))


def _damaged(world: VbrWorld) -> None:
    (world.folder / "camera_left/data/0000000002.png").write_bytes(b"not a picture")


def _backwards(world: VbrWorld) -> None:
    path = world.folder / "camera_left/timestamps.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[5], *lines[1:]]))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_no_images, r"camera_left/data: no .png files"),
        (_extra_image, r"0000000099.png: no timestamp; timestamps.txt has 16 rows"),
        (_odd_name, r"first.png: the file name is no frame number"),
        (_other_size, r"0000000002.png: the image is 32×24 pixels, .*vbr_calib.yaml says 64×48"),
        (_damaged, r"0000000002.png: not a readable image"),
        (_backwards, r"timestamps.txt, line 2: the time runs backwards"),
        (lambda w: (w.folder / "camera_left/timestamps.txt").unlink(), r"timestamps.txt: no such file"),
        (lambda w: w.calibration.unlink(), r"vbr_calib.yaml: no such calibration"),
        (lambda w: w.ground_truth.unlink(), r"street0_gt.txt: no such trajectory"),
    ],
)
def test_damage_is_named(vbr: VbrWorld, spoil, message: str) -> None:  # type: ignore[no-untyped-def]
    spoil(vbr)
    with pytest.raises(InputError, match=message):
        read(vbr)


def test_a_missing_folder_is_named(vbr: VbrWorld) -> None:
    vbr.folder = Path("/nowhere/seq")
    with pytest.raises(InputError, match=r"/nowhere/seq: no such folder; .*vbr convert kitti"):
        read(vbr)
    vbr.folder = vbr.calibration.parent
    with pytest.raises(InputError, match=r"camera_left/data: no such folder"):
        read(vbr)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("intrinsics: [60.0, 61.0, 31.0, 23.5]", "intrinsics: [60.0, .nan, 31.0, 23.5]", "intrinsics must be 4 finite"),
        ("intrinsics: [60.0, 61.0, 31.0, 23.5]", "intrinsics: [60.0, 61.0, 31.0]", "intrinsics must be 4 finite"),
        ("intrinsics: [60.0, 61.0, 31.0, 23.5]", "intrinsics: [60.0, 61.0, 649.0, 349.0]", "do not belong to 64×48"),
        ("resolution: [64, 48]", "resolution: none", "resolution must be 2 finite numbers"),
        ("cam_l:", "camera:", "neither cam_l nor cam_r"),
        ("lidar:", "laser:", "key 'lidar' is missing"),
        ("[[1,0,0,0],", "[[2,0,0,0],", "lidar.T_b: .*not a rotation"),
        ("  distortion_coeffs", "  distortion_model: equidistant\n  distortion_coeffs", "only radtan"),
        ("cam_l:", "cam_l: [", "not a readable YAML"),
    ],
)
def test_a_wrong_calibration_names_the_field(vbr: VbrWorld, old: str, new: str, message: str) -> None:
    vbr.calibration.write_text(vbr.calibration.read_text().replace(old, new))
    with pytest.raises(InputError, match=f"vbr_calib.yaml: .*{message}"):
        read(vbr)


@pytest.mark.data
def test_the_real_calibration_looks_forward_and_below(shared_data: Path) -> None:
    rig = read_vbr_calibration(shared_data / "vbr_campus/vbr_calib.yaml").camera("left")
    assert rig.base_from_cam.rotation.apply([0, 0, 1]) == pytest.approx([1, 0, 0], abs=0.01)
    assert rig.base_from_cam.translation_m == pytest.approx([0.07, 0.234, -0.666], abs=0.001)
    assert (rig.camera.width, rig.camera.height) == (1388, 700)
    with pytest.raises(InputError, match="no camera 'cam_r'"):
        read_vbr_calibration(shared_data / "vbr_campus/vbr_calib.yaml").camera("right")
