"""Build the demo world: a street, two anchor drives with LiDAR, and the photos of people who walked and drove there.

FOLDER/anchors/<drive>/   VBR layout (camera_left, ouster_points, vbr_calib.yaml, <drive>_gt.txt)
FOLDER/anchors/alignment.json   where the drives' local frame lies
FOLDER/photos/<id>.jpg    upright, as a provider delivers them
FOLDER/mapillary.json     API v4 metadata of the photos
FOLDER/truth.json         where each photo was really taken
FOLDER/manifest.json      written last: a world without it is unfinished and is built again
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from geocorrect.demo.render.lidar import LidarModel, scan
from geocorrect.demo.render.render import Exposure, photograph, render
from geocorrect.demo.render.surfaces import Quad, Scene
from geocorrect.demo.render.textures import Sky, Texture
from geocorrect.demo.render.visibility import RayGrid
from geocorrect.demo.street.canvas import Seed
from geocorrect.demo.street.furniture import car
from geocorrect.demo.world.drives import Drive, write_alignment, write_drive, write_frame
from geocorrect.demo.world.plan import SIZES, WorldPlan, WorldSize, street_from_raw
from geocorrect.demo.world.shots import Shot
from geocorrect.demo.world.truth import DemoTruth, read_truth
from geocorrect.errors import OutputError
from geocorrect.geometry.pose import Pose
from geocorrect.io.checksum import sha256_of
from geocorrect.io.pixels import COUNTER_CLOCKWISE_TURNS
from geocorrect.records import Float32, ImageArray
from geocorrect.workers.freed_memory import keep_freed_memory
from geocorrect.workers.process import one_thread_per_child

VERSION = "7"
"""Raise it whenever the same seed would give other files."""
MANIFEST = "manifest.json"
Progress = Callable[[int, int], None]
"""Called with frames done and frames in all."""


@dataclass(frozen=True, eq=False)
class DemoWorld:
    """A finished world on disk."""

    folder: Path
    truth: DemoTruth
    metadata: tuple[dict[str, Any], ...]
    """API v4 records."""
    photos: dict[str, Path]
    """File of each image id."""
    drives: tuple[Path, ...]
    """Folders of the anchors."""
    alignment: Path


def build_world(
    folder: Path, seed: int = 7, size: str = "full", workers: int | None = None, progress: Progress | None = None
) -> DemoWorld:
    """The world of a seed and size under folder; one that is already there and whole is reused, any other replaced.

    Args:
        folder: of this world alone.
        seed: the same seed and size give the same bytes.
        size: "full" or "small".
        workers: processes to render with; None takes one per available core.
        progress: called after every frame.

    Raises:
        OutputError: the folder cannot be written.
    """
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
    identity = {"version": VERSION, "seed": seed, "size": size}
    if not _matches_manifest(folder, identity):
        _build(folder, WorldPlan(seed, SIZES[size]), identity, workers or cores(), progress)
    return open_world(folder)


def open_world(folder: Path) -> DemoWorld:
    """A world built before; InputError when it is not whole."""
    truth = read_truth(folder / "truth.json")
    metadata = tuple(json.loads((folder / "mapillary.json").read_text(encoding="utf-8")))
    photos = {record["id"]: folder / "photos" / f"{record['id']}.jpg" for record in metadata}
    drives = tuple(sorted(path for path in (folder / "anchors").iterdir() if path.is_dir()))
    return DemoWorld(folder, truth, metadata, photos, drives, folder / "anchors" / "alignment.json")


def _build(folder: Path, plan: WorldPlan, identity: dict[str, Any], workers: int, progress: Progress | None) -> None:
    """Everything into a folder beside the final one, which it replaces in one rename."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent, ignore_cleanup_errors=True) as beside:
            unfinished = Path(beside) / folder.name
            _write(unfinished, plan, workers, progress)
            files = _checksums(unfinished)
            content = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
            manifest = json.dumps({**identity, "content": content, "files": files}, indent=1, sort_keys=True)
            (unfinished / MANIFEST).write_text(manifest + "\n", encoding="utf-8")
            if folder.exists():
                shutil.rmtree(folder)
            unfinished.rename(folder)
    except OSError as error:
        raise OutputError(f"{folder}: the demo world cannot be written ({error})") from None


