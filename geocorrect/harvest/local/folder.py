"""Images without Mapillary: a folder of photos with EXIF, an OpenSfM project, a mapillary_tools description file.

Pictures stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.errors import InputError, Reason
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.harvest.evidence import without_contradicted_models
from geocorrect.harvest.local.description import SEQUENCE_KEY, described, with_sequences
from geocorrect.harvest.local.exif import read_photo
from geocorrect.harvest.local.listing import (
    ENDINGS,
    first_reasons,
    is_storable,
    listed_photos,
    photo_files,
    photo_id,
    shown,
)
from geocorrect.harvest.local.opensfm import Reconstruction, Shot, position_beside, read_reconstructions
from geocorrect.harvest.mapillary import fields
from geocorrect.harvest.mapillary.metadata import SFM_FOCAL_SIGMA
from geocorrect.io.text_file import read_json
from geocorrect.io.unicode_names import on_disk, plain
from geocorrect.records import Image, MetadataQuality, Position

_FARTHEST_FROM_GPS_M = 1000.0
"""Median distance between a model and the GPS of its photos above which the model's place is not believed."""


@dataclass
class Imported:
    """What an import found."""

    images: list[Image] = field(default_factory=list)
    """One per photo; a photo that cannot be read has that as its problem."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """(what, why) of everything that was not used at all."""

    @property
    def notes(self) -> Iterator[tuple[str, str]]:
        """(id, sentence) of everything that was found in a photo and not believed."""
        return ((image.id, str(note)) for image in self.images for note in image.provider.get("notes", ()))


def import_folder(folder: Path) -> Imported:
    """Every photo in a folder and below it, described by its EXIF. Ids are paths relative to the folder."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    paths, skipped = photo_files(folder)
    if not paths:
        raise InputError(f"{folder}: holds no photos ({ENDINGS}){first_reasons(skipped)}")
    return _read([(photo_id(path, folder), path) for path in paths], skipped)


def _read(photos: Iterable[tuple[str, Path]], skipped: list[tuple[str, str]]) -> Imported:
    """Photos, given by id and path, described by their EXIF."""
    images = []
    for name, path in photos:
        image = read_photo(path, name)
        if image.provider.get("no_photo"):
            skipped.append((shown(path), "a raster of other than 8-bit colours, no photo"))
        else:
            images.append(image)
    return Imported(with_sequences(images), skipped)


def import_opensfm(project: Path) -> Imported:
    """An OpenSfM project, or an ODM project around one in opensfm/.

    Its photos are those of image_list.txt, or all in images/ where there is none, with their EXIF; cameras and poses
    come from reconstruction.json (computed, quality sfm).
    """
    if not (project / "reconstruction.json").is_file() and (project / "opensfm").is_dir():
        project = project / "opensfm"
    reconstruction, image_list = project / "reconstruction.json", project / "image_list.txt"
    if not reconstruction.is_file():
        raise InputError(f"{project}: holds no reconstruction.json; use the folder import for images/ alone")
    if image_list.is_file():
        photos, skipped = listed_photos(image_list)
        imported = _read(photos.items(), skipped)
    else:
        imported = import_folder(project / "images")
    parts = read_reconstructions(reconstruction)
    by_name = {plain(name): (shot, index) for index, part in enumerate(parts) for name, shot in part.shots.items()}
    members: dict[int, list[Image]] = {}
    alone = []
    for photo in imported.images:
        shot, index = by_name.pop(photo.id, (None, 0))
        image = photo
        if photo.problem is Reason.POSITION_MISSING:
            image = _placed(photo, position_beside(project, photo.id, shot, parts[index]))
        if shot is None:
            alone.append(image)
        else:
            members.setdefault(index, []).append(_with_shot(image, shot, parts[index]))
    models = [image for index, found in members.items() for image in _believed(found, parts[index])]
    imported.images = sorted([*alone, *models], key=lambda image: image.id)
    imported.skipped += [
        (f"shot {name}", f"no such photo in {image_list if image_list.is_file() else project / 'images'}")
        for name in sorted(by_name)
    ]
    return imported


def _placed(image: Image, position: Position | None) -> Image:
    """The image at a position that only the project knows."""
    if position is None:
        return image
    problem = Reason.CAMERA_UNSUPPORTED if image.camera is None else None
    return replace(image, reported=position, problem=problem)


