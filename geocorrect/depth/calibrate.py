"""A predicted depth corrected once, offline, against neighbours of known pose (METHOD §3.1).

The error of a depth network is smooth: an offset and a slope in log depth, slow changes over the image, and
surface-wise errors. Triangulated matches with the neighbours give the truth at some hundred pixels; a
low-order correction is estimated together with them, and a Gaussian process carries what remains to every
pixel, with a sigma that grows away from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.depth.track_adjustment import (
    NeighbourMatches,
    Prediction,
    TrackOptions,
    Tracks,
    adjust_tracks,
    track_pixels,
)
from geocorrect.geometry.camera import Camera
from geocorrect.records import DepthMap

Float = NDArray[np.float64]

REFERENCE_DEPTH_M = 12.0
"""Centre of the slope in log depth: the middle of a street scene."""


@dataclass(frozen=True)
class CalibrateOptions:
    """Prior of the prediction's error (shares of its common sigma m) and the Gaussian process (METHOD §3.1)."""

    slope_share: float = 0.5
    wave_share: float = 0.4
    waves: int = 3
    min_sigma: float = 0.05
    white_m: float = 0.25
    """Sigma of a prediction before the process: hypot(min_sigma, white_m · m)."""
    length_px: float = 45.0
    """At 512 px image length."""
    length_log_depth: float = 0.35
    amplitude_share: float = 0.3
    noise: float = 0.03
    max_points: int = 400
    max_track_sigma: float = 0.15
    common_floor: float = 0.015
    """Common error left by the smooth part of the match noise of the neighbours (simulator: 1–2 %)."""
    min_support: float = 0.3
    min_tracks: int = 20
    map_stride_px: int = 4
    tracks: TrackOptions = field(default_factory=TrackOptions)


@dataclass(frozen=True, eq=False)
class DepthCalibration:
    """The correction of one anchor's predicted depth and how good it is.

    scale_before, scale_after: median of predicted over triangulated depth; spread_before, spread_after: 1.48
    × median absolute log difference at the well-triangulated tracks; n_tracks of them, good_share of all.
    common_log_sigma: what is left of the common error.
    """

    camera: Camera
    options: CalibrateOptions
    coefficients: Float
    coefficient_covariance: Float
    points: Float
    factor: Float
    alpha: Float
    amplitude: float
    scale_before: float
    scale_after: float
    spread_before: float
    spread_after: float
    n_tracks: int
    good_share: float
    common_log_sigma: float

    def apply(self, px: Float, log_z: Float) -> tuple[Float, Float]:
        """(corrected log depth (N,), its sigma (N,)) of predicted log depths at pixels (N, 2)."""
        basis = correction_basis(px, log_z, self.camera, self.options)
        corrected = log_z - basis @ self.coefficients
        # The constant's own uncertainty is common to the image and reported apart.
        variance = (
            np.einsum("ni,ij,nj->n", basis, self.coefficient_covariance, basis) - self.coefficient_covariance[0, 0]
        )
        cross = _kernel(_features(px, corrected, self.camera, self.options), self.points, self.amplitude)
        corrected = corrected + cross @ self.alpha
        explained = np.einsum("np,np->n", cross @ self.factor, cross)
        left = np.maximum(self.amplitude**2 - explained, 0.0)
        return corrected, np.sqrt(np.maximum(variance, 0.0) + left + self.options.noise**2)


def calibrate(
    camera: Camera,
    pairs: Sequence[NeighbourMatches],
    predicted_at_tracks: Float,
    common_log_sigma: float,
    options: CalibrateOptions,
) -> DepthCalibration | None:
    """Calibration from matches with neighbours; None when fewer than `min_tracks` tracks are well triangulated.

    predicted_at_tracks: (T,) predicted z-depth in metres at `track_pixels(pairs)`, nan = unknown.
    common_log_sigma: prior of the prediction's scale error (METHOD's m).
    """
    px, _ = track_pixels(pairs)
    log_z = np.log(predicted_at_tracks)
    m = max(common_log_sigma, 0.02)
    basis = correction_basis(px, np.nan_to_num(log_z, nan=np.log(REFERENCE_DEPTH_M)), camera, options)
    sigmas = np.full(basis.shape[1], options.wave_share * m)
    sigmas[:2] = m, options.slope_share * m
    white = np.full(len(px), np.hypot(options.min_sigma, options.white_m * m))
    tracks = adjust_tracks(camera, pairs, Prediction(log_z, white, basis, sigmas), options.tracks)
    good = (tracks.sigma < options.max_track_sigma) & (tracks.support > options.min_support) & np.isfinite(log_z)
    if good.sum() < options.min_tracks:
        return None
    return _with_process(camera, tracks, log_z, basis, good, options, options.amplitude_share * m)


