"""Ray offsets in pixels: what the tangent map says is what the camera does."""

from __future__ import annotations

import numpy as np
import pytest

from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.tangent import tangent_to_px, unit_rays

PINHOLE = Camera.pinhole(640, 480, 500.0, 510.0, 320.0, 238.0)
FISHEYE = Camera(Projection.FISHEYE, 640, 480, 300.0, 300.0, 320.0, 238.0, (0.01, -0.002))


@pytest.mark.parametrize("camera", [PINHOLE, FISHEYE])
def test_a_small_shift_comes_back_in_pixels(camera: Camera) -> None:
    px = np.array([[60.0, 50.0], [320.0, 240.0], [600.0, 400.0]])
    shift = np.array([[0.3, -0.2], [0.1, 0.4], [-0.25, 0.1]])
    rays = unit_rays(camera, px)
    offset = unit_rays(camera, px + shift) - rays
    back = np.einsum("nij,nj->ni", tangent_to_px(camera, rays), offset)
    np.testing.assert_allclose(back, shift, atol=2e-3)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", tangent_to_px(camera, rays), rays), 0.0, atol=1e-9)


def test_where_the_lens_sees_nothing_the_map_is_zero() -> None:
    np.testing.assert_array_equal(tangent_to_px(PINHOLE, np.full((1, 3), np.nan)), 0.0)
