"""The ray bundle adjustment's arrays: what is observed, what is unknown, residuals and their derivatives
(METHOD §3.3).

A track j is one pixel of the query, shared by all anchors that match it. Its point lies on the query's ray,

    X_j = C + e^λ_j · R r_j(φ, p)

and is seen by anchor n at a·Y with Y = T_n X_j, T_n the anchor's pose on record corrected within its own uncertainty.
Residuals per observation: two in pixels of the anchor image, in the plane tangent to the observed ray (so
that every lens, fisheye and panorama alike, is treated alike), and one in log depth where the anchor's depth
is known.

Unknowns besides λ: [0:3] camera centre, m; [3:6] rotation, rad, world side; [6] log-focal φ; [7:9] principal
point p, px; then per anchor [β, v (3) m, ω (3) rad]: log-depth offset and pose correction in the anchor's
camera frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.spatial.transform import Rotation

from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.tangent import tangent_to_px, unit_rays
from geocorrect.localize import turns
from geocorrect.localize.observations import Observations
from geocorrect.localize.pose_prior import NO_PRIOR, PosePrior

Float = NDArray[np.float64]
Int = NDArray[np.intp]

GLOBAL = 9
PER_ANCHOR = 7
FOCAL_STEP = 0.1
EFFECTIVE_DEPTH_SAMPLES = 30.0
"""A predicted depth errs smoothly, a calibrated one between the tracks that calibrated it: this many patches."""
MEASURED_LOG_SIGMA = 0.003
"""A source with a smaller common error measures every sample by itself (LiDAR)."""
UNCALIBRATED_LOG_SIGMA = 0.05
"""A source with a larger common error is a raw prediction, whose error is smooth over the whole image."""
MIN_LOG_DISTANCE, MAX_LOG_DISTANCE = np.log(0.3), np.log(1000.0)


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything that stays fixed while solving. Observations (M rows) are sorted by anchor.

    track, anchor: (M,) indices; by_track (T, M) sums rows by track. source: (M,) index of the row within its
    anchor's Observations. starts: (K + 1,) first row of each anchor. rays0, d_focal, dd_focal: (T, 3) quadratic
    model of the query ray in φ; d_principal: (T, 3, 2) per px. seen_ray: (M, 3); to_px: (M, 2, 3) maps a vector
    over its component along the seen ray to pixels. rotations: (K, 3, 3) anchor_from_world; centres: (K, 3).
    log_depth, depth_sigma: (M,), nan = unknown; depth_inflation: (M,) factor on the sigma while the smooth part
    of the depth error is not modelled.
    """

    track: Int
    by_track: csr_matrix
    anchor: Int
    source: Int
    starts: Int
    rays0: Float
    d_focal: Float
    dd_focal: Float
    d_principal: Float
    seen_ray: Float
    to_px: Float
    rotations: Float
    centres: Float
    log_depth: Float
    depth_sigma: Float
    depth_inflation: Float
    query_px: Float
    anchor_px: Float
    pose_prior: PosePrior = NO_PRIOR

    @property
    def n_tracks(self) -> int:
        """T."""
        return len(self.rays0)

    @property
    def n_anchors(self) -> int:
        """K."""
        return len(self.centres)


@dataclass(frozen=True, eq=False)
class State:
    """Current values: rotation (3, 3) world_from_query, centre (3,), focal φ, principal (2,) px, per anchor
    beta (K,), move (K, 3), turn (K, 3, 3) corrections, and log_distance λ (T,).
    """

    rotation: Float
    centre: Float
    focal: float
    principal: Float
    beta: Float
    move: Float
    turn: Float
    log_distance: Float

    def stepped(self, shared: Float, log_distance_step: Float) -> State:
        """State after a step (GLOBAL + PER_ANCHOR·K,) and (T,)."""
        per_anchor = shared[GLOBAL:].reshape(-1, PER_ANCHOR)
        turn = turns.matrices(per_anchor[:, 4:7]) @ self.turn
        return State(
            turns.matrices(shared[None, 3:6])[0] @ self.rotation,
            self.centre + shared[:3],
            float(np.clip(self.focal + shared[6], -0.5, 0.5)),
            self.principal + shared[7:9],
            self.beta + per_anchor[:, 0],
            self.move + per_anchor[:, 1:4],
            turn,
            np.clip(self.log_distance + log_distance_step, MIN_LOG_DISTANCE, MAX_LOG_DISTANCE),
        )

    @property
    def world_from_query(self) -> Pose:
        """The pose."""
        return Pose(Rotation.from_matrix(self.rotation), self.centre)

    def deviations(self) -> Float:
        """(GLOBAL + PER_ANCHOR·K,) current values of the unknowns that carry a zero-mean prior; zero for the pose."""
        per_anchor = np.concatenate([self.beta[:, None], self.move, turns.vectors(self.turn)], axis=1)
        return np.concatenate([np.zeros(6), [self.focal], self.principal, per_anchor.ravel()])


