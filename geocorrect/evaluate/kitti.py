"""Protocol on KITTI raw: some frames of the left camera are anchors, all other images are queries with known truth.

Reported positions are the truth plus a slowly varying bias (a random walk from `bias_m`), headings are off by
`heading_error_deg` (1 sigma): what a phone in a street delivers. The queries pass through the ordinary pipeline:
catalog, retrieval, matching, lifting, solving, gate, catalog; errors are read back from the catalog.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from geocorrect.anchors.add import add_anchors_to
from geocorrect.anchors.readers.kitti.raw import KittiDrive, KittiImage, read_kitti_raw
from geocorrect.catalog.run import ResultFilter
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.evaluate.metrics import median_interval
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose, rotation_angle_deg
from geocorrect.jobs.plan import plan_run
from geocorrect.jobs.run import run_batch
from geocorrect.localize.options import JointOptions
from geocorrect.records import NAN, Correction, Image, Position
from geocorrect.report.statistics import FALSE_ACCEPT_M, median_of
from geocorrect.workers.stop import StopRequest


@dataclass(frozen=True)
class KittiProtocol:
    """What is an anchor, and how wrong the reported positions are made."""

    anchor_frames: tuple[int, ...] = (0, 4, 8)
    """Of camera 02."""
    bias_m: float = 3.0
    """Length of the first bias of the reported positions."""
    heading_error_deg: float = 10.0
    """Standard deviation of the reported headings."""
    anchor_position_m: float = 0.005
    """1 sigma of the anchors' positions relative to each other: inertial, over a second of driving, millimetres."""
    anchor_rotation_deg: float = 0.05
    """1 sigma of their orientations."""
    seed: int = 0


def evaluate_kitti(
    folder: Path, settings: Settings, catalog: Catalog, protocol: KittiProtocol | None = None
) -> Mapping[str, Any]:
    """Run the protocol on one drive into an empty catalog; returns the summary and one row per query.

    Raises:
        InputError: the folder is not a KITTI raw drive.
    """
    protocol = protocol or KittiProtocol()
    settings = _with_anchor_noise(settings, protocol)
    drive = read_kitti_raw(folder)
    anchors = drive.anchors({"02"}, protocol.anchor_frames)
    anchor_ids = {anchor.id for anchor in anchors}
    queries = [image for image in drive.images if image.id not in anchor_ids]
    add_anchors_to(catalog, drive.alignment, anchors)
    images = _reported_images(drive.frame, queries, protocol)
    catalog.upsert_images(images.values())
    summary = run_batch(plan_run(settings, catalog), catalog, StopRequest())
    results = {row.result.image_id: row.result for row in catalog.results(ResultFilter(run_key=summary.run_key))}
    return _report(drive, queries, images, results, settings)


def _with_anchor_noise(settings: Settings, protocol: KittiProtocol) -> Settings:
    """The settings with the protocol's anchor noise, unless they state one of their own."""
    joint, usual = settings.localize.joint, JointOptions()
    if (joint.anchor_position_m, joint.anchor_rotation_deg) != (usual.anchor_position_m, usual.anchor_rotation_deg):
        return settings
    position_m, rotation_deg = protocol.anchor_position_m, protocol.anchor_rotation_deg
    joint = replace(joint, anchor_position_m=position_m, anchor_rotation_deg=rotation_deg)
    return settings.model_copy(update={"localize": replace(settings.localize, joint=joint)})


def _reported_images(frame: Frame, queries: list[KittiImage], protocol: KittiProtocol) -> dict[str, Image]:
    """The queries as a crowd provider would list them: biased position, wrong heading."""
    random = np.random.default_rng(protocol.seed)
    bias_m = random.normal(size=2)
    bias_m *= protocol.bias_m / np.linalg.norm(bias_m)
    images = {}
    for query in sorted(queries, key=lambda image: (image.frame_number, image.camera_name)):
        bias_m = bias_m + random.normal(0.0, 0.05 * protocol.bias_m, size=2)
        reported_enu_m = query.world_from_cam.translation_m + np.array([*bias_m, 0.0])
        lon_deg, lat_deg, _ = frame.wgs84_from_enu(reported_enu_m)
        heading_deg = frame.heading_deg(query.world_from_cam) + random.normal(0.0, protocol.heading_error_deg)
        images[query.id] = Image(
            id=query.id,
            reported=Position(float(lon_deg), float(lat_deg)),
            camera=query.camera,
            path=query.path,
            sequence_id=query.camera_name,
            captured_at=query.captured_at,
            heading_deg=float(heading_deg % 360.0),
        )
    return images


