"""A predicted depth corrected once, offline, against neighbours of known pose. See `docs/method.md`.

The error of a depth network is smooth: an offset and a slope in log depth, slow changes over the image, and
surface-wise errors. Triangulated matches with the neighbours give the truth at some hundred pixels; a low-order
correction is estimated together with them, and a Gaussian process (Rasmussen & Williams 2006, §2.7) carries what
remains to every pixel, with a sigma that grows away from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.depth.calibration.track_adjustment import Prediction, adjust_tracks
from geocorrect.depth.calibration.tracks import NeighbourMatches, TrackOptions, Tracks, track_pixels
from geocorrect.geometry.camera import Camera
from geocorrect.records import DepthMap

Float = NDArray[np.float64]

REFERENCE_DEPTH_M = 12.0
"""Centre of the slope in log depth: the middle of a street scene."""


@dataclass(frozen=True)
class CalibrateOptions:
    """Prior of the prediction's error, as shares of its common sigma m, and the Gaussian process."""

    slope_share: float = 0.5
    wave_share: float = 0.4
    waves: int = 3
    """Cosines per image axis in the low-order correction."""
    min_sigma: float = 0.05
    white_m: float = 0.25
    """Sigma of a prediction before the process: hypot(min_sigma, white_m · m)."""
    length_px: float = 45.0
    """Correlation length of the process, at 512 px image length."""
    length_log_depth: float = 0.35
    amplitude_share: float = 0.3
    noise: float = 0.03
    outlier: float = 1.5
    """Sigmas from the low-order correction at which a track's noise is doubled; beyond, it soon says nothing."""
    max_points: int = 400
    max_track_sigma: float = 0.15
    common_floor: float = 0.013
    """Common error beyond what the process knows of: wrong matches along the epipolar line, smooth errors in the poses
    found (simulator, 310 anchors: 1.6 % in all).
    """
    min_support: float = 0.3
    min_tracks: int = 20
    map_stride_px: int = 4
    """Step of the grid on which the process is evaluated for a whole picture."""
    tracks: TrackOptions = field(default_factory=TrackOptions)


@dataclass(frozen=True, eq=False)
class DepthCalibration:
    """The correction of one anchor's predicted depth, and how good it is.

    A Gaussian process over low-order terms and a smooth rest, conditioned on P well-triangulated points.
    """

    camera: Camera
    options: CalibrateOptions
    coefficients: Float
    """(B,) robust low-order correction, which tells the process how far a point is."""
    basis_sigma: Float
    """(B,) prior sigmas of the low-order terms."""
    points: Float
    """(P, 3) pixel and log depth of the points in units of the process's lengths."""
    basis: Float
    """(P, B) low-order terms at the points."""
    factor: Float
    """(P, P) inverse covariance of the data."""
    alpha: Float
    """(P,) weights of the points."""
    amplitude: float
    """Prior sigma of the smooth rest."""
    scale_before: float
    """Median of predicted over triangulated depth."""
    scale_after: float
    spread_before: float
    """1.48 × median absolute log difference at the well-triangulated tracks."""
    spread_after: float
    n_tracks: int
    """Well-triangulated tracks."""
    good_share: float
    """Their share of all tracks."""
    common_log_sigma: float
    """What is left of the common error."""

    def apply(self, px: Float, log_z: Float) -> tuple[Float, Float]:
        """(corrected log depth (N,), its sigma (N,) without the common part) of predicted ones at pixels (N, 2)."""
        basis = correction_basis(px, log_z, self.camera, self.options)
        features = _features(px, log_z - basis @ self.coefficients, self.camera, self.options)
        cross = self._covariance(features, basis)
        prior = (basis**2) @ self.basis_sigma**2 + self.amplitude**2
        left = prior - np.einsum("np,np->n", cross @ self.factor, cross) - self.common_log_sigma**2
        return log_z - cross @ self.alpha, np.sqrt(np.maximum(left, 0.0) + self.options.noise**2)

    def _covariance(self, features: Float, basis: Float) -> Float:
        return _kernel(features, self.points, self.amplitude) + (basis * self.basis_sigma**2) @ self.basis.T