@dataclass(frozen=True, eq=False)
class Linearised:
    """Residuals and derivatives at a state. pixel (M, 2) px; depth (M,) in log depth, nan = unknown; ahead (M,) bool.

    by_point: (M, 3, 3) of (u, v, log depth) by Y in the anchor frame. point: (M, 3) Y. ray_world: (T, 3) e^λ R r.
    """

    pixel: Float
    depth: Float
    ahead: NDArray[np.bool_]
    by_point: Float
    point: Float
    ray_world: Float


def track_index(query_px: Float) -> tuple[Int, Int]:
    """(first row of every track (T,), track of every row (N,)): equal query pixels (to 0.01 px) are one track."""
    cell = np.round(query_px * 100).astype(np.int64)
    _, first, track = np.unique(cell[:, 0] * 2**32 + cell[:, 1], return_index=True, return_inverse=True)
    return np.asarray(first), np.asarray(track).reshape(-1)


def build_problem(
    observations: Sequence[Observations],
    rows: Sequence[Int],
    camera: Camera,
    origin_m: Float,
    prior: PosePrior = NO_PRIOR,
) -> Problem:
    """Stack the chosen rows of every anchor's observations; no track may be twice in one anchor's rows."""
    query_px = np.concatenate([o.query_px[r] for o, r in zip(observations, rows, strict=True)])
    anchor_px = np.concatenate([o.anchor_px[r] for o, r in zip(observations, rows, strict=True)])
    first, track = track_index(query_px)
    counts = [len(r) for r in rows]
    by_track = csr_matrix((np.ones(len(track)), (track, np.arange(len(track)))), (len(first), len(track)))
    rays0, d_focal, dd_focal, d_principal = _ray_model(camera, query_px[first])
    to_px = [
        tangent_to_px(o.anchor.camera, o.anchor_px[r], o.anchor_rays[r])
        for o, r in zip(observations, rows, strict=True)
    ]
    poses = [o.anchor.world_from_cam for o in observations]
    depth = np.concatenate([o.depth_m[r] for o, r in zip(observations, rows, strict=True)])
    return Problem(
        track=track,
        by_track=by_track,
        anchor=np.repeat(np.arange(len(rows)), counts),
        source=np.concatenate(rows),
        starts=np.concatenate([[0], np.cumsum(counts)]),
        rays0=rays0,
        d_focal=d_focal,
        dd_focal=dd_focal,
        d_principal=d_principal,
        seen_ray=np.concatenate([o.anchor_rays[r] for o, r in zip(observations, rows, strict=True)]),
        to_px=np.concatenate(to_px),
        rotations=np.stack([p.rotation.as_matrix().T for p in poses]),
        centres=np.stack([p.translation_m - origin_m for p in poses]),
        log_depth=np.log(depth),
        depth_sigma=np.concatenate([o.log_sigma[r] for o, r in zip(observations, rows, strict=True)]),
        depth_inflation=np.repeat([_inflation(o, r) for o, r in zip(observations, rows, strict=True)], counts),
        query_px=query_px[first],
        anchor_px=anchor_px,
        pose_prior=prior,
    )


def _inflation(o: Observations, rows: Int) -> float:
    """A thousand samples of one smooth error are worth a few dozen independent ones."""
    if o.common_log_sigma < MEASURED_LOG_SIGMA:
        return 1.0
    return float(np.sqrt(max(1.0, o.has_depth[rows].sum() / EFFECTIVE_DEPTH_SAMPLES)))


