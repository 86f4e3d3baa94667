"""Vehicles driven into recorded pictures and scans: textured faces that all cameras see where they are at their time.

A face is a rectangle of the world that moves at one velocity. In each picture it is drawn with the perspective of that
camera at that instant, and the returns of the scan that it hides lie on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.anchors.readers.kitti.raw import KittiImage
from geocorrect.anchors.scan import KITTI_BIN, read_scan
from geocorrect.geometry.pose import Pose
from geocorrect.io.pixels import read_image
from geocorrect.records import ImageArray

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

NEAREST_M = 0.5
TEXTURE_PX_PER_M = 60.0
TEXTURE_ROWS = slice(130, 330)
"""Of a picture of KITTI: walls, vehicles and trees, no sky."""


@dataclass(frozen=True)
class Face:
    """A rectangle in the axes of the leading camera at the leading instant: x right, y down, z forward, in metres."""

    corner_m: tuple[float, float, float]
    across_m: tuple[float, float, float]
    down_m: tuple[float, float, float]
    copies: int = 1
    """How often the same picture is repeated across it: a façade of equal bays."""


def _bays(period_m: int) -> tuple[Face, Face]:
    """Walls along the street, on the left and on the right."""
    copies = 80 // period_m
    return (
        Face((-5.0, -6.0, 60.0), (0.0, 0.0, -80.0), (0.0, 7.5, 0.0), copies),
        Face((5.5, -6.0, -20.0), (0.0, 0.0, 80.0), (0.0, 7.5, 0.0), copies),
    )


LAYOUTS: dict[str, tuple[Face, ...]] = {
    "a lorry ahead": (Face((-1.6, -2.2, 9.0), (3.4, 0.0, 0.0), (0.0, 3.6, 0.0)),),
    "a queue": (
        Face((-3.0, -1.8, 26.0), (0.0, 0.0, -20.0), (0.0, 3.3, 0.0)),
        Face((3.4, -1.8, 6.0), (0.0, 0.0, 20.0), (0.0, 3.3, 0.0)),
        Face((-1.6, -2.2, 9.0), (3.4, 0.0, 0.0), (0.0, 3.6, 0.0)),
    ),
    "equal bays": _bays(4),
    "equal bays on one side": _bays(4)[:1],
    **{f"equal bays of {period_m} m": _bays(period_m) for period_m in (2, 5, 8)},
    **{f"equal bays of {period_m} m on one side": _bays(period_m)[:1] for period_m in (2, 5, 8)},
}
"""Far faces first: a lorry's rear; with it a lane of buses on either side; façades that repeat themselves, every 4 m
where nothing is said."""


@dataclass(frozen=True, eq=False)
class Traffic:
    """Vehicles on a drive, all at one velocity."""

    faces: tuple[Face, ...]
    textures: tuple[ImageArray, ...]
    leading: KittiImage
    velocity_m_s: Float
    """(3,) in the world."""

    def draw(self, image: KittiImage, pixels: ImageArray) -> tuple[ImageArray, Float]:
        """The picture with the vehicles where they are at its instant, and their (H, W) depth, nan elsewhere."""
        assert image.captured_at is not None
        assert self.leading.captured_at is not None
        later_s = (image.captured_at - self.leading.captured_at).total_seconds()
        there = self.leading.world_from_cam
        moved = Pose(there.rotation, there.translation_m + later_s * self.velocity_m_s)
        cam_from_faces = image.world_from_cam.inverse() @ moved
        pixels, depth_m = pixels.copy(), np.full(pixels.shape[:2], np.nan)
        row, column = np.indices(pixels.shape[:2])
        rays = image.camera.unproject(np.column_stack([column.ravel(), row.ravel()]).astype(float))
        rays = rays / rays[:, 2:]
        for face, texture in zip(self.faces, self.textures, strict=True):
            corner_m = cam_from_faces.apply(np.array(face.corner_m))
            across, down = cam_from_faces.rotation.apply(np.array([face.across_m, face.down_m]))
            # Where a ray meets the face: its length, and how far across and down the point is.
            s, t, z_m = np.linalg.solve(
                np.stack([np.broadcast_to(-across, rays.shape), np.broadcast_to(-down, rays.shape), rays], axis=2),
                np.broadcast_to(corner_m, rays.shape)[..., None],
            )[..., 0].T
            hit = (s >= 0) & (s < 1) & (t >= 0) & (t < 1) & (z_m > NEAREST_M)
            hit &= ~(z_m > np.nan_to_num(depth_m.ravel(), nan=np.inf))
            x, y = (np.where(hit, side * length, -1.0).reshape(pixels.shape[:2]).astype(np.float32)
                    for side, length in ((s, texture.shape[1] - 1), (t, texture.shape[0] - 1)))  # fmt: skip
            seen = cv2.remap(texture, x, y, cv2.INTER_LINEAR)
            pixels[hit.reshape(x.shape)] = seen[hit.reshape(x.shape)]
            depth_m.reshape(-1)[hit] = z_m[hit]
        return pixels, depth_m

    def recorded(self, image: KittiImage, folder: Path) -> KittiImage:
        """The image with picture and scan as they would have been recorded, written into the folder."""
        assert image.lidar is not None
        pixels, depth_m = self.draw(image, read_image(image.path))
        name = f"{image.camera_name}-{image.frame_number}"
        cv2.imwrite(str(folder / f"{name}.png"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        scan, cam_from_lidar = (
            read_scan(image.lidar.path, image.lidar.format).points_lidar_m,
            image.lidar.cam_from_lidar,
        )
        in_cam = cam_from_lidar.apply(scan)
        px, visible = image.camera.project(in_cam)
        column, row = np.rint(np.where(visible[:, None], px, -1.0)).astype(int).T
        inside = visible & (column >= 0) & (row >= 0) & (column < depth_m.shape[1]) & (row < depth_m.shape[0])
        face_m = np.full(len(scan), np.nan)
        face_m[inside] = depth_m[row[inside], column[inside]]
        hidden = face_m < in_cam[:, 2]
        in_cam[hidden] *= (face_m[hidden] / in_cam[hidden, 2])[:, None]
        points = np.column_stack([cam_from_lidar.inverse().apply(in_cam), np.zeros(len(scan))])
        points.astype("<f4").tofile(folder / f"{name}.bin")
        lidar = replace(image.lidar, path=folder / f"{name}.bin", format=KITTI_BIN)
        return replace(image, path=folder / f"{name}.png", lidar=lidar)


def traffic_of(
    layout: str, speed: float, leading: KittiImage, following: KittiImage, pictures: Sequence[ImageArray]
) -> Traffic:
    """Vehicles around the leading image.

    Args:
        layout: one of LAYOUTS.
        speed: over that of the camera: 1 moves along, 0 stands, −1 comes the other way.
        leading: whose camera the layout is given in.
        following: the next image of its camera.
        pictures: whose mirrored parts are the vehicles' sides.
    """
    assert leading.captured_at is not None
    assert following.captured_at is not None
    step_s = (following.captured_at - leading.captured_at).total_seconds()
    step_m = following.world_from_cam.translation_m - leading.world_from_cam.translation_m
    faces = LAYOUTS[layout]
    textures: list[ImageArray] = []
    for number, face in enumerate(faces):
        across_m, down_m = float(np.linalg.norm(face.across_m)) / face.copies, float(np.linalg.norm(face.down_m))
        size = [round(TEXTURE_PX_PER_M * side) for side in (across_m, down_m)]
        part = pictures[number % len(pictures)][TEXTURE_ROWS, ::-1]
        width = min(round(part.shape[0] * size[0] / size[1]), part.shape[1])
        side = np.ascontiguousarray(part[:, :width])
        bay = cv2.resize(side, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
        textures.append(np.tile(bay, (1, face.copies, 1)))
    return Traffic(faces, tuple(textures), leading, speed * step_m / step_s)
