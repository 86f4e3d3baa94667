"""OpenSfM's reconstruction.json, also inside an ODM project: shots, rigs, and the points of tracks.csv.

Its world is local ENU about reference_lla, so that it has a place already; whatever OpenSfM was given for that (GPS,
control points), heights are taken as those of the ellipsoid unless `--height-reference` says otherwise. How well it is
placed is judged by the GPS of its shots, whose errors stay alike for about half a minute. tracks.csv counts from the
image's centre, in units of its longer side.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.format import AnchorFormat, head_of
from geocorrect.anchors.readers.place import height_on_ellipsoid_m
from geocorrect.anchors.readers.reconstruction.model import ReconstructedImage, Reconstruction, Ties, anchors_of
from geocorrect.anchors.readers.reconstruction.placing import PLACING_OPTIONS, fit_unjudged, place
from geocorrect.errors import InputError
from geocorrect.geometry.crs import ELLIPSOID
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Float
from geocorrect.harvest.local import opensfm
from geocorrect.io.text_file import finite_numbers, read_text
from geocorrect.records import Anchor

logger = logging.getLogger(__name__)

NAMES = ("reconstruction.json", "opensfm/reconstruction.json")
CORRELATION_S = 30.0
GPS_SIGMA_M = 5.0
"""Of shots that state no gps_dop."""


def read_opensfm(path: Path) -> tuple[Reconstruction, opensfm.Reconstruction]:
    """The largest component of a reconstruction.json, as ours and as it is; InputError naming what is wrong."""
    parts = sorted(opensfm.read_reconstructions(path), key=lambda part: -len(part.shots))
    part, others = parts[0], sum(len(other.shots) for other in parts[1:])
    if others:
        logger.warning("%s: %d shots of smaller components are left out", path, others)
    row_of = {number: row for row, number in enumerate(part.points)}
    points = [finite_numbers(f"{path}, point {k}: coordinates", v, 3) for k, v in part.points.items()]
    seen = _tracks(path.with_name("tracks.csv"), row_of)
    images = []
    for name, shot in sorted(part.shots.items()):
        raw = part.cameras.get(shot.camera_id, {})
        try:
            width, height = int(raw["width"]), int(raw["height"])
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{path}, shot {name}: camera {shot.camera_id!r} has no width and height") from None
        camera = part.camera(shot, width, height)
        if camera is None:
            raise InputError(f"{path}, shot {name}: camera {shot.camera_id!r} is none that we know")
        rows, normalised = seen.get(name, (np.zeros(0, np.int64), np.zeros((0, 2))))
        px = normalised * max(width, height) + [(width - 1) / 2, (height - 1) / 2]
        images.append(ReconstructedImage(name, camera, shot.world_from_cam, px, rows, shot.captured_at))
    model = Reconstruction(
        str(path), tuple(images), np.array(points, float).reshape(-1, 3), np.full(len(points), np.nan), part.reference
    )
    return model, part


def _tracks(path: Path, row_of: dict[str, int]) -> dict[str, tuple[np.ndarray, Float]]:
    """(rows of points, (M, 2) normalised places) by shot; empty without a tracks.csv."""
    if not path.is_file():
        return {}
    found: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
    for number, line in enumerate(read_text(path).split("\n")[1:], 2):
        fields = line.split("\t")
        if len(fields) >= 5 and fields[1] in row_of:
            x, y = finite_numbers(f"{path}, line {number}", fields[3:5], 2)
            found[fields[0]].append((row_of[fields[1]], x, y))
    arrays = {name: np.array(rows, float) for name, rows in found.items()}
    return {name: (values[:, 0].astype(np.int64), values[:, 1:]) for name, values in arrays.items()}


def _place(
    model: Reconstruction, part: opensfm.Reconstruction, options: AnchorOptions, images: list[Path]
) -> Alignment:
    if options.height_reference not in ("unknown", ELLIPSOID) and model.frame is not None:
        f, where = model.frame, f"{model.source}: reference_lla"
        height_m = height_on_ellipsoid_m(
            where, f.lon_deg, f.lat_deg, f.height_m, options.height_reference, options.undulation_m
        )
        model = replace(model, frame=Frame(f.name, f.lon_deg, f.lat_deg, height_m))
    alignment = place(model, options, images)
    if alignment.method != "known" or options.alignment is not None or model.frame is None:
        return alignment
    shots = [shot for shot in part.shots.values() if shot.gps_enu_m is not None]
    sigma_m = np.array([shot.gps_sigma_m if np.isfinite(shot.gps_sigma_m) else GPS_SIGMA_M for shot in shots])
    try:
        gps = np.array([shot.gps_enu_m for shot in shots], float).reshape(-1, 3)
        local = np.array([shot.world_from_cam.translation_m for shot in shots]).reshape(-1, 3)
        wgs84 = np.column_stack(model.frame.wgs84_from_enu(gps))
        # OpenSfM itself takes the cameras for upright where GPS leaves the roll open.
        judged = fit_unjudged(Ties(model.source, local, wgs84, sigma_m), model, "gps", is_level=True)
    except (InputError, ValueError):
        logger.warning(
            "%s: the GPS of its shots does not say how well it is placed; its sigma is unknown", model.source
        )
        return alignment
    assert judged.covariance is not None
    times = [shot.captured_at.timestamp() for shot in shots if shot.captured_at is not None]
    independent = min(len(shots), (max(times) - min(times)) / (2 * CORRELATION_S) + 1.0) if times else 1.0
    covariance = judged.covariance * len(shots) / independent
    return Alignment(model.frame, alignment.world_from_local, covariance, "gps", residual_m=judged.residual_m)


def _file(path: Path) -> Path | None:
    if path.is_file():
        return path if '"shots"' in head_of(path) and path.suffix == ".json" else None
    return next((path / name for name in NAMES if (path / name).is_file()), None)


def _read(path: Path, options: AnchorOptions) -> tuple[Alignment, list[Anchor]]:
    found = path if path.is_file() else _file(path)
    if found is None:
        raise InputError(f"{path}: holds neither {' nor '.join(NAMES)}")
    model, part = read_opensfm(found)
    folder = found.resolve().parent
    images = [folder / "images", folder.parent / "images", folder] if options.images is None else [options.images]
    alignment = _place(model, part, options, images)
    return alignment, [*anchors_of(model, images, alignment, options.dataset or "opensfm")]


FORMAT = AnchorFormat(
    "opensfm",
    "reconstruction.json, or the folder of an OpenSfM or ODM project",
    "none where it has reference_lla; better placed by --control-points or --positions",
    lambda path: _file(path) is not None,
    _read,
    PLACING_OPTIONS,
)
