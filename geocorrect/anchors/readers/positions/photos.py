"""Photos of a calibrated camera whose positions were measured, and nothing else: RTK tags, or a receiver's track.

How the photos are turned is found from their matches (`jobs.anchors.photo_poses`), so that this format alone reads no
anchors. Times of photos are those of the camera's clock; beside a track its offset is estimated, or said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.format import AnchorFormat, choice_of
from geocorrect.anchors.readers.mobile.description import CameraModel, read_yaml
from geocorrect.anchors.readers.place import declared_height_reference, height_on_ellipsoid_m
from geocorrect.anchors.readers.positions.track import TrackSpline, is_track, read_track
from geocorrect.anchors.readers.reconstruction.exif_ties import EXIF, plan_sigma_m, rtk_sigma_m
from geocorrect.anchors.readers.timestamps import Nanoseconds
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.crs import WGS84
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Float
from geocorrect.harvest.local.exif import read_photo
from geocorrect.records import Anchor, Image

NAME = "positions"
PICTURES = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}
UNKNOWN_TIME = np.iinfo(np.int64).min


class PhotoCamera(CameraModel):
    """The YAML of --calibration."""

    antenna_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of the receiver in the camera's axes: right, down, ahead."""


@dataclass(frozen=True, eq=False)
class PositionedPhotos:
    """N photos in the order in which they were taken."""

    source: Path
    dataset: str
    ids: tuple[str, ...]
    paths: tuple[Path, ...]
    camera: Camera
    antenna_m: Float
    """(3,) in the camera's axes."""
    time_ns: Nanoseconds
    """(N,) of the camera's clock, `UNKNOWN_TIME` where unknown."""
    frame: Frame
    antenna_enu_m: Float
    """(N, 3) measured positions of the antenna in the frame; of a track at the camera's times and, where it is said,
    the offset of the clocks."""
    sigma_m: Float
    """(N, 3) east, north, up."""
    track: TrackSpline | None
    """None: the positions are from the photos' own tags."""
    clock_offset_s: float | None
    """What is added to the camera's clock to give that of the track; None: to be estimated."""

    def subset(self, rows: list[int]) -> PositionedPhotos:
        """Some of the photos."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            paths=tuple(self.paths[row] for row in rows),
            time_ns=self.time_ns[rows],
            antenna_enu_m=self.antenna_enu_m[rows],
            sigma_m=self.sigma_m[rows],
        )


def read_positioned_photos(folder: Path, options: AnchorOptions) -> PositionedPhotos:
    """The photos of a folder with their positions, at least `spacing_m` apart.

    Raises:
        InputError: names the photo or the track's record, and what to do.
        UsageError: an option is missing.
    """
    choice_of("--uncovered", options.uncovered, ("refuse", "skip"))
    if options.calibration is None:
        raise UsageError(
            f"{folder}: photos as anchors need --calibration camera.yaml (model, width, height, intrinsics, distortion "
            "[, antenna_m]); the focal length in EXIF is good to a few percent only"
        )
    lens = _camera(options.calibration)
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES and "." not in p.stem)
    images = [read_photo(path, path.relative_to(folder).with_suffix("").as_posix()) for path in paths]
    for path, image in zip(paths, images, strict=True):
        size = (image.provider.get("width"), image.provider.get("height"))
        if size != (lens.width, lens.height):
            raise InputError(image.provider.get("error") or f"{path}: {size[0]}×{size[1]} pixels, "
                             f"{options.calibration} is for {lens.width}×{lens.height}")  # fmt: skip
    has_track = options.positions is not None and str(options.positions) != EXIF
    found = (_by_track if has_track else _by_tags)(images, options, folder)
    images, frame, antenna_enu_m, sigma_m, track = found
    if track is None and options.clock_offset_s is not None:
        raise UsageError("--clock-offset is for photos beside a track; theirs are from their own tags")
    photos = PositionedPhotos(
        folder,
        options.dataset or NAME,
        tuple(f"{options.dataset or NAME}/{image.id}" for image in images),
        tuple(image.path for image in images if image.path is not None),
        lens.camera(),
        np.array(lens.antenna_m),
        np.array([_time_ns(image) for image in images], np.int64),
        frame,
        antenna_enu_m,
        sigma_m,
        track,
        options.clock_offset_s,
    )
    return photos.subset(_apart(antenna_enu_m, options.spacing_m))


Found = tuple[list[Image], Frame, Float, Float, TrackSpline | None]


def _by_tags(images: list[Image], options: AnchorOptions, folder: Path) -> Found:
    reference = declared_height_reference(str(folder), WGS84, options.height_reference, "GPSAltitude is")
    kept, places, sigmas = [], [], []
    for image in sorted(images, key=lambda image: (_time_ns(image), image.id)):
        place, path = image.reported, image.path
        if place is None or path is None or not np.isfinite(place.height_m):
            if options.uncovered == "refuse":
                raise InputError(f"{image.path}: its tags hold no position with height; --uncovered skip leaves it out")
            continue
        lon, lat = place.lon_deg, place.lat_deg
        height_m = height_on_ellipsoid_m(str(path), lon, lat, place.height_m, reference, options.undulation_m)
        kept.append(image)
        places.append([lon, lat, height_m])
        if (stated := rtk_sigma_m(path)) is None:
            plan_m = plan_sigma_m(path, image, options.position_sigma_m)
            stated = plan_m, plan_m, 2 * plan_m
        sigmas.append(stated)
    if len(kept) < 3:
        raise InputError(f"{folder}: {len(kept)} photos have position and height in their tags; 3 are needed "
                         "(or --positions TRACK.gpx, .nmea, .pos)")  # fmt: skip
    frame = Frame(folder.name, *np.median(places, axis=0).tolist())
    return kept, frame, frame.enu_from_wgs84(*np.array(places).T), np.array(sigmas), None


def _by_track(images: list[Image], options: AnchorOptions, folder: Path) -> Found:
    assert options.positions is not None
    if not is_track(options.positions):
        raise UsageError(f"--positions {options.positions}: write exif, or a track .gpx, .nmea or .pos")
    track = read_track(options.positions, options.height_reference, options.undulation_m, options.position_sigma_m)
    spline = TrackSpline(track, Frame(options.positions.stem, *np.median(track.wgs84, axis=0).tolist()))
    offset_s = options.clock_offset_s or 0.0
    shift_ns, kept = round(offset_s * 1e9), []
    for image in sorted(images, key=lambda image: (_time_ns(image), image.id)):
        if image.captured_at is None:
            raise InputError(f"{image.path}: its tags hold no time with a zone; write it with "
                             "`exiftool -OffsetTimeOriginal=+02:00 FOLDER`")  # fmt: skip
        if spline.covers(_time_ns(image) + shift_ns):
            kept.append(image)
        elif options.uncovered == "refuse":
            raise InputError(
                f"{image.path}: taken at {image.captured_at.isoformat()}, where {track.name} has no positions; "
                "--uncovered skip leaves such photos out"
            )
    if len(kept) < 3:
        raise InputError(
            f"{track.name}: covers {len(kept)} photos of {folder}; 3 are needed (is the camera's time zone right?)"
        )
    times = np.array([_time_ns(image) for image in kept], np.int64)
    return kept, spline.frame, spline.place_m(times, offset_s), spline.sigma_m(times, offset_s), spline


def _time_ns(image: Image) -> int:
    return UNKNOWN_TIME if image.captured_at is None else round(image.captured_at.timestamp() * 1e6) * 1000


def _apart(places_m: Float, spacing_m: float) -> list[int]:
    """Rows so that each is at least spacing_m from the one before."""
    rows = [0]
    for row in range(1, len(places_m)):
        if np.linalg.norm(places_m[row] - places_m[rows[-1]]) >= spacing_m:
            rows.append(row)
    return rows


def _camera(path: Path) -> PhotoCamera:
    lens = read_yaml(path, PhotoCamera, "camera file")
    try:
        lens.camera()
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    if lens.model == "EQUIRECTANGULAR":
        raise InputError(f"{path}: panoramas are read by `--format mobile-mapping`, with their angles")
    return lens


def _refuse(path: Path, options: AnchorOptions) -> tuple[Alignment, list[Anchor]]:
    raise UsageError(f"{path}: how these photos are turned is found from their matches: use `geocorrect anchors add`")


def _detect(path: Path) -> bool:
    """Only a folder of nothing but pictures: every other format keeps files of its own beside them."""
    if not path.is_dir():
        return False
    files = [p for p in path.iterdir() if not p.name.startswith(".")]
    return bool(files) and all(p.is_file() and p.suffix.lower() in PICTURES for p in files)


FORMAT = AnchorFormat(
    name=NAME,
    files="folder of photos with RTK positions in their tags (DJI, GNSS rigs), or beside a track .gpx, .nmea, .pos",
    needs="--calibration camera.yaml; tags: --height-reference; track: --positions TRACK; some GPX: --position-sigma",
    detect=_detect,
    read=_refuse,
    takes=(
        "height_reference", "geoid_undulation_m", "calibration", "positions", "position_sigma_m", "level_cameras",
        "spacing_m", "uncovered", "clock_offset_s",
    ),
)  # fmt: skip
