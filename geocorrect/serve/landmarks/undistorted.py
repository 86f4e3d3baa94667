"""The photo as a camera without distortion would show it: straight edges are straight. Clicks stay in raw pixels."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np

from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.remap import PixelMap, pixel_map
from geocorrect.io.pixels import read_image
from geocorrect.records import Float

WIDEST_DEG = 60.0
"""Off the axis; farther out a plane picture is mostly stretched edges."""
QUALITY = 95


@lru_cache(8)
def undistorted_camera(camera: Camera) -> Camera | None:
    """The pinhole of the same focal length that shows all of the photo; None for a photo that has no distortion."""
    is_plain = camera.projection is Projection.PERSPECTIVE and not any(camera.distortion)
    if is_plain or camera.projection is Projection.SPHERICAL:
        return None
    pinhole = Camera.pinhole(
        camera.width, camera.height, camera.focal_x_px, camera.focal_y_px, camera.principal_x_px, camera.principal_y_px
    )
    u, v = np.meshgrid(np.linspace(0, camera.width - 1, 33), np.linspace(0, camera.height - 1, 33))
    rays = camera.unproject(np.stack([u.ravel(), v.ravel()], axis=1))
    with np.errstate(invalid="ignore"):
        kept = rays[:, 2] > math.cos(math.radians(WIDEST_DEG))
    px, visible = pinhole.project(rays[kept])
    left, top = np.floor(px[visible].min(axis=0)).astype(int).tolist()
    right, bottom = np.ceil(px[visible].max(axis=0)).astype(int).tolist()
    return pinhole.cropped(left, top, right - left + 1, bottom - top + 1)


@lru_cache(2)
def _map(camera: Camera, virtual: Camera) -> PixelMap:
    return pixel_map(camera, virtual)


def undistorted_jpeg(path: Path, camera: Camera) -> bytes:
    """The picture file without its distortion; InputError when it cannot be read or is not of this camera."""
    import cv2

    virtual = undistorted_camera(camera)
    if virtual is None:
        raise InputError(f"{path.name}: its camera has no distortion")
    pixels = read_image(path)
    if pixels.shape[:2] != (camera.height, camera.width):
        raise InputError(f"{path.name}: not {camera.width}×{camera.height} pixels, as its calibration says")
    seen = _map(camera, virtual).apply(pixels)
    _, encoded = cv2.imencode(".jpg", seen[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return encoded.tobytes()


def undistorted_px(camera: Camera, px: Float) -> Float:
    """(N, 2) raw pixels in the undistorted picture, nan where it does not show them."""
    virtual = undistorted_camera(camera)
    return px if virtual is None else virtual.project(camera.unproject(px))[0]


def raw_px(camera: Camera, px: Float) -> Float:
    """(N, 2) pixels of the undistorted picture in the raw one, nan beyond its edges."""
    virtual = undistorted_camera(camera)
    if virtual is None:
        return px
    raw, _ = camera.project(virtual.unproject(px))
    return np.where(camera.contains(raw)[:, None], raw, np.nan)
