"""What `geocorrect georeference` does: read, solve, write files, store in the catalog."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from geocorrect.anchors.add import AddedAnchors, AnchorSink, add_alignment, add_anchors_to
from geocorrect.anchors.readers.timestamps import Nanoseconds, read_timestamps
from geocorrect.anchors.readers.vbr.calibration import read_vbr_calibration
from geocorrect.anchors.readers.vbr.sequence import VbrOptions, read_vbr
from geocorrect.anchors.trajectory import read_tum
from geocorrect.errors import InputError, OutputError, UsageError
from geocorrect.geometry.pose import Pose
from geocorrect.georeference.build import ClickedDrive
from geocorrect.georeference.dem import read_dem
from geocorrect.georeference.diagnose import diagnose_gnss
from geocorrect.georeference.gnss import GnssDrive, GnssOptions, align_gnss, read_gnss
from geocorrect.georeference.landmarks.click import LandmarkOptions
from geocorrect.georeference.landmarks.read import read_landmarks
from geocorrect.georeference.layer import write_layer
from geocorrect.georeference.picture import draw_georeference
from geocorrect.georeference.result import Georeference
from geocorrect.georeference.run import GeoreferenceOptions, georeference, refuse
from geocorrect.io.atomic_file import atomic_path
from geocorrect.io.text_file import read_text


@dataclass(frozen=True)
class Inputs:
    """Files of one call; the tuples belong together by position."""

    trajectories: tuple[Path, ...]
    calibration: Path | None = None
    landmarks: tuple[Path, ...] = ()
    image_timestamps: tuple[Path, ...] = ()
    links: tuple[Path, ...] = ()
    """JSON 4×4, shared_from_local, from the second trajectory on; none when the drives share one local frame."""
    side: str = "left"
    """Clicked camera."""
    row_offset: float = 0.0
    """Without timestamps, image i was taken at trajectory row i + this."""
    landmark_options: LandmarkOptions = field(default_factory=LandmarkOptions)
    dem: Path | None = None
    dem_height_reference: str = "unknown"
    gnss: tuple[Path, ...] = ()
    """One per trajectory, on its clock; beside clicks: that of the first, to check the placement with."""


def read_drives(inputs: Inputs) -> list[ClickedDrive]:
    """Trajectories with their clicks; UsageError when the lists do not fit, InputError naming the file otherwise."""
    landmarks: list[tuple[Path, ...]] = [(path,) for path in inputs.landmarks]
    if len(inputs.trajectories) == 1 and len(landmarks) > 1:
        landmarks = [inputs.landmarks]  # a file per image, as QGIS saves them
    if len(inputs.trajectories) != len(landmarks):
        raise UsageError(
            f"{len(inputs.trajectories)} --trajectory but {len(inputs.landmarks)} --landmarks; give one for each drive"
        )
    if inputs.image_timestamps and len(inputs.image_timestamps) != len(inputs.trajectories):
        raise _do_not_fit("--image-timestamps", inputs.image_timestamps, inputs)
    if inputs.calibration is None:
        raise UsageError("clicks need --calibration vbr_calib.yaml")
    rig = read_vbr_calibration(inputs.calibration).camera(inputs.side)
    times: list[Nanoseconds | None] = [read_timestamps(path) for path in inputs.image_timestamps]
    times = times or [None] * len(inputs.trajectories)
    return [
        ClickedDrive(
            read_tum(trajectory), rig, read_landmarks(files, inputs.landmark_options), time, inputs.row_offset, link
        )
        for trajectory, files, time, link in zip(inputs.trajectories, landmarks, times, _links(inputs), strict=True)
    ]


def _links(inputs: Inputs) -> list[Pose]:
    """shared_from_local of each trajectory."""
    if inputs.links and len(inputs.links) != len(inputs.trajectories) - 1:
        raise _do_not_fit("--link", inputs.links, inputs)
    links = [Pose.identity(), *(_read_link(path) for path in inputs.links)]
    return links + [Pose.identity()] * (len(inputs.trajectories) - len(links))


def _do_not_fit(name: str, given: Sequence[Path], inputs: Inputs) -> UsageError:
    return UsageError(f"{name}: {len(given)} files do not belong to {len(inputs.trajectories)} trajectories")


def _read_link(path: Path) -> Pose:
    try:
        return Pose.from_matrix(np.array(json.loads(read_text(path)), float))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: not a 4×4 rigid transform in JSON ({error})") from None


def solve(inputs: Inputs, options: GeoreferenceOptions) -> Georeference:
    """The alignment by clicks."""
    undulation = inputs.landmark_options.undulation_m
    dem = None if inputs.dem is None else read_dem(inputs.dem, inputs.dem_height_reference, undulation)
    meant = GnssOptions(inputs.landmark_options.height_reference, undulation)
    fixes = read_gnss(inputs.gnss[0], meant) if inputs.gnss else None
    result = georeference(read_drives(inputs), options, dem)
    if fixes is None:
        return result
    facts, findings = diagnose_gnss(result.alignment, result.drives[0].trajectory, fixes)
    refuse(findings)
    return replace(result, facts=facts)


def solve_gnss(inputs: Inputs, options: GnssOptions) -> Georeference:
    """The alignment by the trajectories' own GNSS, all together; UsageError when the lists do not fit."""
    if not inputs.gnss or len(inputs.gnss) != len(inputs.trajectories):
        raise UsageError(
            f"--method gnss: {len(inputs.gnss)} --gnss for {len(inputs.trajectories)} --trajectory; give one for each"
        )
    drives = [
        GnssDrive(read_tum(trajectory), read_gnss(fixes, options), link)
        for trajectory, fixes, link in zip(inputs.trajectories, inputs.gnss, _links(inputs), strict=True)
    ]
    solution = align_gnss(drives, options)
    alignment = solution.alignment
    counts = {"n_drives": len(drives), "n_fixes": len(solution.residual_m), "n_outliers": int(solution.outlier.sum())}
    facts = {**counts, "gnss_median_m": alignment.residual_m}
    places = np.concatenate([drive.shared_from_local.apply(drive.trajectory.translation_m) for drive in drives])
    return Georeference(alignment, facts=facts, track_sigma_m=float(alignment.plan_sigma_m(places).max()))


