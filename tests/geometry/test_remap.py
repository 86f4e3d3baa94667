"""Virtual pinholes: a painted world looks the same resampled from the real camera and through the pinhole itself."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.remap import panorama_faces, pixel_map

PANORAMA = Camera.spherical(1200, 600)
FISHEYE = Camera("fisheye", 640, 480, 240, 240, 319.5, 239.5, (-0.056222673982389, 0.0045142114791229))
BROWN = Camera("brown", 640, 480, 420, 425, 322.5, 236.25, (-0.2, 0.05, 0.003, -0.002, 0.01))


def painted(rays: np.ndarray) -> np.ndarray:
    """A smooth colour per direction, so that bilinear sampling is nearly exact; 3 channels in 0…1."""
    unit = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    return 0.5 + 0.4 * np.sin(3.0 * unit + np.array([0.3, 1.1, 2.0]))


def photographed(camera: Camera, world_from_cam: Rotation | None = None) -> np.ndarray:
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    rays = camera.unproject(np.column_stack([u.ravel(), v.ravel()]))
    rays = rays if world_from_cam is None else world_from_cam.apply(rays)
    return np.nan_to_num(painted(rays)).reshape(camera.height, camera.width, 3).astype(np.float32)


def pinhole_of(camera: Camera) -> Camera:
    return replace(camera, projection=Projection.PERSPECTIVE, distortion=())


def undistort(camera: Camera, pixels: np.ndarray) -> tuple[Camera, np.ndarray, np.ndarray]:
    """The picture as the pinhole of the same size sees it: (pinhole, pixels, mask of pixels with a source)."""
    mapping = pixel_map(camera, pinhole_of(camera))
    return pinhole_of(camera), mapping.apply(pixels), mapping.mask


@pytest.mark.long
@pytest.mark.parametrize("camera", [FISHEYE, BROWN], ids=lambda c: c.projection.value)
def test_undistorted_picture_is_what_the_pinhole_sees(camera: Camera) -> None:
    pinhole, pixels, mask = undistort(camera, photographed(camera))
    assert pixels.shape == (camera.height, camera.width, 3)
    assert mask.mean() > 0.6
    assert np.abs(pixels - photographed(pinhole))[mask].max() < 2e-3
    assert (pixels[~mask] == 0).all()


def test_a_turned_virtual_camera() -> None:
    virtual = Camera.pinhole(300, 200, 300, 300, 149.5, 99.5)
    virtual_from_cam = Rotation.from_euler("yxz", [25, -10, 5], degrees=True)
    mapping = pixel_map(FISHEYE, virtual, virtual_from_cam)
    assert mapping.mask.mean() > 0.9
    expected = photographed(virtual, virtual_from_cam.inv())
    assert np.abs(mapping.apply(photographed(FISHEYE)) - expected)[mapping.mask].max() < 2e-3


@pytest.mark.parametrize(("count", "fov_deg"), [(4, 90.0), (4, 100.0), (6, 75.0), (8, 60.0)])
def test_faces_show_the_panorama_without_gap_or_seam(count: int, fov_deg: float) -> None:
    faces = panorama_faces(PANORAMA, count, fov_deg)
    assert len(faces) == count
    picture = photographed(PANORAMA)
    for face_from_cam, face in faces:
        mapping = pixel_map(PANORAMA, face, face_from_cam)
        assert mapping.mask.all()
        expected = photographed(face, face_from_cam.inv())
        assert np.abs(mapping.apply(picture) - expected).max() < 2e-3
    azimuth = np.radians(np.linspace(0, 360, 721))
    horizon = np.column_stack([np.sin(azimuth), np.zeros_like(azimuth), np.cos(azimuth)])
    seen = [face.contains(face.project(turn.apply(horizon))[0] * 0.999999) for turn, face in faces]
    assert np.any(seen, axis=0).all()


@pytest.mark.parametrize(
    ("window", "count"),
    [((0, 150, 1200, 300), 4), ((300, 0, 600, 600), 2), ((0, 0, 1200, 450), 4), ((700, 100, 300, 400), 1)],
    ids=["band", "180 degrees", "lower pole missing", "narrow, to the right"],
)
def test_faces_of_a_part_show_what_it_holds_and_mask_the_rest(window: tuple[int, int, int, int], count: int) -> None:
    part = PANORAMA.cropped(*window)
    left, top, width, height = window
    picture = photographed(PANORAMA)[top : top + height, left : left + width]
    faces = panorama_faces(part)
    assert len(faces) == count
    shown = np.zeros((height, width), bool)
    for face_from_cam, face in faces:
        mapping = pixel_map(part, face, face_from_cam)
        wanted = photographed(face, face_from_cam.inv())
        assert mapping.mask.mean() > 0.2
        assert np.abs(mapping.apply(picture) - wanted)[mapping.mask].max() < 6e-3
        assert (mapping.apply(picture)[~mapping.mask] == 0).all()
        x, y = (np.rint(v[mapping.mask]).astype(int) for v in (mapping.source_x_px, mapping.source_y_px))
        shown[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] = True
    near_horizon = slice(max(0, 200 - top), min(height, 400 - top))
    assert shown[near_horizon].mean() > 0.99


def test_faces_go_round_to_the_right() -> None:
    ahead = [turn.inv().apply([0.0, 0.0, 1.0]) for turn, _ in panorama_faces(PANORAMA, 4, 95.0)]
    np.testing.assert_allclose(ahead, [[0, 0, 1], [1, 0, 0], [0, 0, -1], [-1, 0, 0]], atol=1e-12)
    face = panorama_faces(PANORAMA, 4, 90.0)[0][1]
    assert 1.0 / face.focal_x_px == pytest.approx(2 * math.pi / PANORAMA.width, rel=0.01)


def test_rays_that_the_real_camera_has_not_are_masked() -> None:
    virtual = Camera.pinhole(100, 100, 50, 50, 49.5, 49.5)
    backwards = pixel_map(BROWN, virtual, Rotation.from_euler("y", 180, degrees=True))
    assert not backwards.mask.any()
    assert np.isnan(backwards.source_x_px).all()
    assert (backwards.apply(photographed(BROWN)) == 0).all()
    folding = Camera("simple_radial", 640, 480, 300, 300, 319.5, 239.5, (-0.3,))
    wide = pixel_map(folding, Camera.pinhole(801, 3, 100, 100, 400, 1))
    limit = 100 / math.sqrt(0.9)
    inside = np.abs(np.arange(801) - 400) < limit
    np.testing.assert_array_equal(wide.mask[1], inside)


@pytest.mark.long
def test_grey_and_8_bit_pictures() -> None:
    grey = (photographed(BROWN)[..., 0] * 255).astype(np.uint8)
    mapping = pixel_map(BROWN, BROWN)
    assert mapping.mask.mean() > 0.999
    same = mapping.apply(grey)
    assert same.dtype == np.uint8
    assert np.abs(same.astype(int) - grey)[mapping.mask].max() <= 1


@pytest.mark.parametrize(("count", "fov_deg"), [(3, 130.0), (4, 80.0), (4, 175.0), (0, 95.0)])
def test_faces_that_leave_gaps_are_refused(count: int, fov_deg: float) -> None:
    with pytest.raises(ValueError, match="faces"):
        panorama_faces(PANORAMA, count, fov_deg)


@pytest.mark.parametrize("camera", [FISHEYE, BROWN], ids=lambda c: c.projection.value)
def test_maps_are_opencvs(camera: Camera) -> None:
    matrix, distortion, kind = camera.to_opencv()
    pinhole = pinhole_of(camera)
    new, size = pinhole.intrinsic_matrix, (pinhole.width, pinhole.height)
    initialise = cv2.fisheye.initUndistortRectifyMap if kind == "fisheye" else cv2.initUndistortRectifyMap
    expected_x, expected_y = initialise(matrix, distortion, np.eye(3), new, size, cv2.CV_32FC1)
    mapping = pixel_map(camera, pinhole)
    assert mapping.mask.mean() > 0.6
    np.testing.assert_allclose(mapping.source_x_px[mapping.mask], expected_x[mapping.mask], atol=1e-3)
    np.testing.assert_allclose(mapping.source_y_px[mapping.mask], expected_y[mapping.mask], atol=1e-3)


@pytest.mark.data
def test_a_real_photo_undistorted_by_its_real_parameters(shared_data: Path) -> None:
    folder = shared_data / "opensfm_berlin"
    (parameters,) = json.loads((folder / "reconstruction_example.json").read_text())[0]["cameras"].values()
    pixels = cv2.resize(cv2.imread(str(folder / "images" / "01.jpg")), (816, 612), interpolation=cv2.INTER_AREA)
    camera = Camera.from_opensfm(parameters, 816, 612)
    pinhole, undistorted, mask = undistort(camera, pixels)
    matrix, distortion, _ = camera.to_opencv()
    expected = cv2.undistort(pixels, matrix, distortion, newCameraMatrix=pinhole.intrinsic_matrix)
    assert 0.97 < mask.mean() < 1.0
    difference = np.abs(undistorted.astype(int) - expected)[mask]
    # OpenCV paints the border black where a neighbour is missing; inside, both agree to rounding of the weights.
    assert np.percentile(difference, 99.5) <= 2
    moved = np.abs(undistorted.astype(int) - pixels)[mask]
    assert moved.mean() > 5 * difference.mean(), "the parameters really move pixels"
