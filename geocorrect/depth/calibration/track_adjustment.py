"""True depth of an anchor's pixels from its matches with neighbours of known pose: one unknown distance per track.

Unknowns: per track the log depth λ along the anchor pixel's ray; a low-order correction β of a predicted log depth,
where there is one; and small corrections of the neighbours' poses within their own uncertainty. The λ are 1-D, so they
are eliminated (Schur complement; Triggs et al. 2000, §6) and a step costs one small dense solve. The robust weights are
tightened step by step (graduated non-convexity, Blake & Zisserman 1987). See `docs/method.md`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from geocorrect.depth.calibration.tracks import NeighbourMatches, TrackNoise, TrackOptions, Tracks, track_pixels
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.tangent import tangent_to_px, unit_rays

Float = NDArray[np.float64]
Int = NDArray[np.intp]

POSE = 6
MIN_LOG_Z, MAX_LOG_Z = float(np.log(0.5)), float(np.log(300.0))
FREE = 1e-4
"""Information on a log depth that nobody observed: keeps its equation solvable."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """A predicted depth at T tracks, and how it may be corrected."""

    log_z: Float
    """(T,) log z-depth, nan = unknown."""
    sigma: Float
    """(T,) its standard deviation beside the correction."""
    basis: Float
    """(T, P) terms of the correction."""
    basis_sigma: Float
    """(P,) prior sigmas of their coefficients."""


def adjust_tracks(
    camera: Camera, pairs: Sequence[NeighbourMatches], prediction: Prediction | None, options: TrackOptions
) -> Tracks:
    """Depth of every track of `track_pixels(pairs)`, with or without a prediction to be corrected along the way.

    The depths that are returned depend on the matches alone: the prediction only keeps the search on course.
    """
    solver = _Solver(camera, pairs, prediction, options)
    state = solver.start()
    for inflation in options.graduation:
        state = solver.step(state, inflation)
    return solver.finish(state)


@dataclass(frozen=True, eq=False)
class _State:
    """An estimate of all unknowns."""

    log_z: Float
    """(T,)."""
    coefficients: Float
    """β (P,)."""
    poses: list[Pose]
    """neighbour_from_anchor of every pair."""


@dataclass(frozen=True, eq=False)
class _System:
    """Normal equations over the D unknowns (β, poses) and the λ of T tracks, from M matches."""

    information: Float
    """(D, D)."""
    gradient: Float
    """(D,)."""
    coupling: Float
    """(T, D)."""
    track_information: Float
    """(T,)."""
    track_gradient: Float
    """(T,)."""
    along: Float
    """(M, 2) whitened derivative of the pixels by λ."""
    support: Float
    """(M,) robust weight of each match, 0…1."""


class _Solver:
    """The fixed data of one adjustment and its Gauss–Newton step."""

    def __init__(
        self, camera: Camera, pairs: Sequence[NeighbourMatches], prediction: Prediction | None, options: TrackOptions
    ) -> None:
        self.pairs, self.prediction, self.options = pairs, prediction, options
        self.px, self.track = track_pixels(pairs)
        rays = camera.unproject(self.px)
        self.rays = rays / rays[:, 2:]
        self.starts = np.concatenate([[0], np.cumsum([len(p.anchor_px) for p in pairs])])
        self.scale = float((max(camera.width, camera.height) / 512.0) ** 0.5)
        self.sigma_px = options.sigma_px * self.scale
        n = len(self.track)
        self.by_track = csr_matrix((np.ones(n), (self.track, np.arange(n))), (len(self.px), n))
        self.by_track_of = [self.by_track[:, a:b] for a, b in itertools.pairwise(self.starts)]
        seen = [unit_rays(p.camera, p.neighbour_px) for p in pairs]
        self.seen = np.nan_to_num(np.concatenate(seen))
        self.to_px = np.concatenate([tangent_to_px(p.camera, rays) for p, rays in zip(pairs, seen, strict=True)])
        self.n_basis = 0 if prediction is None else prediction.basis.shape[1]
        self.recorded = [p.neighbour_from_anchor for p in pairs]

    def start(self) -> _State:
        """Log depths that the matches of each track like best, on a grid (about the prediction where there is one)."""
        if self.prediction is None:
            centre, grid = np.zeros(len(self.px)), np.arange(np.log(1.5), np.log(120.0), 0.15)
        else:
            centre = np.where(np.isfinite(self.prediction.log_z), self.prediction.log_z, np.log(15.0))
            grid = np.arange(-1.0, 1.01, 0.125)
        turned, shift = self._placed(self.recorded)
        # With poses fixed a residual is a ratio of two linear functions of the depth.
        parts = [np.einsum("nij,nj->ni", self.to_px, v) for v in (turned, shift)]
        along = [np.einsum("ni,ni->n", self.seen, v) for v in (turned, shift)]
        best_cost = np.full(len(self.px), np.inf)
        best = centre + grid[0]
        for offset in grid:
            z = np.exp(centre + offset)[self.track]
            depth = z * along[0] + along[1]
            residual = (z[:, None] * parts[0] + parts[1]) / np.maximum(depth, 0.05)[:, None]
            squared = np.einsum("ni,ni->n", residual, residual) / (3 * self.sigma_px) ** 2
            cost = self.by_track @ np.where(depth > 0.05, squared / (1 + squared), 1.0)
            if self.prediction is not None:
                cost += 0.02 * offset**2
            better = cost < best_cost
            best[better], best_cost[better] = (centre + offset)[better], cost[better]
        return _State(np.clip(best, MIN_LOG_Z, MAX_LOG_Z), np.zeros(self.n_basis), list(self.recorded))

    def _placed(self, poses: Sequence[Pose]) -> tuple[Float, Float]:
        """Rays turned into the neighbours' frames (M, 3) and the anchor's centre there (M, 3)."""
        turned, shift = np.empty((len(self.track), 3)), np.empty((len(self.track), 3))
        for n, pose in enumerate(poses):
            rows = slice(self.starts[n], self.starts[n + 1])
            turned[rows] = self.rays[self.track[rows]] @ pose.rotation.as_matrix().T
            shift[rows] = pose.translation_m
        return turned, shift

    def system(self, state: _State, inflation: float) -> _System:
        """Robustly weighted normal equations of the matches and the priors."""
        turned, shift = self._placed(state.poses)
        arm = np.exp(state.log_z)[self.track, None] * turned
        points = arm + shift
        depth = np.einsum("ni,ni->n", self.seen, points)
        ahead = depth > 0.05
        safe = np.where(ahead, depth, 1.0)
        residual = np.einsum("nij,nj->ni", self.to_px, points) / safe[:, None]
        by_point = (self.to_px - residual[:, :, None] * self.seen[:, None, :]) / safe[:, None, None]
        gamma2 = (self.options.robust_px * inflation * self.sigma_px) ** 2
        support = ahead * (gamma2 / (gamma2 + np.einsum("ni,ni->n", residual, residual))) ** 2
        root = (np.sqrt(support) / self.sigma_px)[:, None]
        by_point *= root[:, :, None]
        residual *= root
        along = np.einsum("nij,nj->ni", by_point, arm)
        information, gradient = self._priors(state)
        coupling = np.zeros((len(self.px), len(gradient)))
        for n in range(len(self.pairs)):
            rows = slice(self.starts[n], self.starts[n + 1])
            columns = slice(self.n_basis + POSE * n, self.n_basis + POSE * (n + 1))
            block = np.concatenate([by_point[rows], np.cross(arm[rows, None, :], by_point[rows])], axis=2)
            flat = block.reshape(-1, POSE)
            information[columns, columns] += flat.T @ flat
            gradient[columns] -= flat.T @ residual[rows].ravel()
            coupling[:, columns] = self.by_track_of[n] @ np.einsum("nij,ni->nj", block, along[rows])
        sums = self.by_track @ np.stack(
            [np.einsum("ni,ni->n", along, along), -np.einsum("ni,ni->n", along, residual)], axis=1
        )
        return _System(information, gradient, coupling, FREE + sums[:, 0], sums[:, 1], along * root, support)

    def step(self, state: _State, inflation: float) -> _State:
        """One robust Gauss–Newton step."""
        system = self._with_prediction(self.system(state, inflation), state, inflation)
        scaled = system.coupling / system.track_information[:, None]
        reduced = system.information - scaled.T @ system.coupling
        shared = np.linalg.solve(reduced, system.gradient - scaled.T @ system.track_gradient)
        along = np.clip(system.track_gradient / system.track_information - scaled @ shared, -0.7, 0.7)
        steps = shared[self.n_basis :].reshape(-1, POSE)
        moved = [pose.perturbed(step) for pose, step in zip(state.poses, steps, strict=True)]
        log_z = np.clip(state.log_z + along, MIN_LOG_Z, MAX_LOG_Z)
        return _State(log_z, state.coefficients + shared[: self.n_basis], moved)

    def finish(self, state: _State) -> Tracks:
        """Depths from the matches alone at the poses found, and how their errors hang together."""
        alone = self.system(state, 1.0)
        system = self._with_prediction(alone, state, 1.0)
        scaled = system.coupling / system.track_information[:, None]
        covariance = np.linalg.inv(system.information - scaled.T @ system.coupling)
        # Parallax is linear in inverse depth: a step s of log z from z₀ means 1/z = (1 − s)/z₀.
        own = -np.log(1.0 - np.clip(alone.track_gradient / alone.track_information, -0.5, 0.5))
        poses = slice(self.n_basis, None)
        by_pose = alone.coupling[:, poses] / alone.track_information[:, None]
        noise = TrackNoise(
            1.0 / alone.track_information,
            by_pose.reshape(len(self.px), -1, POSE),
            np.linalg.cholesky(covariance[poses, poses] / self.options.pose_evidence),
            alone.along / alone.track_information[self.track, None],
            self.track,
            np.repeat(np.arange(len(self.pairs)), np.diff(self.starts)),
            np.concatenate([p.neighbour_px for p in self.pairs]),
            self.options.field_px * self.scale,
            np.array([self.options.field_length * max(p.camera.width, p.camera.height) for p in self.pairs]),
        )
        support = np.zeros(len(self.px))
        np.maximum.at(support, self.track, alone.support)
        log_z = np.clip(state.log_z + own, MIN_LOG_Z, MAX_LOG_Z)
        # The derivatives were taken at the old depths; a log depth's error grows with the depth.
        return Tracks(self.px, log_z, support, state.coefficients, noise.scaled(np.exp(log_z - state.log_z)))

    def _priors(self, state: _State) -> tuple[Float, Float]:
        """(H, b) of the priors on β and on the neighbours' poses."""
        o = self.options
        beta = np.zeros(0) if self.prediction is None else 1.0 / self.prediction.basis_sigma**2
        pose = np.repeat([o.neighbour_position_m**-2, np.radians(o.neighbour_rotation_deg) ** -2], 3)
        diagonal = np.concatenate([beta, np.tile(pose / o.pose_evidence, len(state.poses))])
        off = [p.minus(r) for p, r in zip(state.poses, self.recorded, strict=True)]
        return np.diag(diagonal), -diagonal * np.concatenate([state.coefficients, *off])

    def _with_prediction(self, system: _System, state: _State, inflation: float) -> _System:
        """The system with the residual ℓ − λ − Φβ of every track with a predicted depth; mismatches bring none."""
        p = self.prediction
        if p is None:
            return system
        best = np.zeros(len(self.px))
        np.maximum.at(best, self.track, system.support)
        residual = np.nan_to_num(p.log_z - state.log_z - p.basis @ state.coefficients)
        sigma = np.nan_to_num(p.sigma, nan=1.0)
        weight = best * np.isfinite(p.log_z) / sigma**2
        weight = weight / (1 + (residual / (sigma * self.options.robust_depth * inflation)) ** 2)
        n, weighted = self.n_basis, p.basis * weight[:, None]
        information, gradient, coupling = system.information.copy(), system.gradient.copy(), system.coupling.copy()
        information[:n, :n] += p.basis.T @ weighted
        gradient[:n] += weighted.T @ residual
        coupling[:, :n] += weighted
        return replace(
            system,
            information=information,
            gradient=gradient,
            coupling=coupling,
            track_information=system.track_information + weight,
            track_gradient=system.track_gradient + weight * residual,
        )
