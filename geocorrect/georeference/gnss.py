"""Direct alignment of a trajectory that carries GNSS or RTK positions: robust, with the slow drift of GNSS in mind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import Alignment, covariance_at_origin, point_jacobian
from geocorrect.anchors.readers.place import height_on_ellipsoid_m
from geocorrect.anchors.readers.positions.track import is_track, read_track
from geocorrect.anchors.readers.rows import read_rows
from geocorrect.anchors.readers.timestamps import Nanoseconds, nanoseconds_of
from geocorrect.anchors.trajectory import Trajectory
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import DegenerateError, Similarity, umeyama
from geocorrect.geometry.so3 import skew

Float = NDArray[np.float64]

CAUCHY_SCALE = 2.4
ITERATIONS = 30
OUTLIER_D2 = 16.27
"""99.9 % of χ² with 3 degrees of freedom."""


@dataclass(frozen=True)
class GnssOptions:
    """How the fixes are meant and weighed."""

    height_reference: str = "unknown"
    """What heights are measured from, as in `geometry.crs`."""
    undulation_m: float = float("nan")
    """Of the geoid above the ellipsoid."""
    antenna_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Position of the antenna on the base."""
    sigma_m: float = 0.5
    """Of rows that state none; vertical errors are taken twice as large."""
    correlation_s: float = 30.0
    """GNSS errors stay alike about this long, so n rows are not n independent ones."""
    scale_sigma: float = 0.002
    """Prior, as for clicks; likewise the next."""
    tilt_sigma_deg: float = 1.0
    max_sigma_m: float = 20.0
    """Rows worse than this are not used."""


@dataclass(frozen=True, eq=False)
class GnssFixes:
    """Rows of a GNSS file, each attribute (N,)."""

    time_ns: Nanoseconds
    lon_deg: Float
    lat_deg: Float
    height_m: Float
    """Ellipsoidal."""
    sigma_m: Float

    def usable_on(self, trajectory: Trajectory, max_sigma_m: float) -> NDArray[np.bool_]:
        """(N,) which rows lie on a trajectory and are good enough."""
        return np.array([trajectory.covers(int(t)) for t in self.time_ns], bool) & (self.sigma_m < max_sigma_m)


@dataclass(frozen=True, eq=False)
class GnssDrive:
    """One of the drives that are placed together."""

    trajectory: Trajectory
    fixes: GnssFixes
    """On the trajectory's clock."""
    shared_from_local: Pose = field(default_factory=Pose.identity)
    """From the drive's own frame into the one that is placed."""


@dataclass(frozen=True, eq=False)
class _Used:
    """The M fixes of one drive that lie on it."""

    local_m: Float
    """(M, 3) of the antenna in the shared frame."""
    wgs84: Float
    """(M, 3)."""
    sigma_m: Float
    share: Float
    """(M,) what a fix weighs, because those of a drive err alike for a while."""
    up: Float
    """(3,) of the base in the shared frame, summed."""

    @classmethod
    def of(cls, drive: GnssDrive, options: GnssOptions) -> _Used:
        """InputError when they are fewer than three."""
        trajectory, fixes, turn = drive.trajectory, drive.fixes, drive.shared_from_local
        used = fixes.usable_on(trajectory, options.max_sigma_m)
        n_used = int(used.sum())
        if n_used < 3:
            raise InputError(f"{trajectory.name}: {n_used} GNSS fixes lie on it; are the clocks the same?")
        arm_m = np.array(options.antenna_m)
        local_m = np.array([turn.apply(trajectory.pose_at(int(t)).apply(arm_m)) for t in fixes.time_ns[used]])
        seconds = float(np.ptp(fixes.time_ns[used])) / 1e9
        independent = max(1.0, min(float(n_used), seconds / (2 * options.correlation_s) + 1.0))
        up = turn.rotation.apply(trajectory.rotation.apply([0.0, 0.0, 1.0]).sum(axis=0))
        wgs84 = np.stack([fixes.lon_deg[used], fixes.lat_deg[used], fixes.height_m[used]], axis=1)
        return cls(local_m, wgs84, fixes.sigma_m[used], np.full(n_used, independent / n_used), up)


@dataclass(frozen=True, eq=False)
class GnssSolution:
    """The alignment by GNSS, and how the fixes that lie on the trajectories agree with it, drive by drive."""

    alignment: Alignment
    residual_m: Float
    """(N,) in plan."""
    outlier: NDArray[np.bool_]
    """(N,)."""


