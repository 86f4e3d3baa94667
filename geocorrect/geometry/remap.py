"""Resampling a picture of any camera model into a virtual pinhole with the same centre (undistortion, panorama faces).

Every output pixel's ray is rotated into the real camera and projected by its forward model: closed form, no iteration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.camera import Camera, Projection

_ROWS_AT_ONCE = 256
"""Rows per block: float64 rays of a whole 12-megapixel picture would need more than a gigabyte."""


@dataclass(frozen=True, eq=False)
class PixelMap:
    """Where each pixel of the virtual picture comes from."""

    source_x_px: NDArray[np.float32]
    """(H, W) columns in the real picture, nan where mask is False."""
    source_y_px: NDArray[np.float32]
    """(H, W) rows in the real picture, nan where mask is False."""
    mask: NDArray[np.bool_]
    """(H, W) which pixels have a source."""
    wraps: bool
    """The real picture is a panorama whose left and right edges meet."""

    def apply(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Resample (H, W) or (H, W, C) pixels bilinearly; 0 where mask is False."""
        import cv2

        # Half a pixel beyond the outermost centres still belongs to the picture: repeat the border, or go round.
        border = cv2.BORDER_WRAP if self.wraps else cv2.BORDER_REPLICATE
        x, y = np.nan_to_num(self.source_x_px), np.nan_to_num(self.source_y_px)
        if self.wraps:
            y = np.clip(y, 0, len(pixels) - 1)
        virtual: NDArray[Any] = cv2.remap(pixels, x, y, cv2.INTER_LINEAR, borderMode=border)
        virtual[~self.mask] = 0
        return virtual


def pixel_map(camera: Camera, virtual: Camera, virtual_from_cam: Rotation | None = None) -> PixelMap:
    """Map from a real camera's picture to a virtual pinhole turned by `virtual_from_cam` (default: not turned).

    Masked out: rays behind the camera, beyond the field on which its distortion is one-to-one, or off its raster. The
    virtual picture's pose is cam_from_world → virtual_from_cam · cam_from_world, same centre.
    """
    shape = (virtual.height, virtual.width)
    x, y = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    mask = np.zeros(shape, bool)
    columns = np.arange(virtual.width, dtype=np.float64)
    for top in range(0, virtual.height, _ROWS_AT_ONCE):
        rows = np.arange(top, min(top + _ROWS_AT_ONCE, virtual.height), dtype=np.float64)
        u, v = np.meshgrid(columns, rows)
        rays = virtual.unproject(np.column_stack([u.ravel(), v.ravel()]))
        if virtual_from_cam is not None:
            rays = rays @ virtual_from_cam.as_matrix()  # row vectors: this applies the inverse
        px, _ = camera.project(rays)
        inside = camera.contains(px).reshape(u.shape)
        block = slice(top, top + len(rows))
        mask[block] = inside
        x[block] = np.where(inside, px[:, 0].reshape(u.shape), np.nan)
        y[block] = np.where(inside, px[:, 1].reshape(u.shape), np.nan)
    return PixelMap(x, y, mask, camera.is_full_circle)


def panorama_faces(camera: Camera, count: int = 4, fov_deg: float = 95.0) -> list[tuple[Rotation, Camera]]:
    """Square virtual pinholes around the horizon of a spherical camera as (face_from_cam, camera), same centre.

    count ≥ 4 faces, the first looks forward, the next to the right; fov_deg must be wide enough to leave no gap. A part
    of a panorama has only those that it fills, about its middle, from left to right; what it does not show of them is
    masked by `pixel_map`. The resolution at the face's centre is the panorama's.
    """
    if camera.projection is not Projection.SPHERICAL:
        raise ValueError("panorama_faces is for spherical cameras")
    if count < 4 or not 360.0 / count <= fov_deg < 170.0:
        raise ValueError(f"need ≥ 4 faces of {360 / max(count, 4):g}°…170°, got {count} of {fov_deg}°")
    half_width = math.tan(math.radians(fov_deg) / 2)
    side = round(2 * half_width * camera.circle_px / (2 * math.pi))
    if side < 1:
        raise ValueError(f"a panorama of {camera.circle_px:g} pixels around is too small for {count} faces")
    focal, centre = side / 2 / half_width, (side - 1) / 2
    face = Camera.pinhole(side, side, focal, focal, centre, centre)
    step_deg, first_deg = 360.0 / count, 0.0
    needed = max(1, 1 + math.ceil((camera.horizontal_fov_deg - fov_deg) / step_deg))
    if needed < count and not camera.is_full_circle:
        middle_deg = ((camera.width - 1) / 2 - camera.principal_x_px) * 360.0 / camera.circle_px
        count, first_deg = needed, middle_deg - (needed - 1) / 2 * step_deg
    azimuths_deg = [first_deg + step_deg * i for i in range(count)]
    return [(Rotation.from_euler("y", -azimuth_deg, degrees=True), face) for azimuth_deg in azimuths_deg]
