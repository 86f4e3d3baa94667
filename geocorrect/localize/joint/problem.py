"""The ray bundle adjustment's arrays: what is observed, what is unknown, residuals and their derivatives
(METHOD §3.3).

A track j is one pixel of the query, shared by all anchors that match it. Its point lies on the query's ray,

    X_j = C + e^λ_j · R r_j(φ, p)

and is seen by anchor n at a·Y with Y = T_n X_j, T_n the anchor's pose on record corrected within its own uncertainty.
Residuals per observation: two in pixels of the anchor image, in the plane tangent to the observed ray (so
that every lens, fisheye and panorama alike, is treated alike), and one in log depth where the anchor's depth
is known.

Arrays put the component first and the row last, (3, M) and not (M, 3): an iteration is then some hundred operations
on contiguous vectors instead of as many on small blocks.

Unknowns besides λ: [0:3] camera centre, m; [3:6] rotation, rad, world side; [6] log-focal φ; [7:9] principal
point p, px; then per anchor [β, v (3) m, ω (3) rad]: log-depth offset and pose correction in the anchor's
camera frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.tangent import tangent_to_px, unit_rays
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


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything that stays fixed while solving. Observations (M) are sorted by anchor, tracks are (T).

    track, anchor: (M,) indices; by_track (T, M) sums rows by track. source: (M,) index of the row within its
    anchor's Observations. starts: (K + 1,) first row of each anchor. rays0, d_focal, dd_focal: (3, T) quadratic
    model of the query ray in φ; d_principal: (2, 3, T) per px of u and v. seen_ray: (3, M); to_px: (2, 3, M) maps a
    vector over its component along the seen ray to pixels. rotations: (K, 3, 3) anchor_from_world; centres: (K, 3).
    log_depth, depth_sigma: (M,), nan = unknown; depth_inflation: (M,) factor on the sigma while the smooth part
    of the depth error is not modelled. query_px: (T, 2); anchor_px: (M, 2).
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
        return int(self.rays0.shape[1])

    @property
    def n_anchors(self) -> int:
        """K."""
        return len(self.centres)

    @cached_property
    def has_depth(self) -> NDArray[np.bool_]:
        """(M,) where the anchor's depth is known."""
        return np.isfinite(self.log_depth) & np.isfinite(self.depth_sigma)

    @cached_property
    def rows(self) -> list[slice]:
        """The rows of each anchor."""
        return [slice(int(a), int(b)) for a, b in zip(self.starts[:-1], self.starts[1:], strict=True)]

    def known_depth(self, values: Float) -> Float:
        """The (M,) values with 0 where the depth is unknown, for sums to which those rows add nothing."""
        known: Float = np.where(self.has_depth, values, 0.0)
        return known

    def rows_of(self, source: Sequence[Int]) -> Int:
        """The rows that hold the given observations of each anchor, all of them chosen for this problem."""
        found = [r.start + np.searchsorted(self.source[r], s) for r, s in zip(self.rows, source, strict=True)]
        return np.concatenate(found)

    def subset(self, rows: Int) -> Problem:
        """The problem of the given rows (ascending) alone, with the tracks that they belong to."""
        kept, track = np.unique(self.track[rows], return_inverse=True)
        anchor = self.anchor[rows]
        # An inflation of 1 stays: depth that is measured sample by sample, or too little of it to be shared.
        n_depths = np.bincount(anchor[np.isfinite(self.log_depth[rows])], minlength=self.n_anchors)[anchor]
        counts = np.bincount(anchor, minlength=self.n_anchors)
        return replace(
            self,
            track=track,
            by_track=_sum_by(track, len(kept)),
            anchor=anchor,
            source=self.source[rows],
            starts=np.concatenate([[0], np.cumsum(counts)]),
            rays0=self.rays0[:, kept],
            d_focal=self.d_focal[:, kept],
            dd_focal=self.dd_focal[:, kept],
            d_principal=self.d_principal[:, :, kept],
            seen_ray=self.seen_ray[:, rows],
            to_px=self.to_px[:, :, rows],
            log_depth=self.log_depth[rows],
            depth_sigma=self.depth_sigma[rows],
            depth_inflation=np.where(self.depth_inflation[rows] > 1.0, _smooth_inflation(n_depths), 1.0),
            query_px=self.query_px[kept],
            anchor_px=self.anchor_px[rows],
        )


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
    rays0, d_focal, dd_focal, d_principal = _ray_model(camera, query_px[first])
    to_px = [
        tangent_to_px(o.anchor.camera, o.anchor_px[r], o.anchor_rays[r])
        for o, r in zip(observations, rows, strict=True)
    ]
    poses = [o.anchor.world_from_cam for o in observations]
    depth = np.concatenate([o.depth_m[r] for o, r in zip(observations, rows, strict=True)])
    seen_ray = np.concatenate([o.anchor_rays[r] for o, r in zip(observations, rows, strict=True)])
    return Problem(
        track=track,
        by_track=_sum_by(track, len(first)),
        anchor=np.repeat(np.arange(len(rows)), counts),
        source=np.concatenate(rows),
        starts=np.concatenate([[0], np.cumsum(counts)]),
        rays0=_rows_last(rays0),
        d_focal=_rows_last(d_focal),
        dd_focal=_rows_last(dd_focal),
        d_principal=_rows_last(d_principal),
        seen_ray=_rows_last(seen_ray),
        to_px=_rows_last(np.concatenate(to_px)),
        rotations=np.stack([p.rotation.as_matrix().T for p in poses]),
        centres=np.stack([p.translation_m - origin_m for p in poses]),
        log_depth=np.log(depth),
        depth_sigma=np.concatenate([o.log_sigma[r] for o, r in zip(observations, rows, strict=True)]),
        depth_inflation=np.repeat([_inflation(o, r) for o, r in zip(observations, rows, strict=True)], counts),
        query_px=query_px[first],
        anchor_px=anchor_px,
        pose_prior=prior,
    )


