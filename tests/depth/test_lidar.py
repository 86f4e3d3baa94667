from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.anchors.readers.kitti.raw import read_kitti_raw
from geocorrect.anchors.scan_projection import ProjectionOptions, project_scan
from geocorrect.depth.base import DepthSource
from geocorrect.depth.lidar import LidarDepth
from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.io.pixels import read_image
from geocorrect.records import Anchor, LidarScan

Float = NDArray[np.float64]

# The VBR rig: LiDAR 0.67 m above the camera; LiDAR x forward, y left, z up.
CAM_FROM_LIDAR = Pose(Rotation.from_matrix([[0, -1, 0], [0, 0, -1], [1, 0, 0]]), [0.0, -0.67, 0.0])
CAMERA = Camera.from_opencv(694, 350, (632.7, 629.6, 324.6, 174.6), (-0.15, 0.21, 0.0002, -0.001))


def beams(beam_spacing_deg: float = 0.5) -> Float:
    """(N, 3) unit directions of an OS1-64-like scanner, forward half."""
    elevation = np.radians(np.arange(-16.5, 16.5, beam_spacing_deg))
    azimuth = np.radians(np.arange(-40.0, 40.0, 0.18))
    e, a = (grid.ravel() for grid in np.meshgrid(elevation, azimuth, indexing="ij"))
    return np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=1)


def cast(directions: Float, origin_z_m: float) -> Float:
    """Range to the nearest of: ground, a wall at x = 20 m, a van (x 5…9, |y| < 1, up to 1.2 m above the camera's
    height).

    Heights are measured from the camera; the ground lies 1.5 m below it.
    """
    x, y, z = directions.T
    with np.errstate(divide="ignore", invalid="ignore"):
        ground = np.where(z < 0, (-1.5 - origin_z_m) / z, np.inf)
        wall = np.where(x > 0, 20.0 / x, np.inf)
        van = np.where(x > 0, 5.0 / x, np.inf)
        top = np.where(z < 0, (0.4 - origin_z_m) / z, np.inf)
    side, height = van * y, origin_z_m + van * z
    van = np.where((np.abs(side) < 1.0) & (height < 0.4) & (height > -1.2), van, np.inf)
    on_top = (np.abs(top * y) < 1.0) & (top * x > 5.0) & (top * x < 9.0) & (top > 0)
    top = np.where(on_top, top, np.inf)
    return np.minimum.reduce([ground, wall, van, top])


def scene() -> Float:
    """A scan of the scene in the LiDAR's frame."""
    directions = beams()
    ranges = cast(directions, 0.67)
    return directions[np.isfinite(ranges)] * ranges[np.isfinite(ranges), None]


def true_depth(px: Float) -> Float:
    """Depth that the camera really sees along each pixel."""
    ray = CAMERA.unproject(px)
    world = np.stack([ray[:, 2], -ray[:, 0], -ray[:, 1]], axis=1)
    return cast(world, 0.0) * ray[:, 2]


def test_far_points_behind_the_van_are_removed_and_little_else() -> None:
    points = scene()
    px, z_m = project_scan(points, CAM_FROM_LIDAR, CAMERA)
    wrong = z_m > 1.3 * true_depth(px)
    open_px, open_z = project_scan(points, CAM_FROM_LIDAR, CAMERA, ProjectionOptions(depth_ratio=1e9))
    open_wrong = open_z > 1.3 * true_depth(open_px)
    assert open_wrong.sum() > 300  # the test has something to catch
    assert wrong.sum() < 0.1 * open_wrong.sum()
    assert (~wrong).sum() > 0.98 * (~open_wrong).sum()


@pytest.mark.long
def test_samples_are_exact_through_distortion() -> None:
    points = scene()
    px, z_m = project_scan(points, CAM_FROM_LIDAR, CAMERA)
    rays = CAMERA.unproject(px)
    back = rays / rays[:, 2:] * z_m[:, None]
    nearest = np.linalg.norm(CAM_FROM_LIDAR.inverse().apply(back)[:, None] - points[None, ::37], axis=2).min(axis=0)
    projected = CAM_FROM_LIDAR.apply(points[::37])
    inside, visible = CAMERA.project(projected)
    seen = visible & CAMERA.contains(inside) & (projected[:, 2] > 0.5)
    assert (nearest[seen] < 1e-6).mean() > 0.7
    assert px.dtype == np.float64
    assert CAMERA.contains(px).all()
    assert not np.allclose(px, np.rint(px))


