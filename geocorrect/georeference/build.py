"""From files to a problem: which pose every clicked image has, and where every mark lies in one local frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from geocorrect.anchors.readers.timestamps import Nanoseconds
from geocorrect.anchors.readers.vbr.calibration import RigCamera
from geocorrect.anchors.trajectory import Trajectory
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.georeference.landmarks.click import Click
from geocorrect.georeference.problem import ClickedImage, Float, Mask, Priors, Problem

MIN_CLICKS = 4
"""Fewer cannot be told from chance: two unknowns of place, one of direction, and a check."""


@dataclass(frozen=True)
class ClickNoise:
    """Standard deviations of clicks that do not state their own.

    Defaults: a hand click at full resolution, imagery of about 0.3 m a pixel; the real campus clicks fit them.
    """

    sigma_px: float = 5.0
    """In the image."""
    sigma_map_m: float = 0.25
    """On the map."""
    sigma_height_m: float = 0.2
    """Of given heights."""
    sigma_dem_m: float = 0.5
    """Of heights from a DEM."""


class HeightModel(Protocol):
    """Ellipsoidal heights of the ground."""

    def height_m(self, lon_deg: float, lat_deg: float) -> float:
        """Height at a place; nan where the model has none."""


@dataclass(frozen=True, eq=False)
class ClickedDrive:
    """One trajectory with the clicks on its images."""

    trajectory: Trajectory
    rig: RigCamera
    clicks: Sequence[Click]
    image_time_ns: Nanoseconds | None = None
    """(N,) time of image k, or None: image k was taken at row k + row_offset of the trajectory."""
    row_offset: float = 0.0
    shared_from_local: Pose = field(default_factory=Pose.identity)
    """Brings this trajectory into the local frame shared by all drives of one solve."""

    def shifted(self, rows: int) -> ClickedDrive:
        """As if every image had been taken so many rows of the trajectory later."""
        if self.image_time_ns is None:
            return replace(self, row_offset=self.row_offset + rows)
        step_ns = int(np.median(np.diff(self.trajectory.time_ns)))
        return replace(self, image_time_ns=self.image_time_ns + rows * step_ns)

    def pose_of(self, click: Click) -> Pose:
        """local_from_base at the exposure of the clicked image; InputError naming the click's row."""
        number = frame_number(click)
        try:
            if self.image_time_ns is None:
                return self.trajectory.pose_at_row(number + self.row_offset)
            if number >= len(self.image_time_ns):
                raise InputError(f"the image timestamps have {len(self.image_time_ns)} rows")
            return self.trajectory.pose_at(int(self.image_time_ns[number]))
        except InputError as error:
            raise InputError(f"{click.where}: image {click.image!r} is not on the trajectory: {error}") from None


def frame_number(click: Click) -> int:
    """The number in an image's name: its ten digits, or else the last one that numbers no version or copy."""
    stem = re.sub(r"([ _-]?\(\d+\)|[ _-]v\d+)$", "", Path(click.image).stem, flags=re.IGNORECASE)
    digits = re.findall(r"(?<!\d)\d{10}(?!\d)", stem) or re.findall(r"\d+", stem)
    if not digits or len(digits[-1]) > 18:
        raise InputError(f"{click.where}: image {click.image!r} has no frame number in its name")
    return int(digits[-1])


def track_of(drives: Sequence[ClickedDrive]) -> Float:
    """(K, 3) positions of all drives in their shared local frame."""
    return np.concatenate([drive.shared_from_local.apply(drive.trajectory.translation_m) for drive in drives])


def frame_of(drives: Sequence[ClickedDrive], ground_height_m: float | None = None) -> Frame:
    """East-north-up at the middle of the clicks; its height is that of the marks, or of the ground if stated."""
    clicks = [click for drive in drives for click in drive.clicks]
    heights = [click.height_m for click in clicks if np.isfinite(click.height_m)]
    height = float(np.median(heights)) if heights else (ground_height_m or 0.0)
    lon, lat = np.median([[click.lon_deg, click.lat_deg] for click in clicks], axis=0)
    return Frame(Path(drives[0].trajectory.name).stem, float(lon), float(lat), height)


def build_problem(
    drives: Sequence[ClickedDrive], frame: Frame, noise: ClickNoise, priors: Priors, dem: HeightModel | None = None
) -> tuple[Problem, list[Click]]:
    """The problem in `frame` and the clicks in its order; InputError naming the click that cannot be used."""
    images: list[ClickedImage] = []
    index: list[int] = []
    clicks: list[Click] = []
    for drive in drives:
        numbers: dict[str, int] = {}
        for raw in drive.clicks:
            click = raw.in_pixels(drive.rig.camera.width, drive.rig.camera.height)
            if click.image not in numbers:
                numbers[click.image] = len(images)
                pose = drive.shared_from_local @ drive.pose_of(click)
                images.append(ClickedImage(click.image, drive.rig.camera, pose, drive.rig.base_from_cam))
            index.append(numbers[click.image])
            clicks.append(click)
    if len(clicks) < MIN_CLICKS:
        raise InputError(f"{len(clicks)} clicks; at least {MIN_CLICKS} are needed (better 4 in each of 3 images)")
    heights, on_ground = _heights(clicks, dem)
    unknown = np.isnan(heights)
    place = np.array([[c.lon_deg, c.lat_deg] for c in clicks])
    target = frame.enu_from_wgs84(place[:, 0], place[:, 1], np.where(unknown, frame.height_m, heights))
    target[unknown, 2] = np.nan
    marks = {name: k for k, name in enumerate(dict.fromkeys(c.landmark for c in clicks))}
    height_default = np.where(on_ground, noise.sigma_dem_m, noise.sigma_height_m)
    problem = Problem(
        tuple(images),
        np.array(index, np.int64),
        np.array([[c.u_px, c.v_px] for c in clicks]),
        target,
        _or_default([c.sigma_px for c in clicks], noise.sigma_px),
        _or_default([c.sigma_map_m for c in clicks], noise.sigma_map_m),
        _or_default([c.sigma_height_m for c in clicks], height_default),
        np.array([marks[c.landmark] for c in clicks], np.int64),
        on_ground,
        _vertical(drives),
        priors,
    )
    return problem, clicks


def _vertical(drives: Sequence[ClickedDrive]) -> Float:
    """(3,) unit vertical in the shared local frame: a car stands upright on average over a drive."""
    axes = [(drive.shared_from_local.rotation * drive.trajectory.rotation).apply([0.0, 0.0, 1.0]) for drive in drives]
    mean = np.concatenate(axes).mean(axis=0)
    unit: Float = mean / np.linalg.norm(mean)
    return unit


def _heights(clicks: Sequence[Click], dem: HeightModel | None) -> tuple[Float, Mask]:
    """(N,) ellipsoidal heights, nan unknown, and whether the mark lies on the ground."""
    heights = np.array([click.height_m for click in clicks])
    on_ground = np.isnan(heights)
    if dem is not None:
        for k in map(int, np.flatnonzero(on_ground)):
            click = clicks[k]
            heights[k] = dem.height_m(click.lon_deg, click.lat_deg)
            if not np.isfinite(heights[k]):
                raise InputError(f"{click.where}: the DEM has no height at {click.lon_deg:g}, {click.lat_deg:g}")
    return heights, on_ground


def _or_default(values: Sequence[float], default: float | Float) -> Float:
    array = np.array(values, float)
    return np.where(np.isnan(array), default, array)
