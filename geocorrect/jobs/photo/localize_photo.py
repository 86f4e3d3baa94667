"""One photo from its file to an explained result, as `geocorrect localize` shows it. Nothing is stored."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.catalog.rows.pose_columns import error_ellipses
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.errors import InputError, Reason, Status
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame, pitch_roll_deg
from geocorrect.harvest.local.exif import read_photo
from geocorrect.harvest.mapillary.metadata import ASSUMED_FOCAL_SIGMA
from geocorrect.io.pixels import image_size, read_bytes
from geocorrect.jobs.scene import AnchorSource, Scene
from geocorrect.localize.correct import LocalizationResult
from geocorrect.match.rig import match_photo
from geocorrect.records import NAN, Anchor, Correction, Evidence, Image, Position, Query, Rejection
from geocorrect.workers.worker import Localization, Task, Worker

MAX_SEARCHED = 200
"""Without a position every anchor is matched with the photo (about 0.3 s each); beyond this many that is refused."""


@dataclass(frozen=True)
class PhotoOptions:
    """What the user says about a photo; it goes before its record and its EXIF."""

    camera: Path | None = None
    """OpenSfM camera as JSON (one camera, or a file with a single one)."""
    focal_px: float | None = None
    """Of a pinhole."""
    position: Position | None = None
    """Roughly where it was taken."""
    heading_deg: float | None = None
    """Roughly which way, clockwise from true north."""


def describe_photo(path: Path, options: PhotoOptions, catalog: Catalog | None = None) -> Image:
    """The photo with camera, position and heading as far as they are known.

    catalog: where its harvested record may be. InputError naming the file when it is missing, unreadable, or its camera
    is unknown.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    photo = _harvested(path, catalog) or _by_exif(path)
    camera = _stated_camera(path, options) or photo.camera
    if camera is None:
        raise InputError(f"{path}: the intrinsics on record are unusable; give --camera FILE.json or --focal PIXELS")
    if camera is photo.camera and photo.provider.get("source") == "exif" and camera.focal_sigma == ASSUMED_FOCAL_SIGMA:
        raise InputError(f"{path}: its EXIF names no focal length; give --focal PIXELS or --camera FILE.json")
    if options.heading_deg is not None:  # it goes before what the provider computed, too
        photo = replace(photo, heading_deg=options.heading_deg % 360.0, computed_heading_deg=NAN)
    return replace(photo, camera=camera, reported=options.position or photo.reported)


def _harvested(path: Path, catalog: Catalog | None) -> Image | None:
    """The record of a photo that was harvested or imported; it must be about this very file."""
    if catalog is None:
        return None
    found = catalog.images(_possible_ids(path))
    same = (image for image in found.values() if image.path is not None and image.path.resolve() == path.resolve())
    return next(same, None)


def _possible_ids(path: Path) -> list[str]:
    """Harvested files are `<id>_<size>.jpg`; imported photos have their path below the imported folder as id."""
    parts = path.resolve().parts
    tails = ["/".join(parts[start:]) for start in range(1, len(parts))]
    return [path.stem.rsplit("_", 1)[0], path.stem, *tails]


def _by_exif(path: Path) -> Image:
    photo = read_photo(path, path.stem)
    if photo.problem in (Reason.IMAGE_UNREADABLE, Reason.IMAGE_MISSING):
        raise InputError(str(photo.provider["error"]))
    return photo


