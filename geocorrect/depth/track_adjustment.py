"""True depth of an anchor's pixels from its matches with neighbours of known pose: one unknown distance per track.

Unknowns: per track the log depth λ along the anchor pixel's ray; a low-order correction β of a predicted log
depth, where there is one; and small corrections of the neighbours' poses within their own uncertainty. The λ
are 1-D, so they are eliminated and a step costs one small dense solve (METHOD §3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose

Float = NDArray[np.float64]
Int = NDArray[np.intp]

POSE = 6
MIN_LOG_Z, MAX_LOG_Z = float(np.log(0.5)), float(np.log(300.0))


@dataclass(frozen=True)
class TrackOptions:
    """sigma_px: noise of an anchor–anchor match, at 512 px image length. robust_px, robust_depth: scales of
    Geman–McClure and Cauchy, in sigmas. graduation: their inflation, level by level. neighbour_*: pose noise
    between two anchors.
    """

    sigma_px: float = 1.2
    robust_px: float = 3.0
    robust_depth: float = 2.0
    graduation: tuple[float, ...] = (6.0, 4.0, 3.0, 2.0, 1.5, 1.0, 1.0)
    neighbour_position_m: float = 0.028
    neighbour_rotation_deg: float = 0.07


@dataclass(frozen=True, eq=False)
class NeighbourMatches:
    """Matches of the anchor with one neighbour: neighbour_from_anchor on record, its camera, and pixels (N,
    2) each.
    """

    neighbour_from_anchor: Pose
    camera: Camera
    anchor_px: Float
    neighbour_px: Float


@dataclass(frozen=True, eq=False)
class Prediction:
    """A predicted log z-depth at T tracks, nan = unknown, its sigma (T,), and the correction's basis (T, P)
    with prior sigmas (P,).
    """

    log_z: Float
    sigma: Float
    basis: Float
    basis_sigma: Float


@dataclass(frozen=True, eq=False)
class Tracks:
    """px (T, 2); log_z (T,) with sigma (T,); support (T,) best robust weight of its matches, 0…1;
    coefficients β (P,) with covariance (P, P) (empty without a prediction).
    """

    px: Float
    log_z: Float
    sigma: Float
    support: Float
    coefficients: Float
    coefficient_covariance: Float


@dataclass(frozen=True, eq=False)
class _Observed:
    """Stacked matches: track (M,), pair (M,), starts (K + 1,), target px (M, 2), rays (T, 3) with z = 1."""

    track: Int
    starts: Int
    target: Float
    rays: Float


def track_pixels(pairs: Sequence[NeighbourMatches]) -> tuple[Float, Int]:
    """(px (T, 2), track index of every match (M,)): equal anchor pixels (to 0.01 px) are one track."""
    px = np.concatenate([p.anchor_px for p in pairs])
    _, first, track = np.unique(np.round(px * 100), axis=0, return_index=True, return_inverse=True)
    return px[first], np.asarray(track).reshape(-1)


def adjust_tracks(
    camera: Camera, pairs: Sequence[NeighbourMatches], prediction: Prediction | None, options: TrackOptions
) -> Tracks:
    """Depth of every track of `track_pixels(pairs)`, with or without a prediction to be corrected along the way."""
    px, track = track_pixels(pairs)
    rays = camera.unproject(px)
    observed = _Observed(
        track,
        np.concatenate([[0], np.cumsum([len(p.anchor_px) for p in pairs])]),
        np.concatenate([p.neighbour_px for p in pairs]),
        rays / rays[:, 2:],
    )
    sigma_px = options.sigma_px * float((max(camera.width, camera.height) / 512.0) ** 0.5)
    solver = _Solver(observed, pairs, prediction, sigma_px, options)
    log_z = solver.start()
    poses = [p.neighbour_from_anchor for p in pairs]
    coefficients = np.zeros(solver.n_basis)
    for inflation in options.graduation:
        for _ in range(2):
            log_z, coefficients, poses, _, _ = solver.step(log_z, coefficients, poses, inflation)
    log_z, coefficients, poses, covariance, spread = solver.step(log_z, coefficients, poses, 1.0)
    n = solver.n_basis
    support = np.zeros(len(px))
    np.maximum.at(support, track, solver.support)
    return Tracks(px, log_z, spread, support, coefficients, covariance[:n, :n])


class _Solver:
    """The fixed data of one adjustment and its Gauss–Newton step."""

    def __init__(
        self,
        observed: _Observed,
        pairs: Sequence[NeighbourMatches],
        prediction: Prediction | None,
        sigma_px: float,
        options: TrackOptions,
    ) -> None:
        self.observed, self.pairs, self.prediction = observed, pairs, prediction
        self.sigma_px, self.options = sigma_px, options
        self.n_tracks = len(observed.rays)
        self.n_basis = 0 if prediction is None else prediction.basis.shape[1]
        self.recorded = [p.neighbour_from_anchor for p in pairs]
        self.support = np.zeros(len(observed.track))

    def start(self) -> Float:
        """(T,) log depth that the matches of each track like best, on a grid (about the prediction where
        there is one).
        """
        if self.prediction is None:
            grid = [np.full(self.n_tracks, v) for v in np.arange(np.log(1.5), np.log(120.0), 0.15)]
        else:
            known = np.where(np.isfinite(self.prediction.log_z), self.prediction.log_z, np.log(15.0))
            grid = [known + v for v in np.arange(-1.0, 1.01, 0.125)]
        best_cost = np.full(self.n_tracks, np.inf)
        best = grid[0]
        for candidate in grid:
            residual, _, _ = self._project(candidate, self.recorded)
            squared = np.einsum("ni,ni->n", residual, residual) / (3 * self.sigma_px) ** 2
            cost = np.bincount(self.observed.track, squared / (1 + squared), self.n_tracks).astype(np.float64)
            if self.prediction is not None:
                cost += 0.02 * (candidate - grid[len(grid) // 2]) ** 2
            best = np.where(cost < best_cost, candidate, best)
            best_cost = np.minimum(cost, best_cost)
        return np.clip(best, MIN_LOG_Z, MAX_LOG_Z)

    def _project(self, log_z: Float, poses: Sequence[Pose]) -> tuple[Float, Float, Float]:
        """Pixel residuals (M, 2), derivative by the point in the neighbour frame (M, 2, 3), that point (M, 3)."""
        residual = np.full((len(self.observed.track), 2), 1e4)
        by_point = np.zeros((len(residual), 2, 3))
        points = np.zeros((len(residual), 3))
        in_anchor = np.exp(log_z)[:, None] * self.observed.rays
        for n, (pair, pose) in enumerate(zip(self.pairs, poses, strict=True)):
            rows = slice(self.observed.starts[n], self.observed.starts[n + 1])
            points[rows] = pose.apply(in_anchor[self.observed.track[rows]])
            px, visible, jacobian, _ = pair.camera.project_with_jacobian(points[rows])
            residual[rows][visible] = (px - self.observed.target[rows])[visible]
            by_point[rows][visible] = jacobian[visible]
        return residual, by_point, points

    def step(
        self, log_z: Float, coefficients: Float, poses: Sequence[Pose], inflation: float
    ) -> tuple[Float, Float, list[Pose], Float, Float]:
        """One robust Gauss–Newton step; also the covariance of (β, poses) and the marginal sigma of the λ
        before it.
        """
        o, track = self.options, self.observed.track
        residual, by_point, points = self._project(log_z, poses)
        gamma2 = (o.robust_px * inflation * self.sigma_px) ** 2
        self.support = (gamma2 / (gamma2 + np.einsum("ni,ni->n", residual, residual))) ** 2
        root = np.sqrt(self.support)[:, None] / self.sigma_px
        size = self.n_basis + POSE * len(poses)
        information, gradient = self._priors(coefficients, poses)
        coupling = np.zeros((self.n_tracks, size))
        track_information, track_gradient = np.full(self.n_tracks, 1e-4), np.zeros(self.n_tracks)
        whitened = root * residual
        in_anchor = np.exp(log_z)[:, None] * self.observed.rays
        for n, pose in enumerate(poses):
            rows = slice(self.observed.starts[n], self.observed.starts[n + 1])
            columns = slice(self.n_basis + POSE * n, self.n_basis + POSE * (n + 1))
            by = by_point[rows] * root[rows, :, None]
            lever = points[rows] - pose.translation_m
            block = np.concatenate([by, np.cross(lever[:, None, :], by)], axis=2)
            turned = in_anchor[track[rows]] @ pose.rotation.as_matrix().T
            along = np.einsum("nij,nj->ni", by, turned)
            flat = block.reshape(-1, POSE)
            information[columns, columns] += flat.T @ flat
            gradient[columns] -= flat.T @ whitened[rows].ravel()
            coupling[track[rows], columns] += np.einsum("nij,ni->nj", block, along)
            track_information[track[rows]] += np.einsum("ni,ni->n", along, along)
            track_gradient[track[rows]] -= np.einsum("ni,ni->n", along, whitened[rows])
        if self.prediction is not None:
            self._add_prediction(
                log_z, coefficients, inflation, information, gradient, coupling, track_information, track_gradient
            )
        scaled = coupling / track_information[:, None]
        covariance = np.linalg.inv(information - scaled.T @ coupling)
        shared = covariance @ (gradient - scaled.T @ track_gradient)
        along_step = np.clip(track_gradient / track_information - scaled @ shared, -0.7, 0.7)
        spread = np.sqrt(1.0 / track_information + np.einsum("ti,ij,tj->t", scaled, covariance, scaled))
        steps = shared[self.n_basis :].reshape(-1, POSE)
        moved = [
            Pose(Rotation.from_rotvec(s[3:]) * p.rotation, p.translation_m + s[:3])
            for p, s in zip(poses, steps, strict=True)
        ]
        log_z = np.clip(log_z + along_step, MIN_LOG_Z, MAX_LOG_Z)
        return log_z, coefficients + shared[: self.n_basis], moved, covariance, spread

    def _priors(self, coefficients: Float, poses: Sequence[Pose]) -> tuple[Float, Float]:
        """(H, b) of the priors on β and on the neighbours' poses."""
        o = self.options
        beta = np.zeros(0) if self.prediction is None else 1.0 / self.prediction.basis_sigma**2
        pose = np.repeat([o.neighbour_position_m**-2, np.radians(o.neighbour_rotation_deg) ** -2], 3)
        diagonal = np.concatenate([beta, np.tile(pose, len(poses))])
        deviations = np.concatenate([coefficients, *(p.minus(r) for p, r in zip(poses, self.recorded, strict=True))])
        return np.diag(diagonal), -diagonal * deviations

    def _add_prediction(
        self,
        log_z: Float,
        coefficients: Float,
        inflation: float,
        information: Float,
        gradient: Float,
        coupling: Float,
        track_information: Float,
        track_gradient: Float,
    ) -> None:
        """Add the residual ℓ − λ − Φβ of every track whose depth is predicted (in place); mismatches bring
        no depth.
        """
        p = self.prediction
        assert p is not None
        best = np.zeros(self.n_tracks)
        np.maximum.at(best, self.observed.track, self.support)
        residual = np.nan_to_num(p.log_z - log_z - p.basis @ coefficients)
        sigma = np.nan_to_num(p.sigma, nan=1.0)
        weight = best * np.isfinite(p.log_z) / sigma**2
        weight = weight / (1 + (residual / (sigma * self.options.robust_depth * inflation)) ** 2)
        n = self.n_basis
        weighted = p.basis * weight[:, None]
        information[:n, :n] += p.basis.T @ weighted
        gradient[:n] += weighted.T @ residual
        coupling[:, :n] += weighted
        track_information += weight
        track_gradient += weight * residual
