"""Epipolar verification: which matches of a pair can come from two views of a still scene.

Calibrated and on rays, so distortion and different focal lengths play no part. Moving vehicles and mismatches go;
what stays is what depth and pose may be judged by.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.localize import pnp
from geocorrect.localize.observations import focal_px, unit_rays
from geocorrect.localize.options import VerifyOptions, pixel_scale
from geocorrect.records import Matches

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


def verify(matches: Matches, query: Camera, anchor: Camera, options: VerifyOptions, seed: int) -> Bool:
    """(N,) mask of the matches consistent with one relative pose (5-point RANSAC); all False where too few.

    query, anchor: the cameras that describe the two images' pixels.
    """
    rejected = np.zeros(len(matches), bool)
    if len(matches) < options.min_matches:
        return rejected
    query_rays, anchor_rays = unit_rays(query, matches.query_px), unit_rays(anchor, matches.anchor_px)
    # One common focal keeps the two images' pixels comparable; the coarser camera sets the tolerance.
    focal = min(focal_px(query) / pixel_scale(query), focal_px(anchor) / pixel_scale(anchor))
    found = pnp.relative_pose(query_rays, anchor_rays, focal, options.max_epipolar_px, options.max_iterations, seed)
    return rejected if found is None else found[1]


def sampson_rad(query_rays: Float, anchor_rays: Float, query_from_anchor_rotation: Float, direction: Float) -> Float:
    """(N,) first-order angular distance of ray pairs to the epipolar constraint, radians.

    query_from_anchor_rotation: (3, 3); direction: (3,) of the anchor's centre in the query frame, any length > 0.
    [Sampson error on the sphere: eᵀ = q·(t × R a), gradients taken in the tangent planes of both rays]
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
    if len(pixels) == 0:
        return 0.0
    columns = np.clip((pixels[:, 0] + 0.5) / camera.width * 16, 0, 15).astype(int)
    rows = np.clip((pixels[:, 1] + 0.5) / camera.height * 12, 0, 11).astype(int)
    return len(np.unique(rows * 16 + columns)) / (16 * 12)