def _stated_camera(path: Path, options: PhotoOptions) -> Camera | None:
    """The camera that was given, for the size of the picture."""
    width, height = image_size(path)
    if options.focal_px is not None:
        return Camera.pinhole(width, height, options.focal_px, options.focal_px, (width - 1) / 2, (height - 1) / 2)
    if options.camera is None:
        return None
    try:
        content = json.loads(read_bytes(options.camera))
        if isinstance(content, dict) and "projection_type" not in content and len(content) == 1:
            (content,) = content.values()
        if not isinstance(content, dict):
            raise ValueError("expected one camera object")
        camera = Camera.from_opensfm(content, width, height)
        return replace(camera, focal_sigma=float(content.get("focal_sigma", NAN)))
    except (ValueError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise InputError(f"{options.camera}: not an OpenSfM camera as JSON ({error})") from None


@dataclass(frozen=True, eq=False)
class LocalizedPhoto:
    """The photo, the frame of its pose, and what came of it."""

    query: Query
    frame: Frame
    localization: Localization


def localize_photo(settings: Settings, source: AnchorSource, photo: Image) -> LocalizedPhoto:
    """Localise one photo against the anchors near its reported position; without one, against those that match best.

    Raises:
        InputError: the photo cannot be read, its size is not its camera's, no anchor is usable, or there are too many
            anchors to search without a position.
    """
    scene, worker = Scene(settings, source), Worker(settings)
    enu_m, heading_deg = scene.place_of(photo)
    task = Task(replace(photo, problem=None), enu_m, heading_deg, (), ())
    query = worker.read(task)
    if isinstance(query, Rejection):
        raise InputError(query.detail if query.detail.startswith(str(photo.path)) else f"{photo.path}: {query.detail}")
    task = _with_candidates(settings, scene, worker, task, query)
    if not task.anchors:
        nothing = LocalizationResult(_nothing_near(settings, scene, query))
        return LocalizedPhoto(query, scene.frame, Localization(nothing, ()))
    task = replace(task, neighbours=scene.neighbours_of(task.anchors))
    found = worker.localize(task, query)
    if not found.views:
        hint = "" if settings.depth.needs_neighbours else "\n--depth triangulated needs neither scanner nor network"
        raise InputError("no anchor is usable:\n" + "\n".join(found.unusable_anchors[:3]) + hint)
    return LocalizedPhoto(query, scene.frame, found)


def _with_candidates(settings: Settings, scene: Scene, worker: Worker, task: Task, query: Query) -> Task:
    """The task with anchors near the reported position, or with those to be searched without one."""
    if np.isfinite(task.reported_enu_m[:2]).all():
        pairs = scene.retriever.candidates(query.image_id, task.reported_enu_m, task.heading_deg)
        by_id = scene.read([pair.anchor_id for pair in pairs])
        return replace(task, pairs=tuple(pairs), anchors=tuple(by_id[pair.anchor_id] for pair in pairs))
    if worker.appearance is not None and scene.is_searched:
        return replace(task, anchors=scene.all_anchors)
    return replace(task, anchors=_best_matching(settings, scene, worker, query))


def _nothing_near(settings: Settings, scene: Scene, query: Query) -> Rejection:
    nearest_m = float(np.linalg.norm(scene.index.enu_m[:, :2] - query.reported_enu_m[:2], axis=1).min())
    if nearest_m <= settings.retrieve.radius_m:
        detail = f"the nearest anchor is {nearest_m:.0f} m away, but none looks the way of the reported heading"
    else:
        detail = f"the nearest anchor is {nearest_m:,.0f} m away, the search radius is {settings.retrieve.radius_m:g} m"
    return Rejection(query.image_id, Reason.NO_ANCHOR_NEARBY, detail)


def _best_matching(settings: Settings, scene: Scene, worker: Worker, query: Query) -> tuple[Anchor, ...]:
    """The anchors with most matches, when nobody says where the photo was taken."""
    if len(scene.index.ids) > MAX_SEARCHED:
        raise InputError(
            f"{query.image_id}: no position is known, and {len(scene.index.ids)} anchors are too many to search; "
            "give --position LON,LAT"
        )
    counts: list[tuple[int, str]] = []
    records = {anchor.id: anchor for anchor in scene.all_anchors}
    for name, anchor in records.items():
        (matches,) = match_photo(worker.matcher, query.pixels, query.camera, [worker.anchors.view(anchor).pixels])
        counts.append((-len(matches), name))
    return tuple(records[name] for _, name in sorted(counts)[: settings.retrieve.max_candidates])


def as_json(photo: LocalizedPhoto) -> dict[str, Any]:
    """Plain values; a rejected photo has no pose. Angles in degrees, WGS84, ellipsoidal height."""
    result = photo.localization.found.result
    answer: dict[str, Any] = {"image_id": result.image_id}
    if isinstance(result, Correction):
        lon_deg, lat_deg, height_m = (float(v) for v in photo.frame.wgs84_from_enu(result.world_from_cam.translation_m))
        pitch_deg, roll_deg = pitch_roll_deg(result.world_from_cam)
        covariance = result.world_from_cam.covariance
        assert covariance is not None
        turn_deg = photo.frame.true_north_turn_deg(result.world_from_cam.translation_m[None])
        major, minor, azimuth = (float(v[0]) for v in error_ellipses(covariance[None], turn_deg))
        answer |= {
            "status": result.status.value,
            "lon_deg": lon_deg,
            "lat_deg": lat_deg,
            "height_m": height_m,
            "heading_deg": photo.frame.heading_deg(result.world_from_cam),
            "pitch_deg": pitch_deg,
            "roll_deg": roll_deg,
            "expected_error_m": result.expected_error_m,
            "expected_heading_error_deg": result.expected_heading_error_deg,
            "ellipse_95": {"semi_major_m": major, "semi_minor_m": minor, "azimuth_deg": azimuth},
            "enu_from_cam": result.world_from_cam.matrix.tolist(),
            "covariance": covariance.tolist(),
        }
    else:
        answer |= {"status": Status.REJECTED.value, "reason": result.reason.value, "detail": result.detail}
    return answer | _evidence(result.evidence) | {"unusable_anchors": list(photo.localization.unusable_anchors)}


def _evidence(evidence: Evidence) -> dict[str, Any]:
    anchors = [
        {"anchor_id": a.anchor_id, "n_matches": a.n_matches, "n_verified": a.n_verified, "n_inliers": a.n_inliers}
        for a in evidence.anchors
    ]
    return {
        "matcher": evidence.matcher,
        "depth": evidence.depth,
        "depth_is_oracle": evidence.depth_is_oracle,
        "scale_source": evidence.scale_source,
        "displacement_m": evidence.displacement_m,
        "n_matches": evidence.n_matches,
        "n_inliers": evidence.n_inliers,
        "anchors": anchors,
    }


def lines(photo: LocalizedPhoto) -> list[str]:
    """Human-readable: where, which way, how sure, by what evidence."""
    answer, result = as_json(photo), photo.localization.found.result
    if isinstance(result, Correction):
        ellipse = answer["ellipse_95"]
        text = [
            f"{answer['lat_deg']:.8f}°, {answer['lon_deg']:.8f}° (latitude, longitude, WGS84), "
            f"{answer['height_m']:.2f} m above the ellipsoid",
            f"heading {answer['heading_deg']:.2f}° from true north, pitch {answer['pitch_deg']:.2f}°, "
            f"roll {answer['roll_deg']:.2f}°",
            f"expected error {_metres(result.expected_error_m)}, heading "
            f"{result.expected_heading_error_deg:.2f}° (68 %); "
            f"95 % ellipse {_metres(ellipse['semi_major_m'])} × {_metres(ellipse['semi_minor_m'])}",
            f"{answer['status']}" + ("" if result.status is Status.ACCEPTED else ": have a person look at it"),
        ]
        if np.isfinite(result.evidence.displacement_m):
            text.append(f"{result.evidence.displacement_m:.2f} m from the reported position")
    else:
        text = [f"rejected, {result.reason.value}: {result.reason.text}", *filter(None, [result.detail])]
    used = [a for a in result.evidence.anchors if a.n_verified]
    if result.evidence.depth:
        oracle = " (measured: an oracle)" if result.evidence.depth_is_oracle else ""
        text.append(
            f"{result.evidence.n_inliers} inliers of {result.evidence.n_matches} matches with {len(used)} of "
            f"{len(result.evidence.anchors)} anchors; depth: {result.evidence.depth}{oracle}"
        )
    return text + [f"unusable {message}" for message in photo.localization.unusable_anchors]


def _metres(value_m: float) -> str:
    if not math.isfinite(value_m):
        return "unknown"
    return f"{100 * value_m:.1f} cm" if value_m < 1 else f"{value_m:.1f} m"