def read_gnss(path: Path, options: GnssOptions) -> GnssFixes:
    """Fixes of a CSV, or of a track .gpx, .nmea or .pos where the trajectory's clock is UTC; InputError names the row.

    CSV: time_s (on the trajectory's clock), lon_deg, lat_deg, height_m [, sigma_m].
    """
    if is_track(path):
        track = read_track(path, options.height_reference, options.undulation_m, options.sigma_m)
        lon_deg, lat_deg, height_m = track.wgs84.T
        return GnssFixes(track.time_ns, lon_deg, lat_deg, height_m, track.sigma_m[:, :2].max(axis=1))
    if options.height_reference == "unknown":
        raise InputError(f"{path}: what the heights are measured from is not declared; add --height-reference")
    times, values = [], []
    for row in read_rows(path):
        lon, lat = row.number("lon_deg"), row.number("lat_deg")
        if abs(lat) > 90 or abs(lon) > 180 or (lon == 0 and lat == 0):
            raise InputError(f"{row.where}: longitude {lon:g}, latitude {lat:g} is no position (swapped, or no fix)")
        times.append((row.text("time_s"), row.where))
        height_m = row.number("height_m")
        height_m = height_on_ellipsoid_m(row.where, lon, lat, height_m, options.height_reference, options.undulation_m)
        values.append([lon, lat, height_m, row.sigma_or("sigma_m", options.sigma_m)])
    return GnssFixes(nanoseconds_of(*zip(*times, strict=True)), *np.array(values).T)


def align_gnss(drives: Sequence[GnssDrive], options: GnssOptions) -> GnssSolution:
    """Robust similarity between antenna positions and fixes of all drives: Cauchy loss, scale and tilt bound by priors.

    Raises:
        InputError: Too few fixes lie on a trajectory, or the drives are too short to tell their heading.
    """
    parts = [_Used.of(drive, options) for drive in drives]
    local, sigma_m, share = (np.concatenate([getattr(part, name) for part in parts])
                             for name in ("local_m", "sigma_m", "share"))  # fmt: skip
    extent_m, name = float(np.linalg.norm(np.ptp(local[:, :2], axis=0))), drives[0].trajectory.name
    if extent_m < 5 * float(np.median(sigma_m)):
        whole = "the drive spans" if len(drives) == 1 else f"it and {len(drives) - 1} others span"
        raise InputError(f"{name}: {whole} {extent_m:.1f} m, too little against the GNSS error for a heading")
    place = np.concatenate([part.wgs84 for part in parts]).T
    frame = Frame(Path(name).stem, *np.median(place, axis=1).tolist())
    world = frame.enu_from_wgs84(*place)
    up = np.sum([part.up for part in parts], axis=0)
    sigma = sigma_m[:, None] * [1.0, 1.0, 2.0]
    transform, information, d2 = _solve(local, world, sigma, up / np.linalg.norm(up), options, share)
    covariance = np.asarray(np.linalg.inv(information), np.float64)
    arm = transform.scale * transform.rotation.apply(local.mean(axis=0))
    residual_m = np.linalg.norm((transform.apply(local) - world)[:, :2], axis=1)
    outlier = d2 > OUTLIER_D2
    covariance, median_m = covariance_at_origin(covariance, arm), float(np.median(residual_m[~outlier]))
    alignment = Alignment(frame, transform, covariance, "gnss", residual_m=median_m)
    return GnssSolution(alignment, residual_m, outlier)


def _solve(
    local: Float, world: Float, sigma: Float, up_local: Float, options: GnssOptions, share: Float
) -> tuple[Similarity, Float, Float]:
    """(transform, information of (t, θ, log s) about the middle of the fixes, d² of every fix).

    share: (N,) what a fix weighs, because fixes err alike for a while. Priors are facts of their own and weigh whole.
    """
    middle = local.mean(axis=0)
    try:
        first = umeyama(world, local, "yaw", weights=1 / sigma[:, 0] ** 2)
    except DegenerateError as error:
        raise InputError(f"GNSS alignment: {error}") from None
    state = Similarity(1.0, first.rotation, first.apply(middle))
    for _ in range(ITERATIONS):
        q = state.scale * state.rotation.apply(local - middle)
        residual = (q + state.translation_m - world) / sigma
        d2 = np.sum(residual**2, axis=1)
        weight = share / (1.0 + d2 / CAUCHY_SCALE**2)
        rows = point_jacobian(q) / sigma[:, :, None]
        up = state.rotation.apply(up_local)
        lean, tilt = -skew(up)[:2] / np.radians(options.tilt_sigma_deg), up[:2] / np.radians(options.tilt_sigma_deg)
        information = np.einsum("n,nki,nkj->ij", weight, rows, rows)
        gradient = np.einsum("n,nki,nk->i", weight, rows, residual)
        information[3:6, 3:6] += lean.T @ lean
        gradient[3:6] += lean.T @ tilt
        information[6, 6] += options.scale_sigma**-2
        gradient[6] += np.log(state.scale) * options.scale_sigma**-2
        step = -np.linalg.solve(information, gradient)
        turned = Rotation.from_rotvec(step[3:6]) * state.rotation
        state = Similarity(state.scale * float(np.exp(step[6])), turned, state.translation_m + step[:3])
        if float(np.abs(step).max()) < 1e-10:
            break
    shift = state.translation_m - state.scale * state.rotation.apply(middle)
    return Similarity(state.scale, state.rotation, shift), information, d2