def _ray_model(camera: Camera, px: Float) -> tuple[Float, Float, Float, Float]:
    """Value, first and second derivative of the query rays in log-focal, and derivative by the principal point."""
    rays = unit_rays(camera, px)
    d_principal = np.stack(
        [(unit_rays(camera, px - step) - unit_rays(camera, px + step)) / 1.0 for step in np.eye(2) * 0.5], axis=2
    )
    d_principal = np.nan_to_num(d_principal)
    if camera.projection is Projection.SPHERICAL:
        return rays, np.zeros_like(rays), np.zeros_like(rays), d_principal
    longer = unit_rays(camera.with_focal_scaled(float(np.exp(FOCAL_STEP))), px)
    shorter = unit_rays(camera.with_focal_scaled(float(np.exp(-FOCAL_STEP))), px)
    usable = np.isfinite(longer + shorter).all(axis=1, keepdims=True)
    first = np.where(usable, (longer - shorter) / (2 * FOCAL_STEP), 0.0)
    second = np.where(usable, (longer + shorter - 2 * rays) / FOCAL_STEP**2, 0.0)
    return rays, first, second, d_principal


def query_rays(problem: Problem, state: State) -> Float:
    """(T, 3) query rays at the state's focal length and principal point (unit to second order)."""
    rays: Float = (
        problem.rays0
        + state.focal * problem.d_focal
        + 0.5 * state.focal**2 * problem.dd_focal
        + problem.d_principal @ state.principal
    )
    return rays


def anchor_points(problem: Problem, state: State, points_world: Float) -> Float:
    """(M, 3) world points, one per observation, in the corrected frame of their anchors."""
    corrected = np.empty_like(points_world)
    turned = state.turn @ problem.rotations
    shift = state.move - np.einsum("nij,nj->ni", turned, problem.centres)
    for n in range(problem.n_anchors):
        rows = slice(problem.starts[n], problem.starts[n + 1])
        np.dot(points_world[rows], turned[n].T, out=corrected[rows])
        corrected[rows] += shift[n]
    return corrected


def world_rays(problem: Problem, state: State) -> Float:
    """(T, 3) from the camera centre to the points: e^λ R r."""
    rays: Float = np.exp(state.log_distance)[:, None] * (query_rays(problem, state) @ state.rotation.T)
    return rays


def residuals(problem: Problem, state: State) -> Linearised:
    """Residuals with the derivative by the point in the anchor's frame; chain rules are the solver's."""
    ray_world = world_rays(problem, state)
    point, pixel, safe, ahead = _projected(problem, state, ray_world)
    by_point = np.zeros((len(point), 3, 3))
    np.multiply(pixel[:, :, None], problem.seen_ray[:, None, :], out=by_point[:, :2])
    np.subtract(problem.to_px, by_point[:, :2], out=by_point[:, :2])
    by_point[:, :2] /= safe[:, None, None]
    z = np.maximum(point[:, 2], 0.05)
    by_point[:, 2, 2] = -1.0 / z
    pixel[~ahead] = 1e4
    by_point[~ahead] = 0.0
    return Linearised(pixel, _depth_residual(problem, state, z), ahead, by_point, point, ray_world)


def residual_values(problem: Problem, state: State) -> tuple[Float, Float]:
    """(pixel (M, 2), depth (M,)) of `residuals` alone, for the many candidates that are only compared."""
    point, pixel, _, ahead = _projected(problem, state, world_rays(problem, state))
    pixel[~ahead] = 1e4
    return pixel, _depth_residual(problem, state, np.maximum(point[:, 2], 0.05))


def _projected(problem: Problem, state: State, ray_world: Float) -> tuple[Float, Float, Float, NDArray[np.bool_]]:
    """Points in their anchors' frames (M, 3), pixel residuals (M, 2), depth along the seen ray (1 where the point is
    not ahead), and which are ahead.
    """
    point = anchor_points(problem, state, (state.centre + ray_world)[problem.track])
    along = np.einsum("ni,ni->n", problem.seen_ray, point)
    ahead = along > 0.05
    safe = np.where(ahead, along, 1.0)
    pixel = np.einsum("nij,nj->ni", problem.to_px, point) / safe[:, None]
    return point, pixel, safe, ahead


def _depth_residual(problem: Problem, state: State, z: Float) -> Float:
    off: Float = problem.log_depth - np.log(z) - state.beta[problem.anchor]
    return off
