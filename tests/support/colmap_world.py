"""A street reconstructed without error: posed cameras of known truth and the points that they see, for every reader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame, rotation_from_heading
from geocorrect.geometry.pose import Float, Pose
from geocorrect.geometry.projection import Projection
from geocorrect.geometry.similarity import Similarity

FRAME = Frame("Karlsruhe", 8.4, 49.0, 160.0)
WORLD_FROM_LOCAL = Similarity(2.5, Rotation.from_euler("xyz", [0.2, -0.3, 1.1]), np.array([12.0, -7.0, 3.0]))
CAMERA = Camera(Projection.BROWN, 320, 240, 250.0, 252.0, 161.2, 118.7, (-0.05, 0.01, 0.001, -0.0005, 0.0))


@dataclass(frozen=True)
class TrueImage:
    """One image of the street."""

    name: str
    camera: Camera
    world_from_cam: Pose

    @property
    def local_from_cam(self) -> Pose:
        return WORLD_FROM_LOCAL.inverse().apply_pose(self.world_from_cam)


def street(n: int = 8, *, straight: bool = False, camera: Camera = CAMERA) -> list[TrueImage]:
    """A drive round a bend (or straight on), level, looking ahead."""
    random = np.random.default_rng(3)
    images = []
    for k in range(n):
        bend = 0.0 if straight else 12.0 * k
        centre = [4.0 * k, 0.0 if straight else 0.6 * k * k, 1.6]
        rotation = rotation_from_heading(90.0 - bend, *(0.0, 0.0) if straight else random.normal(0, 1.5, 2))
        images.append(TrueImage(f"left/{k:04d}.png", camera, Pose(rotation, np.array(centre))))
    return images


def facade(n: int = 400) -> Float:
    """(n, 3) points in the world around the drive, in front of it too."""
    random = np.random.default_rng(5)
    return np.column_stack([random.uniform(-5, 60, n), random.uniform(-15, 45, n), random.uniform(0, 9, n)])


def write_pictures(folder: Path, images: Sequence[TrueImage]) -> None:
    for image in images:
        path = folder / image.name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((image.camera.height, image.camera.width, 3), np.uint8))


def seen_by(image: TrueImage, points_world: Float) -> tuple[Float, np.ndarray]:
    """((M, 2) px, (M,) rows) of the points that an image sees."""
    px, visible = image.camera.project(image.world_from_cam.inverse().apply(points_world))
    rows = np.flatnonzero(visible & image.camera.contains(np.nan_to_num(px, nan=-9.0)))
    return px[rows], rows


Seen = Callable[[TrueImage, Float], tuple[Float, np.ndarray]]


def write_colmap(
    folder: Path, images: Sequence[TrueImage], points_world: Float, *, binary: bool, seen: Seen = seen_by
) -> None:
    """The model of points that are seen without error; see `write_tracks`."""
    tracks: list[list[tuple[int, Float]]] = [[] for _ in points_world]
    for number, image in enumerate(images):
        for px, row in zip(*seen(image, points_world), strict=True):
            tracks[row].append((number, px))
    write_tracks(folder, images, list(zip(points_world, tracks, strict=True)), binary=binary)


def write_tracks(
    folder: Path, images: Sequence[TrueImage], tracks: Sequence[tuple[Float, list[tuple[int, Float]]]], *, binary: bool
) -> None:
    """The model as COLMAP's own library writes it, in the frame of the reconstruction.

    tracks: points in the world, and where (px) which image sees each; points that one image sees are left out.
    """
    import pycolmap

    model = pycolmap.Reconstruction()
    keypoints: list[list[Float]] = [[] for _ in images]
    elements = []
    for point, track in tracks:
        pairs = []
        for number, px in track:
            pairs.append((number + 1, len(keypoints[number])))
            keypoints[number].append(px + 0.5)
        elements.append((point, pairs))
    for number, image in enumerate(images, 1):
        c, d = image.camera, dict(zip(("k1", "k2", "p1", "p2"), image.camera.distortion, strict=False))
        parameters = [c.focal_x_px, c.focal_y_px, c.principal_x_px + 0.5, c.principal_y_px + 0.5, *d.values()]
        parameters += [0.0] * (8 - len(parameters))
        camera = pycolmap.Camera(model="OPENCV", width=c.width, height=c.height, params=parameters, camera_id=number)
        model.add_camera_with_trivial_rig(camera)
        pose = image.local_from_cam.inverse()
        rigid = pycolmap.Rigid3d(pycolmap.Rotation3d(pose.rotation.as_quat()), pose.translation_m)
        px = np.array(keypoints[number - 1], float).reshape(-1, 2)
        entry = pycolmap.Image(name=image.name, keypoints=px, camera_id=number, image_id=number)
        model.add_image_with_trivial_frame(entry, rigid)
    for point, pairs in elements:
        if len(pairs) > 1:
            track = pycolmap.Track([pycolmap.TrackElement(*pair) for pair in pairs])
            model.add_point3D(WORLD_FROM_LOCAL.inverse().apply(point), track, np.zeros(3, np.uint8))
    model.update_point_3d_errors()
    folder.mkdir(parents=True, exist_ok=True)
    (model.write_binary if binary else model.write_text)(str(folder))