def _with_process(
    camera: Camera,
    tracks: Tracks,
    log_z: Float,
    basis: Float,
    good: NDArray[np.bool_],
    options: CalibrateOptions,
    amplitude: float,
) -> DepthCalibration:
    """Condition the Gaussian process on what the low-order correction left at the good tracks."""
    corrected = log_z - basis @ tracks.coefficients
    rest = (tracks.log_z - corrected)[good]
    chosen = _spread_out(np.flatnonzero(good), options.max_points)
    noise = np.hypot(tracks.sigma[chosen], options.noise)
    off = (tracks.log_z - corrected)[chosen]
    # Outliers are told by their distance from zero under the process: a mismatch must not bend it.
    noise = noise * np.maximum(1.0, np.abs(off) / (2.0 * np.hypot(amplitude, noise)))
    points = _features(tracks.px[chosen], corrected[chosen], camera, options)
    kernel = _kernel(points, points, amplitude)
    factor = np.linalg.inv(kernel + np.diag(noise**2))
    before = (log_z - tracks.log_z)[good]
    after = rest - (
        _kernel(_features(tracks.px[good], corrected[good], camera, options), points, amplitude) @ factor @ off
    )
    return DepthCalibration(
        camera,
        options,
        tracks.coefficients,
        tracks.coefficient_covariance,
        points,
        np.asarray(factor, np.float64),
        np.asarray(factor @ off, np.float64),
        amplitude,
        float(np.exp(np.median(before))),
        float(np.exp(-np.median(after))),
        1.4826 * float(np.median(np.abs(before))),
        1.4826 * float(np.median(np.abs(after))),
        int(good.sum()),
        float(good.mean()),
        float(np.hypot(np.sqrt(tracks.coefficient_covariance[0, 0]), options.common_floor)),
    )


def correction_basis(px: Float, log_z: Float, camera: Camera, options: CalibrateOptions) -> Float:
    """(N, 1 + 1 + waves² − 1) low-order correction: constant, log-depth slope, 2-D cosines over the image."""
    u, v = (px[:, 0] + 0.5) / camera.width, (px[:, 1] + 0.5) / camera.height
    columns = [np.ones(len(px)), np.clip(log_z - np.log(REFERENCE_DEPTH_M), -2.0, 2.0)]
    for i in range(options.waves):
        for j in range(options.waves):
            if i or j:
                columns.append(np.cos(np.pi * i * u) * np.cos(np.pi * j * v))
    return np.stack(columns, axis=1)


def calibrated_map(depth: DepthMap, calibration: DepthCalibration) -> DepthMap:
    """The depth map corrected, with a sigma map; the process is evaluated on a grid and spread bilinearly."""
    if depth.z_m is None:
        assert depth.samples_px is not None
        assert depth.samples_z_m is not None
        log_z, sigma = calibration.apply(depth.samples_px, np.log(depth.samples_z_m))
        return _as_calibrated(depth, calibration, samples_z_m=np.exp(log_z), log_sigma=sigma.astype(np.float32))
    import cv2

    height, width = depth.z_m.shape
    stride = calibration.options.map_stride_px
    columns, rows = np.arange(0, width, stride), np.arange(0, height, stride)
    u, v = np.meshgrid(columns, rows)
    px = np.stack([u.ravel(), v.ravel()], axis=1).astype(float)
    z = depth.z_m[v.ravel(), u.ravel()].astype(float)
    log_z = np.log(np.where(z > 0, z, REFERENCE_DEPTH_M))
    corrected, sigma = calibration.apply(px, np.nan_to_num(log_z, nan=np.log(REFERENCE_DEPTH_M)))
    change = (corrected - log_z).reshape(u.shape)
    # remap with replicated borders: grid cell (i, j) lies at pixel (i, j) · stride.
    to_u, to_v = np.meshgrid(np.arange(width) / stride, np.arange(height) / stride)
    maps = to_u.astype(np.float32), to_v.astype(np.float32)
    full = [
        cv2.remap(np.nan_to_num(part).astype(np.float32), *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for part in (change, sigma.reshape(u.shape))
    ]
    return _as_calibrated(depth, calibration, z_m=depth.z_m * np.exp(full[0]), log_sigma=full[1])


def _as_calibrated(depth: DepthMap, calibration: DepthCalibration, **changes: object) -> DepthMap:
    named = replace(depth, name=f"{depth.name}+calibrated", common_log_sigma=calibration.common_log_sigma)
    return replace(named, **changes)  # type: ignore[arg-type]


def _features(px: Float, log_z: Float, camera: Camera, options: CalibrateOptions) -> Float:
    """(N, 3) pixel position and log depth in units of the process's lengths."""
    length = options.length_px * max(camera.width, camera.height) / 512.0
    return np.column_stack([px / length, log_z / options.length_log_depth])


def _kernel(first: Float, second: Float, amplitude: float) -> Float:
    """(N, P) squared-exponential covariance."""
    squared = (first**2).sum(1)[:, None] + (second**2).sum(1)[None] - 2 * first @ second.T
    kernel: Float = amplitude**2 * np.exp(-0.5 * np.maximum(squared, 0.0))
    return kernel


def _spread_out(indices: NDArray[np.intp], limit: int) -> NDArray[np.intp]:
    """At most `limit` of the indices, evenly (tracks are sorted by pixel, so evenly over the image)."""
    if len(indices) <= limit:
        return indices
    return indices[np.linspace(0, len(indices) - 1, limit).astype(int)]