def write_files(result: Georeference, folder: Path) -> list[Path]:
    """alignment.json, and for clicks residuals.png, clicks.geojson and clicks.gpkg; each whole or not at all."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})") from None
    written = [folder / "alignment.json"]
    with atomic_path(written[0]) as unfinished:
        unfinished.write_text(json.dumps(result.as_json(), indent=2) + "\n", encoding="utf-8")
    if result.clicks:
        written += [folder / "residuals.png", folder / "clicks.geojson", folder / "clicks.gpkg"]
        draw_georeference(result, written[1])
        write_layer(result, written[2])
        write_layer(result, written[3])
    return written


def store(
    sink: AnchorSink, result: Georeference, inputs: Inputs, images: Sequence[Path], vbr: VbrOptions
) -> list[AddedAnchors]:
    """The alignment as a new version, and the anchors of every exported sequence placed by it.

    images: one exported folder per trajectory, or none to store the alignment alone.
    """
    if images and len(images) != len(inputs.trajectories):
        raise UsageError(
            f"{len(images)} --images for {len(inputs.trajectories)} trajectories; give one for each or none"
        )
    facts = {k: v for k, v in result.as_json().items() if k not in {"covariance", "world_from_local"}}
    details = {"georeference": facts}
    if not images:
        add_alignment(sink, result.alignment, "vbr", details)
        return []
    if inputs.calibration is None:
        raise UsageError("--images need --calibration vbr_calib.yaml")
    if any(not np.allclose(link.matrix, np.eye(4), 0.0, 1e-12) for link in _links(inputs)):
        raise UsageError("--images with --link: add each sequence by `anchors add` with its own alignment")
    added = []
    for folder, trajectory in zip(images, inputs.trajectories, strict=True):
        anchors = read_vbr(folder, inputs.calibration, trajectory, result.alignment, vbr)
        added.append(add_anchors_to(sink, result.alignment, anchors, details))
    return added
