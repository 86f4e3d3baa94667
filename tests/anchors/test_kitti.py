from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from geocorrect.anchors.readers.kitti.oxts import oxts_in_frame, read_packets
from geocorrect.anchors.readers.kitti.raw import KittiOptions, read_kitti_raw
from geocorrect.anchors.readers.sensor_folder import read_sensor_folder
from geocorrect.errors import InputError
from geocorrect.geometry.pose import rotation_angle_deg

DRIVE = "2011_09_26/2011_09_26_drive_0002_sync"
pytestmark = pytest.mark.data


@pytest.fixture
def copied(shared_data: Path, tmp_path: Path) -> Path:
    """A drive of two frames that may be spoilt."""
    source = shared_data / "kitti_raw"
    for path in (source / "2011_09_26").glob("calib*.txt"):
        (tmp_path / "2011_09_26").mkdir(exist_ok=True)
        shutil.copyfile(path, tmp_path / "2011_09_26" / path.name)
    for sensor, suffix in (("image_02", "png"), ("image_03", "png"), ("oxts", "txt"), ("velodyne_points", "bin")):
        folder = tmp_path / DRIVE / sensor
        (folder / "data").mkdir(parents=True)
        shutil.copyfile(source / DRIVE / sensor / "timestamps.txt", folder / "timestamps.txt")
        for number in range(2):
            name = f"data/{number:010d}.{suffix}"
            if suffix == "txt":
                shutil.copyfile(source / DRIVE / sensor / name, folder / name)
            else:
                (folder / name).symlink_to(source / DRIVE / sensor / name)
    return tmp_path


def test_the_rig_is_the_calibration(shared_data: Path) -> None:
    drive = read_kitti_raw(shared_data / "kitti_raw")
    left, right = (next(i for i in drive.images if (i.camera_name, i.frame_number) == (c, 3)) for c in ("02", "03"))
    step = left.world_from_cam.inverse() @ right.world_from_cam
    # Their stamps are 0.6 ms apart, which would move the right camera by 5 mm at 9 m/s.
    assert step.translation_m == pytest.approx([0.5327, -0.0027, 0.0], abs=0.001)
    assert rotation_angle_deg(left.world_from_cam.rotation, right.world_from_cam.rotation) < 0.02
    assert left.captured_at == right.captured_at


def test_all_cameras_of_a_frame_have_one_instant(copied: Path) -> None:
    """A stamp that comes 8 ms late, as those of the grey cameras do, moves no pose; camera 02 gives the instant."""
    before = {image.id: image.world_from_cam.translation_m for image in read_kitti_raw(copied).images}
    for camera, moves in (("03", False), ("02", True)):
        stamps = copied / DRIVE / f"image_{camera}" / "timestamps.txt"
        stamps.write_text(
            re.sub(r"(?<=:)\d+\.\d+", lambda second: f"{float(second[0]) + 0.008:.9f}", stamps.read_text())
        )
        after = {image.id: image.world_from_cam.translation_m for image in read_kitti_raw(copied).images}
        shift_m = [float(np.linalg.norm(after[image] - before[image])) for image in before]
        assert shift_m == pytest.approx([0.07 if moves else 0.0] * 4, abs=0.01)


def test_the_drive_goes_where_the_packets_say(shared_data: Path) -> None:
    drive = read_kitti_raw(shared_data / "kitti_raw")
    left = [image for image in drive.images if image.camera_name == "02"]
    centres = np.array([image.world_from_cam.translation_m for image in left])
    assert np.linalg.norm(centres[-1] - centres[0]) == pytest.approx(8.17, abs=0.1)
    speed = np.linalg.norm(np.diff(centres, axis=0), axis=1) / 0.1033
    assert speed == pytest.approx(np.full(9, 8.85), abs=0.4)  # packets as they are would scatter by 1 m/s
    # yaw is counter-clockwise from east; the camera looks where the car drives
    course = np.degrees(np.arctan2(*(centres[-1] - centres[0])[:2])) % 360
    assert drive.frame.heading_deg(left[5].world_from_cam) == pytest.approx(course, abs=1.0)
    first = np.loadtxt(shared_data / "kitti_raw" / DRIVE / "oxts/data/0000000000.txt")
    assert (drive.frame.lat_deg, drive.frame.lon_deg, drive.frame.height_m) == pytest.approx(tuple(first[:3]))


