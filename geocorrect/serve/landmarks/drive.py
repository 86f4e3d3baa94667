"""A drive to click in: its photos, where each was taken along it, and the file that its clicks are kept in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from geocorrect.anchors.readers.timestamps import read_timestamps
from geocorrect.anchors.readers.vbr.calibration import read_vbr_calibration
from geocorrect.anchors.trajectory import read_tum
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.pose import Pose
from geocorrect.georeference.build import ClickedDrive, frame_number
from geocorrect.georeference.landmarks.click import Click, LandmarkOptions
from geocorrect.georeference.landmarks.read import read_landmarks
from geocorrect.georeference.problem import ClickedImage, Priors, ground_height_sigma_m
from geocorrect.georeference.run import GeoreferenceOptions
from geocorrect.io.text_file import read_json
from geocorrect.io.unicode_names import plain

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
NAN = float("nan")


@dataclass(frozen=True)
class LandmarkFiles:
    """What the landmark page works on; the tuples belong together by position."""

    trajectories: tuple[Path, ...]
    calibration: Path
    clicks: tuple[Path, ...]
    """GeoJSON files, made with the first click."""
    photos: tuple[Path, ...] = ()
    """Folders of pictures, whose names hold the frame number."""
    image_timestamps: tuple[Path, ...] = ()
    side: str = "left"
    row_offset: float = 0.0
    options: GeoreferenceOptions = field(default_factory=GeoreferenceOptions)

    def with_options(self, side: str, row_offset: float, ground_height_m: float | None) -> LandmarkFiles:
        """The same files, with what `geocorrect georeference` calls --camera, --image-row-offset, --ground-height."""
        priors = Priors(ground_height_sigma_m=ground_height_sigma_m(ground_height_m))
        options = replace(self.options, priors=priors, ground_height_m=ground_height_m)
        return replace(self, side=side, row_offset=row_offset, options=options)


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture that can be clicked in."""

    name: str
    path: Path | None
    """None: it is only known from clicks."""
    image: ClickedImage
    along_m: float
    """Way driven until it was taken."""


@dataclass(frozen=True, eq=False)
class Drive:
    """A trajectory with its photos."""

    name: str
    base: ClickedDrive
    """Without clicks."""
    photos: tuple[Photo, ...]
    """Along the drive."""
    clicks_file: Path

    def with_own_names(self, clicks: Sequence[Click]) -> tuple[Click, ...]:
        """The clicks with images named as the pictures are: a file may name them by frame number alone."""
        names = {frame_number(named(photo.name, photo.name)): photo.name for photo in self.photos}
        return tuple(replace(click, image=names.get(frame_number(click), click.image)) for click in clicks)


def open_drives(files: LandmarkFiles) -> tuple[tuple[Drive, ...], tuple[tuple[Click, ...], ...]]:
    """The drives, and the clicks that are there already, drive by drive.

    Raises:
        UsageError: the files do not belong together.
        InputError: one of them cannot be used; the message names it.
    """
    count = len(files.trajectories)
    for name, given, needed in (
        ("--clicks", files.clicks, True), ("--photos", files.photos, False),
        ("--image-timestamps", files.image_timestamps, False),
    ):  # fmt: skip
        if (given or needed) and len(given) != count:
            raise UsageError(f"{len(given)} {name} for {count} --trajectory; give one for each")
    if len(set(files.clicks)) != count:
        raise UsageError("--clicks: each drive needs a file of its own")
    rig = read_vbr_calibration(files.calibration).camera(files.side)
    drives, clicks = [], []
    for k, trajectory in enumerate(files.trajectories):
        times = read_timestamps(files.image_timestamps[k]) if files.image_timestamps else None
        base = ClickedDrive(read_tum(trajectory), rig, (), times, files.row_offset)
        found = read_clicks(files.clicks[k])
        photos = _photos(base, files.photos[k] if files.photos else None, found)
        drives.append(Drive(trajectory.stem, base, photos, files.clicks[k]))
        clicks.append(drives[k].with_own_names(found))
    return tuple(drives), tuple(clicks)


def read_clicks(path: Path) -> tuple[Click, ...]:
    """The clicks of a file of ours; none where it does not exist yet or holds none. Heights in it are ellipsoidal."""
    if path.suffix.lower() != ".geojson":
        raise UsageError(f"--clicks {path}: clicks are kept as .geojson")
    if not path.exists():
        return ()
    content = read_json(path)
    if isinstance(content, dict) and content.get("features") == []:
        return ()
    return tuple(read_landmarks(path, LandmarkOptions(height_reference="ellipsoid")))


def _photos(base: ClickedDrive, folder: Path | None, clicks: Sequence[Click]) -> tuple[Photo, ...]:
    paths = [] if folder is None else sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES)
    if folder is not None and not paths:
        raise InputError(f"{folder}: no picture ({', '.join(PICTURES)}) in it")
    driven_m = _driven_m(base)
    names: dict[int, tuple[str, Path | None]] = {}
    for path in paths:
        names.setdefault(frame_number(named(plain(path.name), str(path))), (plain(path.name), path))
    for click in clicks:
        names.setdefault(frame_number(click), (click.image, None))
    photos = []
    for _, (name, file) in sorted(names.items()):
        try:
            pose = base.pose_of(named(name, str(file or name)))
        except InputError:
            if file is None:
                raise
            continue  # taken before the trajectory begins, or after it ends
        image = ClickedImage(name, base.rig.camera, pose, base.rig.base_from_cam)
        photos.append(Photo(name, file, image, _along_m(base, driven_m, pose)))
    if folder is not None and not photos:
        raise InputError(
            f"{folder}: none of the {len(paths)} pictures was taken on the trajectory; check their numbers"
        )
    return tuple(photos)


def named(image: str, where: str) -> Click:
    """A click that only says in which image it is."""
    return Click(image, 0.0, 0.0, 0.0, 0.0, NAN, "", where)


def _driven_m(base: ClickedDrive) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    steps = np.linalg.norm(np.diff(base.trajectory.translation_m, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _along_m(base: ClickedDrive, driven_m: np.ndarray[tuple[int], np.dtype[np.float64]], pose: Pose) -> float:
    nearest = np.linalg.norm(base.trajectory.translation_m - pose.translation_m, axis=1).argmin()
    return float(driven_m[nearest])
