"""Open driving data in their published layouts, written from the demo's drive: truth in every field."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.driving_layouts import SCAN_DELAY_S, START_US, TINY, on_map, write_argoverse, write_nuscenes
from support.recorded_drive import EGO_FROM_CAM, EGO_FROM_LIDAR, blank, noise

from geocorrect.anchors.add import checked_anchors
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.driving.argoverse import read_argoverse
from geocorrect.anchors.readers.driving.nuscenes import read_nuscenes
from geocorrect.anchors.readers.registry import anchor_files
from geocorrect.anchors.scan import read_scan
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.crs import crs_from_wgs84, grid_convergence_deg
from geocorrect.geometry.pose import Pose


def test_nuscenes(tmp_path: Path) -> None:
    write_nuscenes(tmp_path)
    checked = checked_anchors(anchor_files(tmp_path))
    alignment, anchors = checked.alignment, checked.anchors
    assert len(anchors) == 4, "key frames of the camera, neither sweeps nor radar"
    origin = on_map(float(TINY.times_s[0])).translation_m * [1, 1, 0]
    for anchor, time_s in zip(anchors, TINY.times_s, strict=True):
        world_from_cam = on_map(float(time_s)) @ EGO_FROM_CAM
        moved = Pose(world_from_cam.rotation, world_from_cam.translation_m - origin)
        assert np.abs(anchor.world_from_cam.minus(moved)).max() < 1e-6
        assert anchor.captured_at is not None
        assert anchor.captured_at.timestamp() == pytest.approx(START_US / 1e6 + float(time_s), abs=2e-6)
        assert (anchor.camera.focal_x_px, anchor.camera.focal_y_px, anchor.camera.principal_y_px) == (60, 61, 23.5)
        assert anchor.lidar is not None
        tie = world_from_cam.inverse() @ on_map(float(time_s) + 0.03) @ EGO_FROM_LIDAR
        assert np.abs(anchor.lidar.cam_from_lidar.minus(tie)).max() < 1e-6, "the car moved between picture and scan"
        assert anchor.lidar.format == "float32x5"
        assert anchor.drive_id == "scene-0061"
    assert checked.n_returns == 4 * 300
    lat = 42.336849169438615 + np.degrees(origin[1] / 6378137.0)
    lon = -71.05785369873047 + np.degrees(origin[0] / 6378137.0 / np.cos(np.radians(lat)))
    assert alignment.frame.lat_deg == pytest.approx(lat, abs=1e-6)
    assert alignment.frame.lon_deg == pytest.approx(lon, abs=1e-6)


def test_nuscenes_that_is_not_whole(tmp_path: Path) -> None:
    write_nuscenes(tmp_path)
    with pytest.raises(UsageError, match="no such scene; there are scene-0061"):
        read_nuscenes(tmp_path, AnchorOptions(drive="scene-1"))
    with pytest.raises(UsageError, match="this data has CAM_FRONT"):
        read_nuscenes(tmp_path, AnchorOptions(cameras=("CAM_BACK",)))
    poses = tmp_path / "v1.0-mini" / "ego_pose.json"
    kept = poses.read_text()
    poses.write_text(json.dumps(json.loads(kept)[1:]))
    with pytest.raises(InputError, match=r"ego_pose.json: no record 'cc0True'"):
        read_nuscenes(tmp_path)
    poses.unlink()
    with pytest.raises(InputError, match=r"ego_pose.json: no such table"):
        read_nuscenes(tmp_path)
    write_nuscenes(tmp_path / "b", "atlantis")
    with pytest.raises(InputError, match="'atlantis' is not published"):
        read_nuscenes(tmp_path / "b")


def test_argoverse(tmp_path: Path) -> None:
    log = tmp_path / "0a8a4cfa"
    write_argoverse(log)
    checked = checked_anchors(anchor_files(log))
    alignment, anchors = checked.alignment, checked.anchors
    assert len(anchors) == 4
    x0, y0 = (float(v) for v in crs_from_wgs84("EPSG:32617", -80.01294377242584, 40.44177902989321))
    turn = grid_convergence_deg("EPSG:32617", alignment.frame.lon_deg, alignment.frame.lat_deg)
    for number, (anchor, time_s) in enumerate(zip(anchors, TINY.times_s, strict=True)):
        truth = on_map(float(time_s)) @ EGO_FROM_CAM
        lon, lat, height = alignment.frame.wgs84_from_enu(anchor.world_from_cam.translation_m)
        x, y = crs_from_wgs84("EPSG:32617", lon, lat)
        place = [float(x) - x0, float(y) - y0, float(height)]
        # metres on the ground beside UTM's, 20 m from the frame's origin: 4e-4 of the distance at most
        assert place == pytest.approx(truth.translation_m.tolist(), abs=0.01)
        grid = float(np.degrees(np.arctan2(*truth.rotation.as_matrix()[:2, 2]))) % 360
        assert alignment.frame.heading_deg(anchor.world_from_cam) == pytest.approx((grid + turn) % 360, abs=1e-3)
        assert not any(anchor.camera.distortion), "pictures are undistorted"
        assert anchor.captured_at is not None
        assert anchor.captured_at.timestamp() == pytest.approx(1.6e9 + float(time_s), abs=2e-6)
        assert anchor.lidar is not None
        tie = truth.inverse() @ on_map(float(time_s) + SCAN_DELAY_S)
        # poses come at 20 Hz: what is between them is interpolated
        assert np.abs(anchor.lidar.cam_from_lidar.minus(tie)).max() < 5e-3, "the car moved between picture and sweep"
        found = anchor.lidar.cam_from_lidar.apply(read_scan(anchor.lidar.path, anchor.lidar.format).points_lidar_m)
        points = tie.apply(EGO_FROM_LIDAR.apply(noise(number, Pose.identity())[:, :3]))
        assert np.abs(found - points).max() < 0.03, "half precision, as published"
    assert checked.n_returns == 4 * 300
    step = anchors[0].world_from_cam.inverse() @ anchors[3].world_from_cam
    times = TINY.times_s
    true_step = (on_map(float(times[0])) @ EGO_FROM_CAM).inverse() @ (on_map(float(times[3])) @ EGO_FROM_CAM)
    assert np.abs(step.minus(true_step)).max() < 1e-6


def test_argoverse_that_is_not_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    write_argoverse(log)
    with pytest.raises(UsageError, match="this log has ring_front_center"):
        read_argoverse(log, AnchorOptions(cameras=("ring_rear_left",)))
    sweeps = sorted((log / "sensors" / "lidar").iterdir())
    whole = sweeps[1].read_bytes()
    sweeps[1].write_bytes(b"no table")
    with pytest.raises(InputError, match=r"\d.feather: not a Feather table with x, y, z"):
        read_argoverse(log)
    for sweep in sweeps[1:3]:
        sweep.unlink()
    with pytest.raises(InputError, match=r"\d.jpg: no sweep within 0.06 s"):
        read_argoverse(log)
    anchors = read_argoverse(log, AnchorOptions(scans="if_present"))[1]
    assert [anchor.lidar is None for anchor in anchors] == [False, True, True, False]
    assert {anchor.lidar for anchor in read_argoverse(log, AnchorOptions(scans="none"))[1]} == {None}
    for sweep in sweeps[1:3]:
        sweep.write_bytes(whole)
    blank(log / "sensors" / "cameras" / "ring_front_center" / "5.jpg", 0, TINY.camera)
    with pytest.raises(InputError, match="no pose at"):
        read_argoverse(log)
    (log / "calibration" / "intrinsics.feather").write_bytes(b"no table")
    with pytest.raises(InputError, match=r"intrinsics.feather: not a Feather table"):
        read_argoverse(log)
    (log / "calibration" / "intrinsics.feather").unlink()
    with pytest.raises(InputError, match=r"intrinsics.feather: no such file"):
        read_argoverse(log)
    write_argoverse(tmp_path / "b", "LAX")
    with pytest.raises(InputError, match="that names one of ATX"):
        read_argoverse(tmp_path / "b")
