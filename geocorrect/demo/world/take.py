"""Take every picture and scan of a demo world, on all cores."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from geocorrect.demo.render.photography import Exposure, photograph
from geocorrect.demo.render.rays import RayGrid
from geocorrect.demo.render.render import render
from geocorrect.demo.render.scan import LidarModel, scan
from geocorrect.demo.render.sky import Sky
from geocorrect.demo.render.surfaces import Quad, Scene
from geocorrect.demo.street.canvas import Seed
from geocorrect.demo.street.cars import car
from geocorrect.demo.world.drives import Drive
from geocorrect.demo.world.plan import WorldPlan, WorldSize, street_from_raw
from geocorrect.demo.world.shots import Shot
from geocorrect.demo.world.write_vbr import write_frame
from geocorrect.geometry.pose import Pose
from geocorrect.io.pixels import COUNTER_CLOCKWISE_TURNS
from geocorrect.records import Float32, ImageArray

ANCHOR_EXPOSURE = Exposure(stops=0.0, contrast=1.0, vignette=0.12, noise=1.5, defocus_px=0.45)
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Task:
    """One picture to take."""

    folder: Path
    drive: str
    """Name of the drive whose anchor it is (with its scan), or "photo"."""
    index: int


class Studio:
    """One process's world: its plan, skies and cameras, cached between pictures."""

    def __init__(self, seed: int, size: WorldSize) -> None:
        self.plan = WorldPlan(seed, size)
        self._lidar = LidarModel(columns=size.lidar_columns)
        self.sky = lru_cache(maxsize=16)(Sky.painted)
        self.rays = lru_cache(maxsize=8)(RayGrid.of)

    def take(self, task: Task) -> None:
        """Write the files of one task."""
        if task.drive == "photo":
            shot = self.plan.shots[task.index]
            _write_jpeg(task.folder / f"{shot.id}.jpg", self.photo(shot))
            return
        drive = next(drive for drive in self.plan.drives if drive.name == task.drive)
        write_frame(task.folder, task.index, *self.anchor(drive, task.index))

    def photo(self, shot: Shot) -> ImageArray:
        """The upright picture of a photo."""
        street = self.plan.other_street if shot.kind == "other street" else self.plan.street
        ahead = _car_ahead(shot.street_from_upright, shot.car_ahead_m, (int(shot.id) % 10**9,))
        device = shot.plan.device
        rays = self.rays(device.camera(self.plan.size.image_scale))
        view = render(Scene.of([*street.quads, *ahead]), self.sky(shot.plan.sky_seed, 0.5), rays, street_from_raw(shot))
        pixels = photograph(view, shot.exposure, (self.plan.seed, int(shot.id)))
        return np.ascontiguousarray(np.rot90(pixels, -COUNTER_CLOCKWISE_TURNS[device.exif_orientation]))

    def anchor(self, drive: Drive, index: int) -> tuple[ImageArray, Float32]:
        """Picture and scan of an anchor; every third image of the second drive meets a moving car."""
        street_from_cam, street_from_lidar = self.plan.street_from_anchor(drive, index)
        seed = (self.plan.seed, drive.direction + 1, index)
        distance = 9.0 + 5.0 * (index % 4) if drive.direction < 0 and index % 3 == 1 else float("nan")
        scene = Scene.of([*self.plan.street.quads, *_car_ahead(street_from_cam, distance, seed)])
        view = render(scene, self.sky(drive.direction + 41, 0.45), self.rays(self.plan.anchor_camera), street_from_cam)
        return photograph(view, ANCHOR_EXPOSURE, seed), scan(scene, self._lidar, street_from_lidar, seed)


def _car_ahead(street_from_cam: Pose, distance_m: float, seed: Seed) -> list[Quad]:
    """An oncoming car in the other lane, that no other picture shows at this place; none for nan."""
    if np.isnan(distance_m):
        return []
    along = 1.0 if street_from_cam.rotation.as_matrix()[0, 2] > 0 else -1.0
    centre = (float(street_from_cam.translation_m[0]) + along * distance_m, along * 1.5)
    return car((*seed, 77), centre, 180.0 if along > 0 else 0.0)[0]


def take_all(
    seed: int, size: WorldSize, tasks: Sequence[Task], workers: int, progress: Callable[[int, int], None] | None
) -> None:
    """Take all pictures; each process paints the surfaces that it sees, so results do not depend on their number."""
    report = progress or (lambda done, total: None)
    if workers <= 1:
        studio = Studio(seed, size)
        for done, task in enumerate(tasks, 1):
            studio.take(task)
            report(done, len(tasks))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(tasks)), context) as pool:
        futures = [pool.submit(_take, seed, size, task) for task in tasks]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                report(done, len(tasks))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@lru_cache(maxsize=1)
def _studio(seed: int, size: WorldSize) -> Studio:
    """That of a worker process."""
    cv2.setNumThreads(1)
    return Studio(seed, size)


def _take(seed: int, size: WorldSize, task: Task) -> None:
    _studio(seed, size).take(task)


def _write_jpeg(path: Path, pixels: ImageArray) -> None:
    if not cv2.imwrite(str(path), pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
        raise OSError(f"{path}: could not be written")