def _sum_by(track: Int, n_tracks: int) -> csr_matrix:
    """(T, M) matrix that sums rows by track."""
    return csr_matrix((np.ones(len(track)), (track, np.arange(len(track)))), (n_tracks, len(track)))


def _rows_last(values: Float) -> Float:
    """(N, …) as contiguous (…, N)."""
    return np.ascontiguousarray(np.moveaxis(values, 0, -1))


def _inflation(o: Observations, rows: Int) -> float:
    if o.common_log_sigma < MEASURED_LOG_SIGMA:
        return 1.0
    return float(_smooth_inflation(o.has_depth[rows].sum()))


def _smooth_inflation(n_depths: Int) -> Float:
    """A thousand samples of one smooth error are worth a few dozen independent ones."""
    inflation: Float = np.sqrt(np.maximum(1.0, n_depths / EFFECTIVE_DEPTH_SAMPLES))
    return inflation


def _ray_model(camera: Camera, px: Float) -> tuple[Float, Float, Float, Float]:
    """Value, first and second derivative (T, 3) of the query rays in log-focal, and derivative (T, 2, 3) by the
    principal point.
    """
    u, v = np.array([0.5, 0.0]), np.array([0.0, 0.5])
    rays, before_u, after_u, before_v, after_v = unit_rays(
        camera, np.concatenate([px, px - u, px + u, px - v, px + v])
    ).reshape(5, -1, 3)
    d_principal = np.nan_to_num(np.stack([before_u - after_u, before_v - after_v], axis=1))
    if camera.projection is Projection.SPHERICAL:
        return rays, np.zeros_like(rays), np.zeros_like(rays), d_principal
    longer = unit_rays(camera.with_focal_scaled(float(np.exp(FOCAL_STEP))), px)
    shorter = unit_rays(camera.with_focal_scaled(float(np.exp(-FOCAL_STEP))), px)
    usable = np.isfinite(longer + shorter).all(axis=1, keepdims=True)
    first = np.where(usable, (longer - shorter) / (2 * FOCAL_STEP), 0.0)
    second = np.where(usable, (longer + shorter - 2 * rays) / FOCAL_STEP**2, 0.0)
    return rays, first, second, d_principal