def _believed(images: list[Image], part: Reconstruction) -> list[Image]:
    """The images of one component; without its poses where its place or its headings cannot be right."""
    if part.reference is None:
        return images
    pairs = [(image.reported, image.computed) for image in images if image.reported and image.computed]
    distances_m = [
        float(np.hypot(*Frame("here", a.lon_deg, a.lat_deg).enu_from_wgs84(b.lon_deg, b.lat_deg, 0.0)[:2]))
        for a, b in pairs
    ]
    if distances_m and np.median(distances_m) > _FARTHEST_FROM_GPS_M:
        note = f"the model lies {np.median(distances_m) / 1000:.0f} km from the photos' GPS; its poses are not used"
        return [_without_pose(image, note) for image in images]
    # A component may hold several drives, and rigs: what was not taken one after the other says nothing of its travel.
    recordings: dict[tuple[str | None, str], list[Image]] = {}
    for image in images:
        recordings.setdefault((image.sequence_id, image.id.rpartition("/")[0]), []).append(image)
    return [image for recording in recordings.values() for image in without_contradicted_models(recording)]


def _without_pose(image: Image, note: str) -> Image:
    notes = [*image.provider.get("notes", ()), note]
    return replace(
        image, computed=None, computed_heading_deg=float("nan"), computed_enu_from_cam=None,
        quality=MetadataQuality.RAW_ONLY, provider={**image.provider, "notes": notes},
    )  # fmt: skip


def import_description(path: Path) -> Imported:
    """A mapillary_tools description file (mapillary_image_description.json); entries with an error are skipped."""
    entries = read_json(path)
    if not isinstance(entries, list):
        raise InputError(f"{path}: must be a JSON array, as mapillary_tools writes it")
    imported = Imported()
    for number, entry in enumerate(entries):
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            imported.skipped.append((f"{path}, entry {number}", "has no filename"))
        elif "error" in entry:
            error = entry["error"]
            text = error.get("message") or error.get("type") if isinstance(error, dict) else error
            imported.skipped.append((shown(name), fields.text(str(text)) or "error"))
        elif entry.get("filetype", "image") != "image":
            kind = fields.text(str(entry["filetype"]))
            imported.skipped.append((shown(name), f"filetype {kind} is no photo"))
        elif "\0" in name or not is_storable(path.parent / name):
            imported.skipped.append((shown(name), "its name is not UTF-8; rename it"))
        else:
            imported.images.append(_entry(read_photo(on_disk(path.parent / name), plain(name)), entry))
    imported.images = with_sequences(imported.images)
    return imported


def _entry(photo: Image, entry: dict[str, Any]) -> Image:
    image, key = described(photo, entry), entry.get("MAPSequenceUUID")
    return image if key is None else replace(image, provider={**image.provider, SEQUENCE_KEY: fields.text(str(key))})


def _with_shot(image: Image, shot: Shot, part: Reconstruction) -> Image:
    """Camera and computed pose of a reconstructed image, in the ENU frame at its own position."""
    if image.problem in (Reason.IMAGE_UNREADABLE, Reason.IMAGE_MISSING):
        return image
    camera = part.camera(shot, int(image.provider["width"]), int(image.provider["height"]))
    if camera is None:
        return replace(image, problem=Reason.CAMERA_UNSUPPORTED, camera=None)
    camera = replace(camera, focal_sigma=SFM_FOCAL_SIGMA)
    image = replace(image, camera=camera, captured_at=image.captured_at or shot.captured_at)
    image = replace(image, sequence_id=image.sequence_id or shot.sequence_id)
    if part.reference is None:
        return image
    lon, lat, height_m = map(float, part.reference.wgs84_from_enu(shot.world_from_cam.translation_m))
    here = Frame("here", lon, lat, height_m)
    return replace(
        image,
        computed=Position(lon, lat, height_m, "unknown"),
        computed_heading_deg=part.reference.heading_deg(shot.world_from_cam),
        computed_enu_from_cam=Pose((here.this_from(part.reference) @ shot.world_from_cam).rotation, np.zeros(3)),
        quality=MetadataQuality.SFM,
    )
