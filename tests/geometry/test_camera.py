"""The Camera record: validation, equality, and the pixel algebra of resize, crop and turn against real rasters."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from geocorrect.geometry.camera import Camera, Projection, turned_from_cam
from geocorrect.geometry.projection import COEFFICIENTS
from geocorrect.geometry.remap import panorama_faces
from geocorrect.io.pixels import COUNTER_CLOCKWISE_TURNS

BROWN = Camera("brown", 640, 480, 500, 510, 322.5, 236.25, (-0.2, 0.05, 0.003, -0.002, 0.01))
PRISM = Camera(
    "fisheye624", 640, 480, 300, 310, 322.5, 236.25, (0.02, 0, 0, 0, 0, 0, 0.003, -0.002, 1e-3, 2e-3, -3e-3, 4e-3)
)
CAMERAS = [BROWN, PRISM, Camera("dual", 640, 480, 400, 400, 319.5, 239.5, (-0.02, 0.01, 0.3))]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", 0),
        ("height", -3),
        ("width", 640.5),
        ("width", math.nan),
        ("height", True),
        ("focal_x_px", 0.0),
        ("focal_y_px", -500.0),
        ("focal_x_px", math.nan),
        ("focal_y_px", math.inf),
        ("principal_x_px", math.nan),
        ("principal_y_px", -math.inf),
        ("focal_sigma", -0.1),
        ("focal_sigma", math.inf),
        ("readout_s", 30.0),
        ("readout_s", -math.inf),
    ],
)
def test_bad_values_are_refused_by_name(field: str, value: float) -> None:
    values = {"width": 640, "height": 480, "focal_x_px": 500.0, "focal_y_px": 500.0}
    values |= {"principal_x_px": 319.5, "principal_y_px": 239.5}
    with pytest.raises(ValueError, match=field):
        Camera(Projection.PERSPECTIVE, **{**values, field: value})


def test_the_readout_follows_the_rows() -> None:
    camera = Camera("perspective", 640, 480, 500, 500, 319.5, 239.5, readout_s=0.03)
    assert camera.resized(320, 240).readout_s == 0.03
    assert camera.turned(2).readout_s == -0.03
    assert camera.turned(2).turned(2) == camera.turned(0) == camera
    for other in (camera.turned(1), camera.turned(3), camera.cropped(0, 0, 640, 240)):
        assert math.isnan(other.readout_s)
    states = [replace(camera, readout_s=value).is_rolling for value in (0.03, -0.03, 0.0, math.nan)]
    assert states == [True, True, False, False]
    with pytest.raises(ValueError, match="readout_s: a panorama"):
        replace(Camera.spherical(1000, 500), readout_s=0.03)


def test_bad_distortion_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="distortion k2"):
        Camera("radial", 640, 480, 500, 500, 319.5, 239.5, (0.1, math.nan))
    with pytest.raises(ValueError, match="2 terms, got 3"):
        Camera("radial", 640, 480, 500, 500, 319.5, 239.5, (0.1, 0.0, 0.0))
    with pytest.raises(ValueError, match="transition"):
        Camera("dual", 640, 480, 500, 500, 319.5, 239.5, (0.1, 0.0, 1.5))
    with pytest.raises(ValueError, match="pinhole9"):
        Camera("pinhole9", 640, 480, 500, 500, 319.5, 239.5)


def test_a_missing_tail_is_filled() -> None:
    assert Camera("brown", 640, 480, 500, 500, 319.5, 239.5, (0.1,)).distortion == (0.1, 0, 0, 0, 0)
    assert Camera("dual", 640, 480, 500, 500, 319.5, 239.5).distortion == (0, 0, 0.5)


def test_equal_cameras_are_equal_after_pickling() -> None:
    for camera in (*CAMERAS, Camera.spherical(800, 400)):
        copy = pickle.loads(pickle.dumps(camera))
        assert copy == camera
        assert hash(copy) == hash(camera)
    assert BROWN.with_focal_scaled(1.001) != BROWN
    assert BROWN != "brown"


@pytest.mark.parametrize("shape", [(3,), (4, 2), (2, 3, 3)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="points_cam_m"):
        BROWN.project(np.zeros(shape))


def test_no_points_are_no_error() -> None:
    for camera in (*CAMERAS, Camera.spherical(800, 400)):
        assert camera.project(np.zeros((0, 3)))[0].shape == (0, 2)
        assert camera.project_with_jacobian(np.zeros((0, 3)))[2].shape == (0, 2, 3)
        assert camera.unproject(np.zeros((0, 2))).shape == (0, 3)


def test_importing_the_camera_needs_no_opencv_and_no_torch() -> None:
    code = "import sys, geocorrect.geometry.camera; sys.exit(bool({'cv2', 'torch', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_contains_is_the_raster_with_its_half_pixels() -> None:
    camera = Camera.pinhole(4, 3, 10, 10, 1.5, 1.0)
    px = [[-0.5, -0.5], [3.499, 2.499], [3.5, 0], [0, 2.5], [-0.501, 0], [np.nan, 0], [0, np.nan]]
    assert camera.contains(px).tolist() == [True, True, False, False, False, False, False]


def test_from_opencv() -> None:
    assert Camera.from_opencv(640, 480, (500, 510, 320, 240), (0, 0, 0, 0)).projection is Projection.PERSPECTIVE
    brown = Camera.from_opencv(640, 480, (500, 510, 320, 240), (0.1, 0.2, 0.3, 0.4))
    assert brown.projection is Projection.BROWN
    assert brown.distortion == (0.1, 0.2, 0.3, 0.4, 0.0)
    with pytest.raises(ValueError, match="k3"):
        Camera.from_opencv(640, 480, (500, 510, 320, 240), (0.1, 0, 0, 0, 0, 0.2))
    with pytest.raises(ValueError, match="fx, fy, cx, cy"):
        Camera.from_opencv(640, 480, (500, 510, 320), ())


def source_coordinates(width: int, height: int) -> np.ndarray:
    """(H, W, 2) picture whose colour is the pixel coordinate: resampling it says where each pixel came from."""
    u, v = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    return np.dstack([u, v])


def rays_of_every_pixel(camera: Camera) -> np.ndarray:
    return camera.unproject(source_coordinates(camera.width, camera.height).reshape(-1, 2))


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: c.projection.value)
@pytest.mark.parametrize("size", [(80, 60), (40, 40), (320, 240)])
def test_resized_camera_describes_a_really_resized_picture(camera: Camera, size: tuple[int, int]) -> None:
    camera = camera.resized(160, 120)
    shrinks = size[0] < camera.width
    picture = cv2.resize(
        source_coordinates(camera.width, camera.height),
        size,
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,  # float32 weights: right to 1e-4 px
    )
    # Enlarged border pixels repeat the border: their colour is not a coordinate.
    edge = 0 if shrinks else 2
    inner = (slice(edge, size[1] - edge), slice(edge, size[0] - edge))
    rays = rays_of_every_pixel(camera.resized(*size)).reshape(size[1], size[0], 3)[inner].reshape(-1, 3)
    expected = camera.unproject(picture[inner].reshape(-1, 2))
    assert np.abs(rays - expected).max() * camera.focal_x_px < 1e-4


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: c.projection.value)
def test_cropped_camera_describes_a_really_cropped_picture(camera: Camera) -> None:
    picture = source_coordinates(camera.width, camera.height)[50:100, 30:430]
    cropped = camera.cropped(30, 50, 400, 50)
    assert (cropped.width, cropped.height) == (400, 50)
    np.testing.assert_allclose(rays_of_every_pixel(cropped), camera.unproject(picture.reshape(-1, 2)), atol=1e-13)


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: c.projection.value)
@pytest.mark.parametrize("turns", [-1, 0, 1, 2, 3, 4])
def test_turned_camera_describes_a_really_turned_picture(camera: Camera, turns: int) -> None:
    camera = camera.resized(80, 60)
    picture = np.rot90(source_coordinates(camera.width, camera.height), turns)
    turned = camera.turned(turns)
    assert (turned.height, turned.width) == picture.shape[:2]
    expected = turned_from_cam(turns).apply(camera.unproject(picture.reshape(-1, 2)))
    np.testing.assert_allclose(rays_of_every_pixel(turned), expected, atol=1e-12)


def test_a_spherical_picture_is_turned_upside_down_but_not_sideways() -> None:
    camera = Camera.spherical(80, 40)
    picture = np.rot90(source_coordinates(80, 40), 2)
    expected = turned_from_cam(2).apply(camera.unproject(picture.reshape(-1, 2)))
    np.testing.assert_allclose(rays_of_every_pixel(camera.turned(2)), expected, atol=1e-12)
    with pytest.raises(ValueError, match="turn its pose"):
        camera.turned(1)


@pytest.mark.parametrize("window", [(0, 10, 80, 20), (60, 0, 20, 40), (7, 5, 30, 33)])
def test_a_part_of_a_sphere_sees_what_the_whole_sees_there(window: tuple[int, int, int, int]) -> None:
    whole = Camera.spherical(80, 40)
    left, top, width, height = window
    part = whole.cropped(*window)
    there = source_coordinates(80, 40)[top : top + height, left : left + width]
    expected = whole.unproject(there.reshape(-1, 2))
    np.testing.assert_allclose(rays_of_every_pixel(part), expected, atol=1e-12)
    back, visible = part.project(expected)
    assert visible.all()
    np.testing.assert_allclose(back, there.reshape(-1, 2) - [left, top], atol=1e-9)
    upside_down = turned_from_cam(2).apply(expected)[::-1]
    np.testing.assert_allclose(rays_of_every_pixel(part.turned(2)), upside_down, atol=1e-12)
    assert part.resized(3 * width, 3 * height).resized(width, height) == part
    assert part.cropped(-left, -top, 80, 40) == whole
    copy = pickle.loads(pickle.dumps(part))
    assert (copy, hash(copy)) == (part, hash(part))
    assert part.turned(2).turned(2) == part
    with pytest.raises(ValueError, match="part of a panorama"):
        part.cropped(0, 0, width - 1, height).to_opensfm()


def test_what_a_spherical_camera_cannot_do_is_refused() -> None:
    camera = Camera.spherical(800, 400)
    assert camera.resized(400, 200) == Camera.spherical(400, 200)
    for action in (
        lambda: camera.resized(400, 300),
        lambda: camera.cropped(0, 0, 10, 10).turned(1),
        lambda: camera.cropped(0, 0, 900, 10),
        lambda: camera.cropped(0, 0, 10, 10).with_focal_scaled(2),
        lambda: camera.with_focal_scaled(2),
        lambda: camera.intrinsic_matrix,
        lambda: Camera.spherical(400, 800),
        lambda: panorama_faces(BROWN),
    ):
        with pytest.raises(ValueError, match="spherical"):
            action()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(-50, 50), st.integers(-50, 50))
def test_resizing_and_cropping_compose(width: int, height: int, left: int, top: int) -> None:
    there = BROWN.resized(width, height).resized(BROWN.width, BROWN.height)
    assert there.focal_x_px == pytest.approx(BROWN.focal_x_px, rel=1e-12)
    assert there.principal_y_px == pytest.approx(BROWN.principal_y_px, rel=1e-12, abs=1e-9)
    assert BROWN.cropped(left, top, 100, 90).cropped(-left, -top, BROWN.width, BROWN.height) == BROWN


def upright_normalised(x: np.ndarray, y: np.ndarray, exif_orientation: int) -> tuple[np.ndarray, np.ndarray]:
    """Raw → upright position in 0…1 from the top-left corner (`docs/mapillary_api.md`)."""
    return {1: (x, y), 3: (1 - x, 1 - y), 6: (1 - y, x), 8: (y, 1 - x)}[exif_orientation]


@pytest.mark.parametrize(("exif_orientation", "angle_deg"), [(1, 0), (3, 180), (6, 90), (8, 270)])
@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: c.projection.value)
def test_both_recipes_for_orientation_agree(camera: Camera, exif_orientation: int, angle_deg: float) -> None:
    """(a) turn the picture back to raw and keep the camera; (b) keep it upright, turn camera and pose by Rz(a)."""
    turns_to_raw = COUNTER_CLOCKWISE_TURNS[exif_orientation]
    upright_from_cam = turned_from_cam(-turns_to_raw)
    assert (upright_from_cam * Rotation.from_euler("z", angle_deg, degrees=True).inv()).magnitude() < 1e-12

    points = np.random.default_rng(5).uniform([-1, -0.7, 2], [1, 0.7, 5], (200, 3))
    raw_px, raw_visible = camera.project(points)
    upright = camera.turned(-turns_to_raw)
    px, visible = upright.project(upright_from_cam.apply(points))
    assert raw_visible.all()
    assert visible.all()
    x, y = (raw_px[:, 0] + 0.5) / camera.width, (raw_px[:, 1] + 0.5) / camera.height
    expected_x, expected_y = upright_normalised(x, y, exif_orientation)
    np.testing.assert_allclose(px[:, 0], expected_x * upright.width - 0.5, atol=1e-9)
    np.testing.assert_allclose(px[:, 1], expected_y * upright.height - 0.5, atol=1e-9)


def test_sideways_coefficients_are_the_documented_ones() -> None:
    """Orientation 6: fx and fy change places, p1' = p2, p2' = −p1 (`docs/mapillary_api.md`)."""
    upright = BROWN.turned(-COUNTER_CLOCKWISE_TURNS[6])
    raw = dict(zip(COEFFICIENTS[Projection.BROWN], BROWN.distortion, strict=True))
    turned = dict(zip(COEFFICIENTS[Projection.BROWN], upright.distortion, strict=True))
    assert (upright.width, upright.height) == (480, 640)
    assert (upright.focal_x_px, upright.focal_y_px) == (510, 500)
    assert (turned["p1"], turned["p2"]) == (raw["p2"], -raw["p1"])
    assert (turned["k1"], turned["k2"], turned["k3"]) == (raw["k1"], raw["k2"], raw["k3"])
