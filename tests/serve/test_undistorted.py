"""The undistorted photo: pixels go there and back, straight edges are straight, the picture shows what it should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera, Projection
from geocorrect.serve.landmarks.undistorted import raw_px, undistorted_camera, undistorted_jpeg, undistorted_px

BARREL = Camera.from_opencv(400, 300, (260.0, 262.0, 203.0, 148.0), (-0.28, 0.08, 0.001, -0.0005))
FISHEYE = Camera(Projection.FISHEYE, 400, 300, 150.0, 150.0, 199.5, 149.5, (0.02, -0.004))
PLAIN = Camera.pinhole(400, 300, 260.0, 260.0, 199.5, 149.5)


@pytest.mark.parametrize("camera", [BARREL, FISHEYE], ids=["barrel", "fisheye"])
def test_pixels_go_there_and_back_and_lines_become_straight(camera: Camera) -> None:
    u, v = np.meshgrid(np.arange(70.0, 330.0, 20.0), np.arange(50.0, 250.0, 20.0))
    px = np.stack([u.ravel(), v.ravel()], axis=1)
    assert raw_px(camera, undistorted_px(camera, px)) == pytest.approx(px, abs=1e-4)
    edge = np.stack([np.linspace(-1.0, 1.2, 30), np.full(30, 0.6), np.full(30, 2.0)], axis=1)
    seen, _ = camera.project(edge)
    assert bend_px(seen) > 1.0
    assert bend_px(undistorted_px(camera, seen)) < 1e-3
    virtual = undistorted_camera(camera)
    assert virtual is not None
    beyond = raw_px(camera, np.array([[-500.0, -500.0], [virtual.width / 2, virtual.height / 2]]))
    assert np.isfinite(beyond).all(axis=1).tolist() == [False, True]


def bend_px(px: np.ndarray) -> float:
    along = px[-1] - px[0]
    normal = np.array([-along[1], along[0]]) / np.hypot(*along)
    return float(np.abs((px - px[0]) @ normal).max())


def test_the_picture_shows_a_mark_where_its_pixel_goes(tmp_path: Path) -> None:
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[239:242, 59:62] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(undistorted_jpeg(tmp_path / "a.png", BARREL))
    seen = np.asarray(Image.open(tmp_path / "b.jpg").convert("L"), float)
    virtual = undistorted_camera(BARREL)
    assert virtual is not None
    assert seen.shape == (virtual.height, virtual.width)
    row, column = np.nonzero(seen > 100)
    assert [column.mean(), row.mean()] == pytest.approx(undistorted_px(BARREL, np.array([[60.0, 240.0]]))[0], abs=0.5)


def test_without_distortion_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert undistorted_camera(PLAIN) is None
    assert undistorted_camera(Camera.spherical(400, 200)) is None
    px = np.array([[3.0, 4.0]])
    assert raw_px(PLAIN, px).tolist() == undistorted_px(PLAIN, px).tolist() == px.tolist()
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="no distortion"):
        undistorted_jpeg(tmp_path / "a.png", PLAIN)
    with pytest.raises(InputError, match="not 400×300 pixels"):
        undistorted_jpeg(tmp_path / "a.png", BARREL)