def test_carrying_a_packet_and_interpolating_agree(shared_data: Path) -> None:
    """Velocity × dt from the nearest packet and interpolation between packets: the same to a centimetre."""
    drive = read_kitti_raw(shared_data / "kitti_raw")
    packets = read_sensor_folder(shared_data / "kitti_raw" / DRIVE / "oxts", ".txt")
    oxts = oxts_in_frame(packets, read_packets(packets), drive.frame, 0.0)
    for index in range(1, 9):
        time_ns = int(packets.time_ns[index]) - 12_000_000
        carried, between = oxts.carried(index, time_ns), oxts.pose_at(time_ns)
        assert np.linalg.norm(carried.translation_m - between.translation_m) < 0.015
        assert rotation_angle_deg(carried.rotation, between.rotation) < 0.05
        assert np.linalg.norm(oxts.trajectory.pose(index).translation_m - between.translation_m) > 0.09


def test_anchors_and_their_selection(shared_data: Path) -> None:
    drive = read_kitti_raw(shared_data / "kitti_raw", KittiOptions(geoid_undulation_m=48.0))
    chosen = drive.anchors({"02"}, {0, 4, 8})
    assert [anchor.id for anchor in chosen] == [
        f"2011_09_26_drive_0002_sync/image_02/{number:010d}" for number in (0, 4, 8)
    ]
    assert len(drive.anchors()) == 20
    anchor = chosen[0]
    assert anchor.captured_at is not None
    assert anchor.captured_at.isoformat() == "2011-09-26T13:02:44.327963+00:00"
    assert anchor.world_from_cam.covariance is not None
    assert np.sqrt(anchor.world_from_cam.covariance[0, 0]) == pytest.approx(0.0322, abs=1e-3)
    assert drive.frame.height_m == pytest.approx(164.43, abs=0.01)


def test_the_scan_is_carried_to_the_exposure(shared_data: Path) -> None:
    """Laser and camera stamps are 10.5 ms apart: 9 cm of driving."""
    drive = read_kitti_raw(shared_data / "kitti_raw")
    lidar = drive.anchors({"02"}, {4})[0].lidar
    assert lidar is not None
    assert lidar.cam_from_lidar.translation_m[2] == pytest.approx(-0.269 - 0.094, abs=0.01)


@pytest.mark.parametrize("below", ["", "2011_09_26", DRIVE])
def test_any_folder_above_the_drive_will_do(copied: Path, below: str) -> None:
    assert len(read_kitti_raw(copied / below).images) == 4


def test_damage_is_named(copied: Path) -> None:
    drive = copied / DRIVE
    with pytest.raises(InputError, match="no KITTI raw drive 'x'"):
        read_kitti_raw(copied, KittiOptions(drive="x"))
    with pytest.raises(InputError, match="/nowhere: no such folder"):
        read_kitti_raw(Path("/nowhere"))
    packet = drive / "oxts/data/0000000001.txt"
    text = packet.read_text()
    packet.write_text(" ".join(text.split()[:-1]))
    with pytest.raises(InputError, match=r"0000000001.txt: 29 values, expected 30"):
        read_kitti_raw(copied)
    packet.write_text("x " + text)
    with pytest.raises(InputError, match=r"0000000001.txt: not an OXTS packet"):
        read_kitti_raw(copied)
    packet.write_text("0 0 " + " ".join(text.split()[2:]))
    with pytest.raises(InputError, match=r"0000000001.txt: latitude 0.0, longitude 0.0 is no position"):
        read_kitti_raw(copied)
    packet.write_text(text)
    calibration = copied / "2011_09_26/calib_cam_to_cam.txt"
    good = calibration.read_text()
    calibration.write_text(good.replace("P_rect_02", "P_other"))
    with pytest.raises(InputError, match=r"calib_cam_to_cam.txt: key P_rect_02 is missing"):
        read_kitti_raw(copied)
    calibration.write_text(good.replace("S_rect_03: 1.242000e+03", "S_rect_03: 6.21e+02"))
    with pytest.raises(InputError, match=r"image_03/data/0000000000.png: the image is .* says 621×375"):
        read_kitti_raw(copied)
    calibration.unlink()
    with pytest.raises(InputError, match=r"calib_cam_to_cam.txt: no such calibration"):
        read_kitti_raw(copied)


def test_an_image_far_from_every_packet_is_refused(copied: Path) -> None:
    path = copied / DRIVE / "image_02/timestamps.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[9:]]))
    with pytest.raises(InputError, match=r"image_02/data/0000000001.png: .*no packet within 0.050 s"):
        read_kitti_raw(copied)


def test_several_drives_must_be_told_apart(copied: Path) -> None:
    (copied / "2011_09_26/2011_09_26_drive_0005_sync/oxts").mkdir(parents=True)
    with pytest.raises(InputError, match=r"several drives .*--drive"):
        read_kitti_raw(copied)
    assert read_kitti_raw(copied, KittiOptions(drive="2011_09_26_drive_0002_sync")).name.endswith("0002_sync")
