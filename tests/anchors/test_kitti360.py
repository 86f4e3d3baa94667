"""KITTI-360 in its published layout, written from the demo's drive: truth in every field."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.kitti_layouts import (
    BODY_FROM_CAM,
    BODY_FROM_LIDAR,
    CAM_FROM_RECT,
    KARLSRUHE,
    NAME_360,
    START,
    TINY,
    body,
    write_kitti360,
)

from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.registry import anchor_files
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.pose import Pose


def test_truth_in_every_field(tmp_path: Path) -> None:
    write_kitti360(tmp_path)
    alignment, anchors = anchor_files(
        tmp_path, options=AnchorOptions(cameras=("00", "01"), geoid_undulation_m=48.0)
    ).read()
    assert [a.id.split("/")[1:] for a in anchors] == [
        [f"image_{name}", f"{number:010d}"] for name in ("00", "01") for number in (0, 1, 3)
    ]
    times = TINY.times_s
    for anchor in anchors:
        name, number = anchor.id.split("/")[1][-2:], int(anchor.id[-10:])
        time_s = float(times[number])
        body_from_rect = BODY_FROM_CAM[name] @ Pose(CAM_FROM_RECT[name], np.zeros(3))
        truth = alignment.frame.this_from(KARLSRUHE) @ body(time_s) @ body_from_rect
        assert np.abs(anchor.world_from_cam.minus(truth)).max() < 1e-6
        c = anchor.camera
        assert (c.focal_x_px, c.focal_y_px, c.principal_x_px, c.principal_y_px) == (60, 61, 31, 23.5)
        assert anchor.captured_at is not None
        assert abs((anchor.captured_at - START).total_seconds() - time_s) < 2e-6
        assert anchor.lidar is not None
        assert np.abs(anchor.lidar.cam_from_lidar.minus(body_from_rect.inverse() @ BODY_FROM_LIDAR)).max() < 1e-6
        assert anchor.lidar.path.name == f"{number:010d}.bin"
        assert anchor.drive_id == NAME_360


def test_what_is_not_whole_is_named(tmp_path: Path) -> None:
    write_kitti360(tmp_path)
    with pytest.raises(UsageError, match="fisheyes of a model we lack"):
        anchor_files(tmp_path, options=AnchorOptions(cameras=("02",))).read()
    with pytest.raises(UsageError, match=f"there are {NAME_360}"):
        anchor_files(tmp_path, options=AnchorOptions(drive="x")).read()
    (tmp_path / "data_3d_raw" / NAME_360 / "velodyne_points" / "data" / "0000000001.bin").unlink()
    with pytest.raises(InputError, match="0000000001.bin: no such scan"):
        anchor_files(tmp_path).read()
    poses = tmp_path / "data_poses" / NAME_360 / "poses.txt"
    poses.write_text(poses.read_text().replace("\n3 ", "\n3 nan ", 1))
    with pytest.raises(InputError, match="line 3"):
        anchor_files(tmp_path).read()
