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
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from geocorrect.demo.world.plan import SIZES, WorldPlan
from geocorrect.demo.world.take import Task, take_all
from geocorrect.demo.world.truth import DemoTruth, read_truth
from geocorrect.demo.world.write_vbr import write_alignment, write_drive
from geocorrect.errors import OutputError
from geocorrect.io.checksum import sha256_of

VERSION = "3"
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
        _build(folder, WorldPlan(seed, SIZES[size]), identity, workers or _cores(), progress)
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
    shots = [Task(photos, "photo", i) for i in range(len(plan.shots))]
    take_all(plan.seed, plan.size, frames + shots, workers, progress)


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


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
