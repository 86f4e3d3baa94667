"""Which pixels of a dense prediction can be believed: one depth, enough confidence, not on an edge.

Edges are those of MoGe (Wang et al. 2024): a jump of depth and a turn of the surface in the same 3 × 3 window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]
Map = NDArray[np.floating]
TINY = 1e-12


@dataclass(frozen=True)
class MaskRules:
    """What makes a pixel unbelievable beside its own ambiguity. The defaults are the published model's."""

    dropped_share: float = 0.0
    """Share of the pixels of an image, those of least confidence, that are dropped; 0 keeps all."""
    edge_ratio: float = 0.03
    """Spread of depth in a 3 × 3 window, over the depth at its centre, that makes a jump."""
    edge_angle_deg: float = 5.0
    """Angle between neighbouring surface normals that makes a turn."""
    drop_edges: bool = True
    """Whether pixels on edges are dropped."""


def believed(z: Map, points: Map, confidence: Map, unambiguous: Mask, rules: MaskRules | None = None) -> Mask:
    """(H, W) pixels of one view to believe, from z-depth (H, W), points (H, W, 3) in any frame and confidence (H, W).

    Needs no unit of length.
    """
    rules = rules or MaskRules()
    kept = np.asarray(unambiguous, bool)
    if rules.dropped_share > 0.0:
        kept = kept & (confidence > np.quantile(confidence, rules.dropped_share))
    if rules.drop_edges and kept.any():
        edge_z = depth_edges(z, kept, rules.edge_ratio)
        kept = kept & ~(edge_z & normal_edges(*surface_normals(points, kept), rules.edge_angle_deg))
    return kept


def depth_edges(z: Map, mask: Mask, ratio: float) -> Mask:
    """(H, W): windows whose valid depths span more than `ratio` of the depth at their centre."""
    with np.errstate(invalid="ignore", divide="ignore"):
        farthest = _windows(np.where(mask, z, -np.inf), -np.inf).max(axis=(-2, -1))
        nearest = _windows(np.where(mask, z, np.inf), np.inf).min(axis=(-2, -1))
        return np.asarray((farthest - nearest) / z > ratio)


def surface_normals(points: Map, mask: Mask) -> tuple[Float, Mask]:
    """Unit normals (H, W, 3) from the four neighbours of each pixel, and (H, W) whether there is one; 0 where not."""
    padded = np.pad(np.asarray(points, np.float64), ((1, 1), (1, 1), (0, 0)))
    inside = np.pad(mask, 1)
    sides = [(slice(0, -2), slice(1, -1)), (slice(1, -1), slice(0, -2)),
             (slice(2, None), slice(1, -1)), (slice(1, -1), slice(2, None))]  # fmt: skip
    steps = [padded[side] - points for side in sides]
    known = [inside[side] & mask for side in sides]
    total, valid = np.zeros(points.shape), np.zeros(mask.shape, bool)
    for first, second in ((0, 1), (1, 2), (2, 3), (3, 0)):
        both = known[first] & known[second]
        total += np.where(both[..., None], _unit(np.cross(steps[first], steps[second])), 0.0)
        valid |= both
    return np.where(valid[..., None], _unit(total), 0.0), valid


def normal_edges(normals: Float, valid: Mask, angle_deg: float) -> Mask:
    """(H, W): windows with a pixel whose normal differs by more than `angle_deg` from a neighbour's.

    The official code looks the validity of the neighbour (dy, dx) up at (dx, dy); so do we, for equal masks. It
    matters next to the border of the mask only.
    """
    padded = np.pad(normals, ((1, 1), (1, 1), (0, 0)), mode="edge")
    flags = np.pad(valid, 1, mode="edge")
    height, width = valid.shape
    angle = np.zeros((height, width))
    for dy in range(3):
        for dx in range(3):
            neighbour = padded[dy : dy + height, dx : dx + width]
            cosine = np.clip((normals * neighbour).sum(axis=-1), -1.0, 1.0)
            angle = np.maximum(angle, np.where(flags[dx : dx + height, dy : dy + width], np.arccos(cosine), 0.0))
    return np.asarray(_windows(angle, 0.0).max(axis=(-2, -1)) > np.radians(angle_deg))


def _windows(values: Map, outside: float) -> Map:
    """(H, W, 3, 3) neighbourhoods."""
    return sliding_window_view(np.pad(values, 1, constant_values=outside), (3, 3))


def _unit(vectors: Float) -> Float:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Float = vectors / (length + TINY)
    return unit