def test_one_return_a_pixel_and_the_nearest_one() -> None:
    one = np.array([[10.0, 0.0, 0.0], [10.001, 0.0, 0.0], [300.0, 1.0, 0.0], [-5.0, 0.0, 0.0], [0.3, 0.0, 0.0]])
    px, z_m = project_scan(one, CAM_FROM_LIDAR, CAMERA)
    assert z_m == pytest.approx([10.0])
    assert len(px) == 1


def test_nothing_visible_gives_nothing() -> None:
    px, z_m = project_scan(np.array([[-5.0, 0.0, 0.0]]), CAM_FROM_LIDAR, CAMERA)
    assert px.shape == (0, 2)
    assert z_m.shape == (0,)


def anchor_with(scan: LidarScan | None) -> Anchor:
    return Anchor("a/left/1", "vbr", Path("/x/1.png"), CAMERA, Pose.identity(), "known-1", lidar=scan)


def test_the_oracle_is_labelled_and_has_a_sigma(tmp_path: Path) -> None:
    path = tmp_path / "1.bin"
    np.column_stack([scene(), np.zeros(len(scene()))]).astype("<f4").tofile(path)
    source = LidarDepth()
    image = np.zeros((350, 694, 3), np.uint8)
    depth = source.depth(anchor_with(LidarScan(path, "kitti_bin", CAM_FROM_LIDAR)), image)
    assert isinstance(source, DepthSource)
    assert depth.is_oracle
    assert depth.samples_z_m is not None
    near = int(np.argmin(depth.samples_z_m))
    assert np.asarray(depth.log_sigma)[near] == pytest.approx(np.hypot(0.02 / depth.samples_z_m[near], 0.003), rel=1e-5)
    short = source.depth(anchor_with(LidarScan(path, "kitti_bin", CAM_FROM_LIDAR, max_range_m=8.0)), image)
    assert short.samples_z_m is not None
    assert short.samples_z_m.max() < 8.0 < depth.samples_z_m.max()
    assert source.fingerprint != LidarDepth(noise_m=0.03).fingerprint


def test_no_scan_and_a_wrong_image_size_are_refused(tmp_path: Path) -> None:
    image = np.zeros((350, 694, 3), np.uint8)
    with pytest.raises(InputError, match="a/left/1: it has no laser scan"):
        LidarDepth().depth(anchor_with(None), image)
    scan = LidarScan(tmp_path / "1.bin", "kitti_bin", CAM_FROM_LIDAR)
    with pytest.raises(InputError, match="image is 100×50 pixels, its camera is 694×350"):
        LidarDepth().depth(anchor_with(scan), np.zeros((50, 100, 3), np.uint8))


@pytest.mark.data
def test_real_depth_agrees_with_real_stereo(shared_data: Path) -> None:
    """Disparity of the two KITTI cameras, block-matched at the LiDAR's own pixels, gives the same depth."""
    import cv2

    drive = read_kitti_raw(shared_data / "kitti_raw")
    left, right = (next(i for i in drive.images if (i.camera_name, i.frame_number) == (c, 4)) for c in ("02", "03"))
    baseline_m = float((left.world_from_cam.inverse() @ right.world_from_cam).translation_m[0])
    assert left.lidar is not None
    depth = LidarDepth().depth(drive.anchors({"02"}, {4})[0], read_image(left.path))
    assert depth.samples_px is not None
    assert depth.samples_z_m is not None
    stereo = cv2.StereoSGBM_create(0, 128, 5, 200, 800, 1, 63, 10, 100, 2)
    grey = [cv2.cvtColor(read_image(image.path), cv2.COLOR_RGB2GRAY) for image in (left, right)]
    disparity = stereo.compute(*grey).astype(float) / 16
    u, v = np.rint(depth.samples_px).astype(int).T
    known = disparity[v, u] > 2
    ratio = left.camera.focal_x_px * baseline_m / disparity[v, u][known] / depth.samples_z_m[known]
    assert known.sum() > 10_000
    assert np.median(ratio) == pytest.approx(1.0, abs=0.015)
    assert (np.abs(ratio - 1) < 0.1).mean() > 0.9
    assert (ratio < 1 / 1.15).mean() < 0.015