def _write(folder: Path, plan: WorldPlan, workers: int, progress: Progress | None) -> None:
    anchors, photos = folder / "anchors", folder / "photos"
    photos.mkdir(parents=True)
    for drive in plan.drives:
        (anchors / drive.name).mkdir(parents=True)
        write_drive(anchors / drive.name, drive, plan.anchor_camera)
    write_alignment(anchors / "alignment.json")
    _write_json(folder / "mapillary.json", plan.metadata)
    _write_json(folder / "truth.json", plan.truth.as_json())
    frames = [Task(anchors / drive.name, drive.name, i) for drive in plan.drives for i in range(drive.n_images)]
    # Photos of the other street first: its surfaces are painted by one process while another paints this street's.
    order = sorted(range(len(plan.shots)), key=lambda index: plan.shots[index].kind != "other street")
    shots = [Task(photos, "photo", index) for index in order]
    take_all(plan.seed, plan.size, [*shots[:1], *frames, *shots[1:]], workers, progress)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _matches_manifest(folder: Path, identity: dict[str, Any]) -> bool:
    """Whether folder holds exactly this world, every file unchanged."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        same = all(manifest.get(key) == value for key, value in identity.items())
        return same and _checksums(folder) == manifest["files"]
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def _checksums(folder: Path) -> dict[str, str]:
    """Of all files of a world, by their path in it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {str(path.relative_to(folder)): sha256_of(path) for path in paths}


def cores() -> int:
    """How many this process may use: a container or a queue may have given it fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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

    def __init__(self, seed: int, size: WorldSize, textures: Path | None = None) -> None:
        """textures: a folder where processes leave each other what they have painted."""
        self.plan = WorldPlan(seed, size)
        streets = {"street": self.plan.street, "other street": self.plan.other_street}
        self._quads = {name: _kept_textures(street.quads, textures, name) for name, street in streets.items()}
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
        quads = self._quads.get(shot.kind, self._quads["street"])
        ahead = _car_ahead(shot.street_from_upright, shot.car_ahead_m, (int(shot.id) % 10**9,))
        device = shot.plan.device
        rays = self.rays(device.camera(self.plan.size.image_scale))
        view = render(Scene.of([*quads, *ahead]), self.sky(shot.plan.sky_seed, 0.5), rays, street_from_raw(shot))
        pixels = photograph(view, shot.exposure, (self.plan.seed, int(shot.id)))
        return np.ascontiguousarray(np.rot90(pixels, -COUNTER_CLOCKWISE_TURNS[device.exif_orientation]))

    def anchor(self, drive: Drive, index: int) -> tuple[ImageArray, Float32]:
        """Picture and scan of an anchor; every third image of the second drive meets a moving car."""
        street_from_cam, street_from_lidar = self.plan.street_from_anchor(drive, index)
        seed = (self.plan.seed, drive.direction + 1, index)
        distance = 9.0 + 5.0 * (index % 4) if drive.direction < 0 and index % 3 == 1 else float("nan")
        scene = Scene.of([*self._quads["street"], *_car_ahead(street_from_cam, distance, seed)])
        view = render(scene, self.sky(drive.direction + 41, 0.45), self.rays(self.plan.anchor_camera), street_from_cam)
        return photograph(view, ANCHOR_EXPOSURE, seed), scan(scene, self._lidar, street_from_lidar, seed)


def _kept_textures(quads: Sequence[Quad], folder: Path | None, name: str) -> Sequence[Quad]:
    """The quads, with textures that are read from the folder where another process has painted them."""
    if folder is None:
        return quads
    kept: dict[int, Texture] = {}
    for texture in (quad.texture for quad in quads):
        if id(texture) not in kept:
            paint = partial(_painted_once, folder / f"{name} {len(kept)}.npy", texture.paint)
            kept[id(texture)] = replace(texture, paint=paint)
    return [replace(quad, texture=kept[id(quad.texture)]) for quad in quads]


def _painted_once(file: Path, paint: Callable[[], ImageArray]) -> ImageArray:
    """From the file, else painted and left there; two processes at once paint the same."""
    if file.exists():
        return np.asarray(np.load(file))
    picture, unfinished = paint(), file.with_suffix(f".{os.getpid()}.npy")
    np.save(unfinished, picture)
    unfinished.replace(file)
    return picture


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
    """Take all pictures; the same for any number of processes, which paint each surface once between them."""
    report = progress or (lambda done, total: None)
    if workers <= 1:
        studio = Studio(seed, size)
        for done, task in enumerate(tasks, 1):
            studio.take(task)
            report(done, len(tasks))
        return
    one_thread_per_child()
    context = multiprocessing.get_context("spawn")
    with (
        TemporaryDirectory(prefix=".textures.", dir=tasks[0].folder) as textures,
        ProcessPoolExecutor(min(workers, len(tasks)), context) as pool,
    ):
        futures = [pool.submit(_take, seed, size, Path(textures), task) for task in tasks]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                report(done, len(tasks))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@lru_cache(maxsize=1)
def _studio(seed: int, size: WorldSize, textures: Path) -> Studio:
    """That of a worker process."""
    cv2.setNumThreads(1)
    keep_freed_memory()
    return Studio(seed, size, textures)


def _take(seed: int, size: WorldSize, textures: Path, task: Task) -> None:
    _studio(seed, size, textures).take(task)


def _write_jpeg(path: Path, pixels: ImageArray) -> None:
    if not cv2.imwrite(str(path), pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
        raise OSError(f"{path}: could not be written")
