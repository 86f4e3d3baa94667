"""Candidate anchors by place and viewing direction: the first and cheapest filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geocorrect.geometry.frame import angle_difference_deg
from geocorrect.records import NAN, Pair

Float = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class SpatialOptions:
    """What counts as near, and as looking the same way."""

    radius_m: float = 50.0
    """GPS error plus the range at which street photos still match."""
    max_candidates: int = 8
    """Anchors kept per image."""
    view_distance_m: float = 12.0
    """Views are compared by the spot they look at, this far in front of the camera."""
    min_separation_m: float = 1.0
    """Of two candidates closer than this that look the same way the farther goes to the end of the list, so that k
    anchors span a baseline.
    """
    trust_heading_deg: float = 30.0
    """Assumed 1-sigma error of the reported heading; nan: do not use headings (phones are wrong by tens of degrees)."""
    max_heading_difference_deg: float = 100.0
    """Anchors turned further away than this are left out, when the heading is used."""

    def __post_init__(self) -> None:
        if not self.radius_m > 0 or self.max_candidates < 1:
            raise ValueError("retrieve: radius_m must be positive and max_candidates at least 1")


@dataclass(frozen=True, eq=False)
class AnchorPositions:
    """Where N anchors are and where they look."""

    ids: Sequence[str]
    enu_m: Float
    """(N, 3)."""
    heading_deg: Float
    """(N,) clockwise from true north, nan = unknown."""

    def __post_init__(self) -> None:
        if self.enu_m.shape != (len(self.ids), 3) or self.heading_deg.shape != (len(self.ids),):
            raise ValueError("AnchorPositions: ids, enu_m (N, 3) and heading_deg (N,) must have the same length")


IMAGES_AT_ONCE = 1000
"""Ranked together: enough to be fast, few enough that a dense drive (hundreds of anchors each) takes megabytes."""
ALIKE_TURN_DEG = 10.0


class SpatialRetriever:
    """Ranks anchors around reported positions; the index is built once per scene."""

    def __init__(self, anchors: AnchorPositions, options: SpatialOptions | None = None) -> None:
        self.options = options or SpatialOptions()
        self.anchors = anchors
        self._tree = cKDTree(anchors.enu_m[:, :2]) if len(anchors.ids) else None
        self._looked_at = _ahead(anchors.enu_m[:, :2], anchors.heading_deg, self.options.view_distance_m)

    def candidates(self, image_id: str, reported_enu_m: Float, heading_deg: float = NAN) -> list[Pair]:
        """Ranked pairs for one image; empty when no anchor is within the radius or the position is unknown.

        Args:
            image_id: Of the image.
            reported_enu_m: (3,); only east and north are used.
            heading_deg: Clockwise from true north, nan = unknown.
        """
        rows = self.candidate_rows(reported_enu_m[None], np.array([heading_deg]))[0]
        return self.pairs(image_id, reported_enu_m, heading_deg, rows)

    def pairs(self, image_id: str, reported_enu_m: Float, heading_deg: float, rows: Rows) -> list[Pair]:
        """The pairs of one image with its candidates, given as a row of `candidate_rows`."""
        rows = rows[rows >= 0]
        distance_m = _length(self.anchors.enu_m[rows, :2] - reported_enu_m[:2])
        turn_deg = np.abs(angle_difference_deg(self.anchors.heading_deg[rows], heading_deg))
        return [
            Pair(image_id, self.anchors.ids[row], rank, float(distance_m[rank]), float(turn_deg[rank]))
            for rank, row in enumerate(rows.tolist())
        ]

    def candidate_rows(self, reported_enu_m: Float, heading_deg: Float) -> Rows:
        """(N, max_candidates) rows of the anchors, best first, filled up with -1, for N images at once.

        What an image gets does not depend on the other images.

        Args:
            reported_enu_m: (N, 2 or 3), nan = unknown.
            heading_deg: (N,), nan = unknown.
        """
        found = np.full((len(heading_deg), self.options.max_candidates), -1, np.intp)
        for start in range(0, len(found), IMAGES_AT_ONCE):
            part = slice(start, start + IMAGES_AT_ONCE)
            near = self._near(reported_enu_m[part, :2])
            ranked = near.take(self._ranking(near, reported_enu_m[part, :2], heading_deg[part]))
            found[part] = self._spread(ranked, len(found[part]))
        return found

    def _near(self, reported_en_m: Float) -> _Hits:
        """Every anchor within the radius of every image, in the order of images, then of anchors."""
        known = np.flatnonzero(np.isfinite(reported_en_m).all(axis=1))
        if self._tree is None or not len(known):
            return _Hits(np.zeros(0, np.intp), np.zeros(0, np.intp))
        lists = self._tree.query_ball_point(reported_en_m[known], self.options.radius_m, return_sorted=True)
        counts = np.array([len(found) for found in lists], np.intp)
        anchor = np.fromiter(chain.from_iterable(lists), np.intp, counts.sum())
        return _Hits(np.repeat(known, counts), anchor)

    def _ranking(self, near: _Hits, reported_en_m: Float, heading_deg: Float) -> Rows:
        """Positions in `near`: by image, best first. Views are alike when they look at the same spot from one side."""
        o = self.options
        here, seen_deg = reported_en_m[near.image], heading_deg[near.image]
        distance = _length(self.anchors.enu_m[near.anchor, :2] - here)
        if not np.isfinite(o.trust_heading_deg):
            return np.lexsort((distance, near.image))
        turn = np.abs(angle_difference_deg(self.anchors.heading_deg[near.anchor], seen_deg))
        gap = _length(self._looked_at[near.anchor] - _ahead(here, seen_deg, o.view_distance_m))
        cost = distance + gap + o.view_distance_m * np.nan_to_num(turn) / o.trust_heading_deg
        order = np.lexsort((np.where(np.isfinite(cost), cost, distance), near.image))
        # Where a heading is unknown, the turn is nan: such anchors stay.
        return order[~(turn > o.max_heading_difference_deg)[order]]

    def _spread(self, ranked: _Hits, n_images: int) -> Rows:
        """(n_images, max_candidates) candidates; near-duplicates of better ones (same place and direction) come last.

        Goes through the ranks, all images at once.
        """
        size = self.options.max_candidates
        kept, spare = np.full((n_images, size), -1, np.intp), np.full((n_images, size), -1, np.intp)
        n_kept, n_spare = np.zeros(n_images, np.intp), np.zeros(n_images, np.intp)
        counts = np.bincount(ranked.image, minlength=n_images)
        starts = np.cumsum(counts) - counts
        for rank in range(counts.max(initial=0)):
            open_images = np.flatnonzero((counts > rank) & (n_kept < size))
            anchor = ranked.anchor[starts[open_images] + rank]
            double = self._alike(anchor[:, None], kept[open_images]).any(axis=1)
            fresh, again = open_images[~double], open_images[double & (n_spare[open_images] < size)]
            kept[fresh, n_kept[fresh]] = anchor[~double]
            spare[again, n_spare[again]] = anchor[double & (n_spare[open_images] < size)]
            n_kept[fresh] += 1
            n_spare[again] += 1
        both = np.concatenate([kept, spare], axis=1)
        filled_first = np.argsort(both < 0, axis=1, kind="stable")[:, :size]
        return np.take_along_axis(both, filled_first, axis=1)

    def _alike(self, first: Rows, second: Rows) -> NDArray[np.bool_]:
        """Whether anchors stand at the same place and look the same way; false where `second` is -1."""
        enu, heading = self.anchors.enu_m, self.anchors.heading_deg
        near = _length(enu[first] - enu[second]) < self.options.min_separation_m
        turn = np.abs(angle_difference_deg(heading[first], heading[second]))
        return (second >= 0) & near & ~(turn > ALIKE_TURN_DEG)


@dataclass(frozen=True, eq=False)
class _Hits:
    """Images and anchors that belong together, as two arrays of rows of the same length."""

    image: Rows
    anchor: Rows

    def take(self, positions: Rows) -> _Hits:
        return _Hits(self.image[positions], self.anchor[positions])


def _length(vectors_m: Float) -> Float:
    """Lengths of (..., D) vectors, component by component: the same whatever the number of vectors."""
    length: Float = np.sqrt(sum(vectors_m[..., axis] ** 2 for axis in range(vectors_m.shape[-1])))
    return length


def _ahead(position_m: Float, heading_deg: Float, distance_m: float) -> Float:
    """(N, 2) points `distance_m` in front of viewers at (N, 2) positions."""
    angle = np.radians(heading_deg)
    return position_m + distance_m * np.column_stack([np.sin(angle), np.cos(angle)])
