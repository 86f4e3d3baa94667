"""Epipolar verification: which matches of a pair can come from two views of a static scene.

Calibrated and on rays, so that distortion and different focal lengths play no part. It removes moving vehicles and
mismatches; depth and pose are judged by the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.tangent import unit_rays
from geocorrect.localize import pnp
from geocorrect.localize.observations import focal_px
from geocorrect.localize.options import VerifyOptions, pixel_scale
from geocorrect.match.verify import ESSENTIAL, FUNDAMENTAL_PX, PairVerifyOptions, fundamental_inliers
from geocorrect.records import Matches

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


def verify(
    matches: Matches, query: Camera, anchor: Camera, options: VerifyOptions, seed: int,
    pair: PairVerifyOptions = ESSENTIAL, rays: tuple[Float, Float] | None = None,
) -> Bool:  # fmt: skip
    """(N,) mask of the matches consistent with one two-view geometry; all False where too few.

    Args:
        matches: of the pair.
        query: describes the pixels of the query.
        anchor: describes the pixels of the anchor.
        options: tolerances, for an image 512 px long.
        seed: of the RANSAC.
        pair: which geometry: a relative pose (5-point RANSAC on rays) or a fundamental matrix (on pixels).
        rays: ((N, 3), (N, 3)) unit rays of the query's and the anchor's pixels, where the caller has them.
    """
    none = np.zeros(len(matches), bool)
    if len(matches) < options.min_matches:
        return none
    if pair.model == "fundamental":
        if Projection.SPHERICAL in (query.projection, anchor.projection):
            return none
        inliers = fundamental_inliers(
            matches.query_px, matches.anchor_px, (query.width, query.height), (anchor.width, anchor.height),
            px=pair.px or FUNDAMENTAL_PX, seed=seed,
        )  # fmt: skip
    else:
        rays = rays or (unit_rays(query, matches.query_px), unit_rays(anchor, matches.anchor_px))
        inliers = _essential_inliers(*rays, query, anchor, pair.px or options.max_epipolar_px, options, seed)
    return inliers if inliers.sum() >= pair.min_inliers else none


def _essential_inliers(
    query_rays: Float, anchor_rays: Float, query: Camera, anchor: Camera, tolerance_px: float, options: VerifyOptions,
    seed: int,
) -> Bool:  # fmt: skip
    # One common focal keeps the two images' pixels comparable; the coarser camera sets the tolerance.
    focal = min(focal_px(query) / pixel_scale(query), focal_px(anchor) / pixel_scale(anchor))
    found = pnp.relative_pose(query_rays, anchor_rays, focal, tolerance_px, options.max_iterations, seed)
    return np.zeros(len(query_rays), bool) if found is None else found[1]


def sampson_rad(query_rays: Float, anchor_rays: Float, query_from_anchor_rotation: Float, direction: Float) -> Float:
    """(N,) first-order angular distance of ray pairs to the epipolar constraint, radians.

    Sampson error on the sphere: e = q·(t × R a), gradients taken in the tangent planes of both rays.

    Args:
        query_rays: (N, 3) unit rays q.
        anchor_rays: (N, 3) unit rays a.
        query_from_anchor_rotation: (3, 3) R.
        direction: (3,) t, of the anchor's centre in the query frame, of any length above 0.
    """
    t = direction / np.linalg.norm(direction)
    turned = anchor_rays @ query_from_anchor_rotation.T
    normal_a = np.cross(t, turned)
    normal_q = np.cross(query_rays, t)
    error = np.einsum("ij,ij->i", query_rays, normal_a)
    gradient_q = np.einsum("ij,ij->i", normal_a, normal_a) - error**2
    gradient_a = np.einsum("ij,ij->i", normal_q, normal_q) - error**2
    distance: Float = np.abs(error) / np.sqrt(np.maximum(gradient_q + gradient_a, 1e-18))
    return distance


def coverage(pixels: NDArray[np.floating], camera: Camera) -> float:
    """Share of the cells of a 16×12 grid over the image that hold at least one of the pixels (N, 2)."""
    return coverage_cells(pixels, camera) / (16 * 12)


def coverage_cells(pixels: NDArray[np.floating], camera: Camera) -> int:
    """The number of those cells."""
    return int((per_cell(pixels, camera) > 0).sum())


def per_cell(pixels: NDArray[np.floating], camera: Camera) -> NDArray[np.intp]:
    """(192,) how many of the pixels (N, 2) lie in each cell of that grid."""
    columns = np.clip((pixels[:, 0] + 0.5) / camera.width * 16, 0, 15).astype(int)
    rows = np.clip((pixels[:, 1] + 0.5) / camera.height * 12, 0, 11).astype(int)
    return np.bincount(rows * 16 + columns, minlength=16 * 12)
