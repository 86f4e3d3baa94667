"""The ray bundle adjustment's arrays: what is observed and what is unknown (`docs/method.md`).

A track j is one pixel of the query, shared by all anchors that match it. Its point lies on the query's ray,

    X_j = C + e^λ_j · R r_j(φ, p)

and anchor n sees it at Y = T_n X_j, T_n its recorded pose corrected within its own uncertainty. Residuals per
observation: two in pixels of the anchor image, in the plane tangent to the observed ray (which treats every lens alike,
fisheye and panorama too), and one in log depth where the anchor's depth is known.

Arrays put the component first and the row last, (3, M) and not (M, 3): an iteration is then some hundred operations
on contiguous vectors instead of as many on small blocks.

Unknowns besides λ: [0:3] camera centre, m; [3:6] rotation, rad, world side; [6] log-focal φ; [7:9] principal point p,
px; [9] bend b: shift along the radius of a pixel half of the longer side away from the principal point, as a share of
that and growing with its cube; then per anchor [β, v (3) m, ω (3) rad]: log-depth offset and pose correction in the
anchor's camera frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from geocorrect.depth.calibration.tracks import track_index
from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.tangent import tangent_to_px, unit_rays
from geocorrect.localize.observations import Observations
from geocorrect.localize.pose_prior import NO_PRIOR, PosePrior

Float = NDArray[np.float64]
Int = NDArray[np.intp]

GLOBAL = 10
"""Unknowns that all anchors share."""
LENS = slice(6, GLOBAL)
"""Those of the query's lens: log focal, principal point, bend."""
PER_ANCHOR = 7
"""Unknowns of one anchor."""
FOCAL_STEP = 0.1
BEND_STEP = 0.05
"""Of the numeric derivatives in log-focal and bend."""
EFFECTIVE_DEPTH_SAMPLES = 30.0
"""A predicted depth errs smoothly, a calibrated one between the tracks that calibrated it: this many patches."""
MEASURED_LOG_SIGMA = 0.003
"""A source with a smaller common error measures every sample by itself (LiDAR)."""
UNCALIBRATED_LOG_SIGMA = 0.05
"""A source with a larger common error is a raw prediction, whose error is smooth over the whole image."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything that stays fixed while solving: M observations, sorted by anchor, of T tracks in K anchors."""

    track: Int
    """(M,) track of each observation."""
    by_track: csr_matrix
    """(T, M) sums rows by track."""
    anchor: Int
    """(M,) anchor of each observation."""
    source: Int
    """(M,) its row within the anchor's Observations."""
    starts: Int
    """(K + 1,) first row of each anchor."""
    rays0: Float
    d_focal: Float
    dd_focal: Float
    """(3, T) value, first and second derivative of the query rays in φ."""
    d_principal: Float
    """(2, 3, T) their derivative per px of u and v of the principal point."""
    d_bend: Float
    dd_bend: Float
    """(3, T) their first and second derivative in b."""
    seen_ray: Float
    """(3, M) unit ray of the match in the anchor."""
    to_px: Float
    """(2, 3, M) maps a vector over its component along the seen ray to pixels."""
    rotations: Float
    """(K, 3, 3) anchor_from_world."""
    centres: Float
    """(K, 3) of the anchors in the shifted world."""
    log_depth: Float
    """(M,) measured or predicted log z-depth, nan where unknown."""
    depth_sigma: Float
    """(M,) its standard deviation, nan where unknown."""
    depth_inflation: Float
    """(M,) factor on that while the smooth part of the depth error is not modelled."""
    query_px: Float
    """(T, 2) pixels of the tracks."""
    anchor_px: Float
    """(M, 2) pixels of the observations."""
    pose_prior: PosePrior = NO_PRIOR
    """Weak priors on the query's pose."""

    @property
    def n_tracks(self) -> int:
        """Number of tracks T."""
        return int(self.rays0.shape[1])

    @property
    def n_anchors(self) -> int:
        """Number of anchors K."""
        return len(self.centres)

    @cached_property
    def has_depth(self) -> NDArray[np.bool_]:
        """(M,) where the anchor's depth is known."""
        return np.isfinite(self.log_depth) & np.isfinite(self.depth_sigma)

    @cached_property
    def shared(self) -> NDArray[np.bool_]:
        """(T,) which tracks several anchors see: one anchor's distances follow its matches."""
        return np.asarray(np.bincount(self.track, minlength=self.n_tracks) > 1)

    @cached_property
    def rows(self) -> list[slice]:
        """The rows of each anchor."""
        return [slice(int(a), int(b)) for a, b in zip(self.starts[:-1], self.starts[1:], strict=True)]

    def known_depth(self, values: Float) -> Float:
        """The (M,) values with 0 where the depth is unknown, for sums to which those rows add nothing."""
        return np.asarray(np.where(self.has_depth, values, 0.0))

    def rows_of(self, source: Sequence[Int]) -> Int:
        """Rows of the given observations of each anchor, all of them part of this problem."""
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
            d_bend=self.d_bend[:, kept],
            dd_bend=self.dd_bend[:, kept],
            seen_ray=self.seen_ray[:, rows],
            to_px=self.to_px[:, :, rows],
            log_depth=self.log_depth[rows],
            depth_sigma=self.depth_sigma[rows],
            depth_inflation=np.where(self.depth_inflation[rows] > 1.0, _smooth_inflation(n_depths), 1.0),
            query_px=self.query_px[kept],
            anchor_px=self.anchor_px[rows],
        )

    def of_anchor(self, n: int) -> Problem:
        """The problem of anchor n alone."""
        rows, own = self.rows[n], slice(n, n + 1)
        part = self.subset(np.arange(rows.start, rows.stop))
        size = rows.stop - rows.start
        return replace(
            part,
            anchor=np.zeros(size, np.intp),
            starts=np.array([0, size]),
            rotations=self.rotations[own],
            centres=self.centres[own],
        )


