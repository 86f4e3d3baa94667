"""An anchor's neighbours of known pose: whose photos tell its depth without a network and without a scanner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geocorrect.geometry.frame import angle_difference_deg
from geocorrect.retrieve.spatial import AnchorPositions

Float = NDArray[np.float64]


@dataclass(frozen=True)
class NeighbourOptions:
    """Which anchors serve as neighbours of one."""

    baselines_m: tuple[float, ...] = (1.5, -1.5, 3.0, -3.0)
    """Wished distances along the viewing direction, one neighbour each: of the anchors there are, the nearest to each
    wish is taken.
    """
    min_baseline_m: float = 0.3
    """Nearer ones see the same."""
    max_baseline_m: float = 20.0
    """Farther ones match too little."""
    max_turn_deg: float = 40.0
    """Difference of heading."""

    def __post_init__(self) -> None:
        if not self.baselines_m or not 0 < self.min_baseline_m < self.max_baseline_m:
            raise ValueError("neighbours: at least one baseline, and 0 < min_baseline_m < max_baseline_m")


class NeighbourFinder:
    """Finds neighbours by place and heading, among anchors under one georeference.

    Only those are known relative to each other as well as the estimator assumes.
    """

    def __init__(self, anchors: AnchorPositions, alignment_ids: Sequence[str], options: NeighbourOptions) -> None:
        self.options = options
        self._anchors = anchors
        self._alignments = np.asarray(alignment_ids, dtype=object)
        self._row = {anchor_id: row for row, anchor_id in enumerate(anchors.ids)}
        self._tree = cKDTree(anchors.enu_m[:, :2]) if len(anchors.ids) else None

    def of(self, anchor_id: str, among: NDArray[np.bool_] | None = None) -> tuple[str, ...]:
        """Ids of the neighbours, best first; empty when there are none. KeyError for an unknown anchor.

        among: (N,) anchors that may be chosen; None: all.
        """
        row = self._row[anchor_id]
        assert self._tree is not None
        o, here = self.options, self._anchors.enu_m[row]
        near = np.array(sorted(self._tree.query_ball_point(here[:2], o.max_baseline_m)), np.intp)
        offset = self._anchors.enu_m[near] - here
        distance = np.linalg.norm(offset, axis=1)
        turn = np.abs(angle_difference_deg(self._anchors.heading_deg[near], self._anchors.heading_deg[row]))
        usable = (near != row) & (self._alignments[near] == self._alignments[row]) & ~(turn > o.max_turn_deg)
        usable &= (distance >= o.min_baseline_m) & (distance <= o.max_baseline_m)
        if among is not None:
            usable &= among[near]
        return self._chosen(near[usable], offset[usable], float(self._anchors.heading_deg[row]))

    def _chosen(self, near: NDArray[np.intp], offset: Float, heading_deg: float) -> tuple[str, ...]:
        """One neighbour per wished baseline, greedily; without a heading only the distance counts."""
        if np.isfinite(heading_deg):
            forward = np.array([np.sin(np.radians(heading_deg)), np.cos(np.radians(heading_deg))])
            along = offset[:, :2] @ forward
            aside = np.abs(offset[:, :2] @ np.array([forward[1], -forward[0]]))
        else:
            along, aside = np.linalg.norm(offset[:, :2], axis=1), np.zeros(len(offset))
        free = np.ones(len(near), bool)
        chosen: list[str] = []
        for wish in self.options.baselines_m:
            if not free.any():
                break
            wished = along if np.isfinite(heading_deg) else np.copysign(along, wish)
            best = int(np.argmin(np.where(free, np.abs(wished - wish) + aside, np.inf)))
            free[best] = False
            chosen.append(self._anchors.ids[near[best]])
        return tuple(chosen)
