"""Records of a small scene with known numbers, for the tests of catalog and export."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.catalog import Catalog, ResultFilter, RunManifest
from geocorrect.catalog.sequences import SequenceFinding
from geocorrect.errors import Reason, Status
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame, rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.records import (
    AlignmentRecord,
    Anchor,
    AnchorEvidence,
    Attribution,
    Correction,
    Evidence,
    Image,
    MetadataQuality,
    Pair,
    Position,
    Rejection,
    Result,
    ScaleSource,
)

ROME = Frame("rome", 12.4964, 41.9028, 48.0)
START = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
CAMERA = Camera.from_opencv(1024, 768, [800.0, 800.0, 511.5, 383.5], [0.1, -0.05, 0.001, 0.002])


def alignment(name: str = "known-1") -> AlignmentRecord:
    similarity = Similarity(1.0, Rotation.from_euler("z", 12, degrees=True), np.array([1.0, 2.0, 3.0]))
    return AlignmentRecord(
        name, "vbr", "known", START, similarity, np.eye(6) * 1e-4, {"clicks": [{"residual_m": 0.02}]}
    )


def anchor(index: int, frame: Frame = ROME) -> Anchor:
    pose = Pose(rotation_from_heading(90.0), np.array([5.0 * index, 0.0, 1.6]), np.diag([1e-4] * 3 + [1e-6] * 3))
    return Anchor(
        f"anchor-{index:02d}", "vbr", Path(f"anchors/{index:02d}.png"), CAMERA, pose, "known-1",
        START + timedelta(seconds=index), drive_id="drive-1", attribution=Attribution("VBR team", "", "CC-BY-4.0"),
    )  # fmt: skip


def image(
    index: int, offset_m: Sequence[float] = (4.0, 3.0), heading_error_deg: float = 8.0, frame: Frame = ROME
) -> Image:
    """Image `index` is truly at (5·index, −2, 1.8) and looks east; it reports its position shifted by −offset_m."""
    lon, lat, height = frame.wgs84_from_enu([5.0 * index - offset_m[0], -2.0 - offset_m[1], 1.8])
    sequence = index // 10
    return Image(
        f"{1000 + index}", Position(float(lon), float(lat), float(height), "ellipsoid"), CAMERA,
        Path(f"img/{index}.jpg"),
        f"seq-{sequence}", START + timedelta(seconds=index), 90.0 - heading_error_deg, device_make="Acme",
        device_model=f"Cam {sequence}", quality=MetadataQuality.RAW_ONLY, sha256=f"{index:064x}", harvested_at=START,
        attribution=Attribution("ana", f"https://example.org/{1000 + index}", "CC-BY-SA-4.0"),
        provider={"is_pano": False},
    )  # fmt: skip


def evidence(index: int) -> Evidence:
    anchors = tuple(
        AnchorEvidence(f"anchor-{k:02d}", 200 + k, 150, 120, 100, 0.8, 0.03, 1.0) for k in (index, index + 1)
    )
    return Evidence(
        anchors,
        "sift",
        "lidar",
        True,
        ScaleSource.BOTH,
        1.01,
        400,
        200,
        0.6,
        0.8,
        5.0,
        0.04,
        1.0,
        {"mahalanobis": 1.5},
        {
            "focal_px": 801.0,
            "focal_sigma": 0.004,
            "principal_x_px": 511.0,
            "principal_x_sigma_px": 1.0,
            "principal_y_px": 383.0,
            "principal_y_sigma_px": 1.0,
            "bend": 0.001,
            "bend_sigma": 0.002,
        },
    )


def correction(index: int, status: Status = Status.ACCEPTED, enu_m: Sequence[float] | None = None) -> Correction:
    covariance = np.diag([0.04, 0.01, 0.02, 1e-5, 1e-5, 1e-5])
    centre = np.array([5.0 * index, -2.0, 1.8] if enu_m is None else enu_m, float)
    pose = Pose(rotation_from_heading(90.0, 2.0, 1.0), centre, covariance)
    return Correction(f"{1000 + index}", pose, status, 0.2 + 0.01 * index, 0.3, evidence(index))


def rejection(index: int, reason: Reason = Reason.TOO_FEW_MATCHES) -> Rejection:
    return Rejection(f"{1000 + index}", reason, f"{index} matches, 20 needed", Evidence(matcher="sift", depth="lidar"))


def results(count: int = 20) -> list[Result]:
    """Every fifth image is rejected, every seventh needs a review."""
    return [
        rejection(i) if i % 5 == 4 else correction(i, Status.REVIEW if i % 7 == 6 else Status.ACCEPTED)
        for i in range(count)
    ]


def manifest(run_key: str = "run-a") -> RunManifest:
    return RunManifest(run_key, START, {"pnp": {"seed": 0}}, "0.1.0", "sift", "lidar", "known-1")


def finding(sequence_id: str = "seq-0", input_hash: str = "inputs") -> SequenceFinding:
    """What a sequence says about its device."""
    return SequenceFinding(
        sequence_id,
        input_hash,
        "computed",
        "",
        10,
        8,
        8,
        0,
        0,
        2,
        1,
        "Acme",
        "Cam 0",
        4.0,
        3.0,
        0.2,
        8.0,
        0.5,
        1.1,
        0.9,
    )


def without_result(catalog: Catalog, run_key: str) -> list[str]:
    """Sorted ids of the photos without a result in a run."""
    done = {stored.image_id for stored in catalog.results(ResultFilter(run_key=run_key, active=False))}
    return [image_id for image_id in list(catalog.images()) if image_id not in done]


def fill(catalog: Catalog, count: int = 20, run_key: str = "run-a") -> None:
    """Frame, alignment, anchors, images and one run with results."""
    catalog.set_frame(ROME)
    catalog.add_alignment(alignment())
    catalog.upsert_anchors(anchor(i) for i in range(count + 1))
    catalog.upsert_images(image(i) for i in range(count))
    catalog.begin_run(manifest(run_key))
    pairs = [Pair(f"{1000 + i}", f"anchor-{i:02d}", 0, 2.0, 3.0) for i in range(count)]
    catalog.record(run_key, results(count), pairs)
    catalog.finish_run(run_key, duration_s=12.5)