def build_problem(
    observations: Sequence[Observations],
    rows: Sequence[Int],
    camera: Camera,
    origin_m: Float,
    prior: PosePrior = NO_PRIOR,
) -> Problem:
    """Stack the chosen rows of every anchor's observations; no track may be twice in one anchor's rows.

    Args:
        observations: of every anchor.
        rows: of each anchor's observations.
        camera: the query's, as given.
        origin_m: (3,) origin of the shifted world.
        prior: on the query's pose, in the shifted world.
    """
    chosen = [o.subset(r) for o, r in zip(observations, rows, strict=True)]
    query_px = np.concatenate([o.query_px for o in chosen])
    first, track = track_index(query_px)
    counts = [len(o) for o in chosen]
    rays = [_rows_last(values) for values in _ray_model(camera, query_px[first])]
    poses = [o.anchor.world_from_cam for o in chosen]
    return Problem(
        track=track,
        by_track=_sum_by(track, len(first)),
        anchor=np.repeat(np.arange(len(rows)), counts),
        source=np.concatenate(rows),
        starts=np.concatenate([[0], np.cumsum(counts)]),
        rays0=rays[0],
        d_focal=rays[1],
        dd_focal=rays[2],
        d_principal=rays[3],
        d_bend=rays[4],
        dd_bend=rays[5],
        seen_ray=_rows_last(np.concatenate([o.anchor_rays for o in chosen])),
        to_px=_rows_last(np.concatenate([tangent_to_px(o.anchor.camera, o.anchor_rays) for o in chosen])),
        rotations=np.stack([p.rotation.as_matrix().T for p in poses]),
        centres=np.stack([p.translation_m - origin_m for p in poses]),
        log_depth=np.log(np.concatenate([o.depth_m for o in chosen])),
        depth_sigma=np.concatenate([o.log_sigma for o in chosen]),
        depth_inflation=np.repeat([_inflation(o) for o in chosen], counts),
        query_px=query_px[first],
        anchor_px=np.concatenate([o.anchor_px for o in chosen]),
        pose_prior=prior,
    )


def _sum_by(track: Int, n_tracks: int) -> csr_matrix:
    """(T, M) matrix that sums rows by track."""
    return csr_matrix((np.ones(len(track)), (track, np.arange(len(track)))), (n_tracks, len(track)))


def _rows_last(values: Float) -> Float:
    """(N, …) as contiguous (…, N)."""
    return np.ascontiguousarray(np.moveaxis(values, 0, -1))


def _inflation(o: Observations) -> float:
    return 1.0 if o.common_log_sigma < MEASURED_LOG_SIGMA else float(_smooth_inflation(o.has_depth.sum()))


def _smooth_inflation(n_depths: Int) -> Float:
    """A thousand samples of one smooth error are worth a few dozen independent ones."""
    return np.asarray(np.sqrt(np.maximum(1.0, n_depths / EFFECTIVE_DEPTH_SAMPLES)))


def _ray_model(camera: Camera, px: Float) -> tuple[Float, Float, Float, Float, Float, Float]:
    """Query rays and their derivatives by the lens in the order of `Problem`, tracks first: (T, 3) or (T, 2, 3)."""
    u, v = np.array([0.5, 0.0]), np.array([0.0, 0.5])
    rays, before_u, after_u, before_v, after_v = unit_rays(
        camera, np.concatenate([px, px - u, px + u, px - v, px + v])
    ).reshape(5, -1, 3)
    d_principal = np.nan_to_num(np.stack([before_u - after_u, before_v - after_v], axis=1))
    d_focal = dd_focal = d_bend = dd_bend = np.zeros_like(rays)
    if camera.projection is not Projection.SPHERICAL:
        longer, shorter = (camera.with_focal_scaled(float(np.exp(step))) for step in (FOCAL_STEP, -FOCAL_STEP))
        d_focal, dd_focal = _differences(rays, unit_rays(longer, px), unit_rays(shorter, px), FOCAL_STEP)
        more, less = (unit_rays(camera, bent(camera, px, step)) for step in (BEND_STEP, -BEND_STEP))
        d_bend, dd_bend = _differences(rays, more, less, BEND_STEP)
    return rays, d_focal, dd_focal, d_principal, d_bend, dd_bend


def _differences(at: Float, after: Float, before: Float, step: float) -> tuple[Float, Float]:
    """First and second derivative from values at 0 and ± step; zero where the lens has no ray."""
    usable = np.isfinite(after + before).all(axis=1, keepdims=True)
    first = np.where(usable, (after - before) / (2 * step), 0.0)
    return first, np.where(usable, (after + before - 2 * at) / step**2, 0.0)


def bent(camera: Camera, px: Float, bend: float) -> Float:
    """Where the lens as given would have imaged what a lens with bend b more images at the pixels (N, 2)."""
    arm = px - np.array([camera.principal_x_px, camera.principal_y_px])
    half_px = max(camera.width, camera.height) / 2
    return np.asarray(px + bend * arm * (arm**2).sum(axis=1, keepdims=True) / half_px**2)