def _report(
    drive: KittiDrive,
    queries: list[KittiImage],
    images: Mapping[str, Image],
    results: Mapping[str, Any],
    settings: Settings,
) -> dict[str, Any]:
    errors = []
    rows = []
    for query in queries:
        result = results[query.id]
        row: dict[str, Any] = {"image_id": query.id, "status": "rejected"}
        if isinstance(result, Correction):
            reported = images[query.id].reported
            assert reported is not None
            reported_enu_m = drive.frame.enu_from_wgs84(reported.lon_deg, reported.lat_deg, drive.frame.height_m)
            poses = result.world_from_cam, query.world_from_cam
            error = pose_error(query.id, *poses, reported_enu_m, result.expected_error_m)
            row |= {
                "status": result.status.value,
                "position_error_m": error.position_m,
                "rotation_error_deg": error.rotation_deg,
                "reported_error_m": error.reported_m,
                "expected_error_m": error.expected_error_m,
                "lon_lat_height": [float(v) for v in drive.frame.wgs84_from_enu(result.world_from_cam.translation_m)],
            }
            if result.status == "accepted":
                errors.append(error)
        else:
            row |= {"reason": result.reason.value, "detail": result.detail}
        rows.append(row)
    return {
        "protocol": "kitti-raw",
        "drive": drive.name,
        "matcher": settings.match.matcher,
        "depth": settings.depth.source,
        **summarise_errors(errors, len(queries)),
        "queries": rows,
    }


@dataclass(frozen=True)
class PoseError:
    """Error of one image."""

    image_id: str
    position_m: float
    """Distance of the camera centre from the true one, in three dimensions."""
    horizontal_m: float
    """Its horizontal part."""
    rotation_deg: float
    """Angle between estimated and true orientation."""
    reported_m: float
    """Horizontal error of the reported position."""
    expected_error_m: float
    """Horizontal error (68 %) that the system predicted."""


def pose_error(
    image_id: str, estimate: Pose, truth: Pose, reported_enu_m: ArrayLike, expected_error_m: float
) -> PoseError:
    """Compare an estimated world_from_cam with the true one, in the same ENU frame."""
    offset = estimate.translation_m - truth.translation_m
    reported = np.asarray(reported_enu_m, float) - truth.translation_m
    return PoseError(
        image_id=image_id,
        position_m=float(np.linalg.norm(offset)),
        horizontal_m=float(np.hypot(offset[0], offset[1])),
        rotation_deg=rotation_angle_deg(estimate.rotation, truth.rotation),
        reported_m=float(np.hypot(reported[0], reported[1])),
        expected_error_m=expected_error_m,
    )


def summarise_errors(errors: Sequence[PoseError], n_queries: int) -> dict[str, Any]:
    """Medians, maxima, failures and false accepts; errors: of the accepted images among the queries."""
    position = [error.position_m for error in errors]
    median_m, low_m, high_m = median_interval(position)
    return {
        "n_queries": n_queries,
        "n_accepted": len(errors),
        "n_failed": n_queries - len(errors),
        "reported_median_m": median_of(error.reported_m for error in errors).value,
        "position_median_m": median_m,
        "position_median_95_m": [low_m, high_m],
        "position_max_m": max(position, default=NAN),
        "rotation_median_deg": median_of(error.rotation_deg for error in errors).value,
        "rotation_max_deg": max((error.rotation_deg for error in errors), default=NAN),
        "false_accepts": sum(error.horizontal_m > FALSE_ACCEPT_M for error in errors),
    }
