"""A dense drive through the demo street, with a stereo pair, and the mistakes that people make with its poses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np

from geocorrect.anchors.alignment import Alignment
from geocorrect.demo.render.lidar import scan
from geocorrect.demo.render.render import photograph, render
from geocorrect.demo.render.surfaces import Scene
from geocorrect.demo.world.build import ANCHOR_EXPOSURE, Studio
from geocorrect.demo.world.drives import ENU_FROM_STREET, FRAME, LIDAR_FROM_CAMERA, Drive
from geocorrect.demo.world.plan import SIZES
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.records import Anchor, LidarScan

DRIVE = Drive("dense", 7, +1, 5.0, 1.3, 10, 1000.0)
BACK = Drive("back", 7, -1, 30.0, 1.3, 3, 5000.0)
START = datetime(2024, 5, 1, 10, tzinfo=UTC)
LEFT_FROM_RIGHT = Pose(ENU_FROM_STREET.rotation.identity(), np.array([0.5, 0.0, 0.0]))
STEREO = (1, 4, 7)
"""Images of the dense drive that have a right one, too."""


@dataclass(frozen=True)
class Taken:
    """One picture: where its file is and the truth of it."""

    id: str
    path: Path
    drive: Drive
    time_s: float
    is_right: bool = False

    def pose(self, delay_s: float = 0.0) -> Pose:
        """World pose at its time, or a little later."""
        left = ENU_FROM_STREET @ self.drive.street_from_lidar(self.time_s + delay_s) @ LIDAR_FROM_CAMERA
        return left @ LEFT_FROM_RIGHT if self.is_right else left


def render_pictures(folder: Path) -> tuple[list[Taken], Camera]:
    studio = Studio(7, SIZES["small"])
    camera, scene = studio.plan.anchor_camera, Scene.of(studio.plan.street.quads)
    taken = []
    for drive in (DRIVE, BACK):
        for number, time_s in enumerate(drive.image_times_s()):
            sides = (False, True) if drive is DRIVE and number in STEREO else (False,)
            for is_right in sides:
                name = f"{drive.name}/{'right' if is_right else 'left'}/{number:03d}"
                one = Taken(name, folder / f"{name.replace('/', '_')}.png", drive, float(time_s), is_right)
                street_from_cam = ENU_FROM_STREET.inverse() @ one.pose()
                seen = render(scene, studio.sky(41, 0.45), studio.rays(camera), street_from_cam)
                cv2.imwrite(str(one.path), photograph(seen, ANCHOR_EXPOSURE, (7, number))[..., ::-1])
                if drive is DRIVE and not is_right and number % 2 == 0:
                    cloud = scan(scene, studio._lidar, street_from_cam @ LIDAR_FROM_CAMERA.inverse(), (7, number))
                    cloud.astype("<f4").tofile(one.path.with_suffix(".bin"))
                taken.append(one)
    return taken, camera


def anchors_of(taken: Sequence[Taken], camera: Camera, pose: Callable[[Taken], Pose] = Taken.pose) -> list[Anchor]:
    """Anchors with the truth, or with what a mistake makes of it."""
    anchors = []
    for one in taken:
        at, cloud = START + timedelta(seconds=one.time_s), one.path.with_suffix(".bin")
        lidar = LidarScan(cloud, "kitti_bin", LIDAR_FROM_CAMERA.inverse()) if cloud.is_file() else None
        anchor = Anchor(one.id, "dense", one.path, camera, pose(one), "a", at, lidar, drive_id=one.drive.name)
        anchors.append(anchor)
    return anchors


def exchanged(anchors: Sequence[Anchor]) -> list[Anchor]:
    """The pictures of the rig's two cameras exchanged where there are two."""
    by_id = {anchor.id: anchor for anchor in anchors}
    other = {a.id: a.id.replace("left", "right") if "left" in a.id else a.id.replace("right", "left") for a in anchors}
    return [replace(a, path=by_id[other[a.id]].path) if other[a.id] in by_id else a for a in anchors]


@dataclass(frozen=True)
class Listed:
    """Anchors as files of anchors."""

    anchors: list[Anchor]

    def read(self) -> tuple[Alignment, list[Anchor]]:
        return Alignment(FRAME, Similarity.identity(), id="a"), self.anchors