def calibrate(
    camera: Camera,
    pairs: Sequence[NeighbourMatches],
    predicted_at_tracks: Float,
    common_log_sigma: float,
    options: CalibrateOptions,
) -> DepthCalibration | None:
    """Calibration from matches with neighbours; None when fewer than `min_tracks` tracks are well triangulated.

    Args:
        camera: Of the anchor.
        pairs: Its matches with each neighbour.
        predicted_at_tracks: (T,) predicted z-depth in metres at `track_pixels(pairs)`, nan = unknown.
        common_log_sigma: Prior sigma m of the prediction's scale error.
        options: Priors and limits.
    """
    px, _ = track_pixels(pairs)
    log_z = np.log(predicted_at_tracks)
    m = max(common_log_sigma, 0.02)
    basis = correction_basis(px, np.nan_to_num(log_z, nan=np.log(REFERENCE_DEPTH_M)), camera, options)
    sigmas = np.full(basis.shape[1], options.wave_share * m)
    sigmas[:2] = m, options.slope_share * m
    white = np.full(len(px), np.hypot(options.min_sigma, options.white_m * m))
    found = adjust_tracks(camera, pairs, Prediction(log_z, white, basis, sigmas), options.tracks)
    tracks = found.about(log_z - basis @ found.coefficients)
    good = (tracks.sigma < options.max_track_sigma) & (tracks.support > options.min_support) & np.isfinite(log_z)
    if good.sum() < options.min_tracks:
        return None
    return _with_process(camera, tracks, (log_z, basis, sigmas), np.flatnonzero(good), options, m)


def _with_process(
    camera: Camera,
    tracks: Tracks,
    prediction: tuple[Float, Float, Float],
    good: NDArray[np.intp],
    options: CalibrateOptions,
    m: float,
) -> DepthCalibration:
    """Condition the process on how far the prediction is from the triangulated depth at the good tracks.

    prediction: log depth (T,) and low-order terms (T, B) at all tracks, prior sigmas (B,) of the terms.
    """
    (log_z, basis_at_all, basis_sigma), amplitude = prediction, options.amplitude_share * m
    chosen = _spread_out(good, options.max_points)
    corrected = log_z - basis_at_all @ tracks.coefficients
    features = _features(tracks.px, corrected, camera, options)
    points, basis = features[chosen], basis_at_all[chosen]
    noise = tracks.noise.covariance(chosen)
    # Outliers are recognised by their distance from the low-order correction: a mismatch must not bend the process.
    expected = np.sqrt(amplitude**2 + np.diag(noise) + options.noise**2)
    excess = 1.0 + (np.abs(corrected - tracks.log_z)[chosen] / (options.outlier * expected)) ** 4
    own = (np.diag(noise) + options.noise**2) * excess**2 - np.diag(noise)
    prior = _kernel(points, points, amplitude) + (basis * basis_sigma**2) @ basis.T
    factor = np.linalg.inv(prior + noise + np.diag(own))
    off = log_z - tracks.log_z
    alpha = factor @ off[chosen]
    left = prior - prior @ factor @ prior
    cross = _kernel(features[good], points, amplitude) + (basis_at_all[good] * basis_sigma**2) @ basis.T
    after = off[good] - cross @ alpha
    return DepthCalibration(
        camera=camera,
        options=options,
        coefficients=tracks.coefficients,
        basis_sigma=basis_sigma,
        points=points,
        basis=basis,
        factor=np.asarray(factor, np.float64),
        alpha=np.asarray(alpha, np.float64),
        amplitude=amplitude,
        scale_before=float(np.exp(np.median(off[good]))),
        scale_after=float(np.exp(np.median(after))),
        spread_before=1.4826 * float(np.median(np.abs(off[good]))),
        spread_after=1.4826 * float(np.median(np.abs(after))),
        n_tracks=len(good),
        good_share=len(good) / len(log_z),
        common_log_sigma=float(np.sqrt(max(left.mean(), 0.0) + options.common_floor**2)),
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
