"""Candidate anchors by place and viewing direction: the first and cheapest filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geocorrect.geometry.frame import angle_difference_deg
from geocorrect.records import NAN, Pair

Float = NDArray[np.float64]


@dataclass(frozen=True)
class SpatialOptions:
    """What counts as near and as looking the same way.

    radius_m: GPS error plus the range at which street photos still match. max_candidates: anchors kept per image.
    view_distance_m: views are compared by the spot they look at, this far in front of the camera.
    min_separation_m: of two candidates closer than this that look the same way the farther goes to the end of
    the list, so that k anchors span a baseline. trust_heading_deg: assumed 1-sigma error of the reported heading;
    nan = do not use headings at all (phones are wrong by tens of degrees). max_heading_difference_deg: anchors
    turned further away than this are left out, when the heading is used.
    """

    radius_m: float = 50.0
    max_candidates: int = 8
    view_distance_m: float = 12.0
    min_separation_m: float = 1.0
    trust_heading_deg: float = 30.0
    max_heading_difference_deg: float = 100.0

    def __post_init__(self) -> None:
        if not self.radius_m > 0 or self.max_candidates < 1:
            raise ValueError("retrieve: radius_m must be positive and max_candidates at least 1")


@dataclass(frozen=True, eq=False)
class AnchorSites:
    """Where anchors stand and look: ids (N), enu_m (N, 3), heading_deg (N,) clockwise from true north."""

    ids: Sequence[str]
    enu_m: Float
    heading_deg: Float

    def __post_init__(self) -> None:
        if self.enu_m.shape != (len(self.ids), 3) or self.heading_deg.shape != (len(self.ids),):
            raise ValueError("AnchorSites: ids, enu_m (N, 3) and heading_deg (N,) must have the same length")


class SpatialRetriever:
    """Ranks anchors around a reported position; the index is built once per scene or tile."""

    def __init__(self, sites: AnchorSites, options: SpatialOptions | None = None) -> None:
        self.options = options or SpatialOptions()
        self.sites = sites
        self._tree = cKDTree(sites.enu_m[:, :2]) if len(sites.ids) else None

    def candidates(self, image_id: str, reported_enu_m: Float, heading_deg: float = NAN) -> list[Pair]:
        """Ranked pairs for one image; empty when no anchor is within the radius or the position is unknown.

        reported_enu_m: (3,) metres, only east and north are used. heading_deg: clockwise from true north, or nan.
        """
        if self._tree is None or not np.isfinite(reported_enu_m[:2]).all():
            return []
        near = np.array(sorted(self._tree.query_ball_point(reported_enu_m[:2], self.options.radius_m)), np.intp)
        if not len(near):
            return []
        distance = np.linalg.norm(self.sites.enu_m[near, :2] - reported_enu_m[:2], axis=1)
        turn = np.abs(angle_difference_deg(self.sites.heading_deg[near], heading_deg))
        order = self._ranking(near, reported_enu_m, heading_deg, distance, turn)
        chosen = self._spread(near, order)[: self.options.max_candidates]
        return [
            Pair(image_id, self.sites.ids[near[i]], rank, float(distance[i]), float(turn[i]))
            for rank, i in enumerate(chosen)
        ]

    def _ranking(
        self,
        near: NDArray[np.intp],
        reported_enu_m: Float,
        heading_deg: float,
        distance: Float,
        turn: Float,
    ) -> NDArray[np.intp]:
        """Indices into `near`, best first: views are alike when they look at the same spot from the same side."""
        if not (np.isfinite(heading_deg) and np.isfinite(self.options.trust_heading_deg)):
            return np.argsort(distance, kind="stable")
        allowed = ~(turn > self.options.max_heading_difference_deg)
        looked_at = _ahead(self.sites.enu_m[near, :2], self.sites.heading_deg[near], self.options.view_distance_m)
        target = _ahead(reported_enu_m[None, :2], np.array([heading_deg]), self.options.view_distance_m)
        gap = np.linalg.norm(looked_at - target, axis=1)
        cost = distance + gap + self.options.view_distance_m * np.nan_to_num(turn) / self.options.trust_heading_deg
        order = np.argsort(np.where(np.isfinite(cost), cost, distance), kind="stable")
        return order[allowed[order]]

    def _spread(self, near: NDArray[np.intp], order: NDArray[np.intp]) -> list[int]:
        """Put near-duplicates of better candidates (same place, same direction) to the end of the list."""
        kept: list[int] = []
        duplicates: list[int] = []
        for i in order.tolist():
            if any(self._alike(near[i], near[j]) for j in kept[-self.options.max_candidates :]):
                duplicates.append(i)
            else:
                kept.append(i)
        return kept + duplicates

    def _alike(self, first: int, second: int) -> bool:
        apart = np.linalg.norm(self.sites.enu_m[first] - self.sites.enu_m[second])
        turn = abs(angle_difference_deg(self.sites.heading_deg[first], self.sites.heading_deg[second]))
        return bool(apart < self.options.min_separation_m and not turn > 10.0)


def _ahead(position_m: Float, heading_deg: Float, distance_m: float) -> Float:
    """(N, 2) points `distance_m` in front of viewers at (N, 2) positions."""
    angle = np.radians(heading_deg)
    return position_m + distance_m * np.column_stack([np.sin(angle), np.cos(angle)])
