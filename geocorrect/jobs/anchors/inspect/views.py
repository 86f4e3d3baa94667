"""What neighbouring anchors show of each other: matched rays, and how far any poses are from explaining them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from geocorrect.errors import InputError
from geocorrect.geometry.camera import Projection
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.tangent import unit_rays
from geocorrect.localize import pnp
from geocorrect.localize.observations import focal_px
from geocorrect.localize.options import VerifyOptions, pixel_scale
from geocorrect.localize.verify import sampson_rad
from geocorrect.match.base import Matcher
from geocorrect.match.rig import match_photo
from geocorrect.records import Anchor, AnchorView, Float

MIN_BASELINE_M, MAX_BASELINE_M = 0.2, 12.0
MIN_MATCHES, MAX_RAYS = 30, 200
MAX_TURN_DEG = 50.0
BEHIND_PX = 100.0
"""Error of poses that put most points behind a camera: as bad as no overlap."""
MIN_PARALLAX_RAD = 0.005


@dataclass(frozen=True, eq=False)
class Placed:
    """Poses of N anchors as arrays, declared or as another convention has them."""

    turns: Rotation
    """N, world_from_cam."""
    places_m: Float
    """(N, 3) camera centres."""

    @classmethod
    def of(cls, anchors: Sequence[Anchor]) -> Placed:
        """As declared."""
        poses = [anchor.world_from_cam for anchor in anchors]
        return cls(Rotation.concatenate([pose.rotation for pose in poses]), np.array([p.translation_m for p in poses]))

    @cached_property
    def _matrices(self) -> Float:
        return np.asarray(self.turns.as_matrix())

    def first_from_second(self, first: int, second: int) -> tuple[Float, Float]:
        """((3, 3) rotation, (3,) centre of the second) in the first one's camera axes."""
        world_from_first = self._matrices[first]
        offset = self.places_m[second] - self.places_m[first]
        return world_from_first.T @ self._matrices[second], world_from_first.T @ offset


@dataclass(frozen=True, eq=False)
class MatchedPair:
    """Two anchors that see the same, and where."""

    first: int
    second: int
    """Rows of the anchors."""
    first_px: Float
    second_px: Float
    """(M, 2) verified matches."""
    first_rays: Float
    second_rays: Float
    """(M, 3) their unit rays."""
    focal_px: float
    """Pixels per radian of the first."""
    free: Pose
    """first_from_second that fits the matches best, of unit length."""
    free_px: float
    """Median error under it: what the pictures alone allow."""

    def error_px(self, poses: Placed) -> float:
        """Median distance of the matches from their epipolar lines under poses; BEHIND_PX where points lie behind."""
        rotation, direction = poses.first_from_second(self.first, self.second)
        if np.linalg.norm(direction) < 1e-6:
            return BEHIND_PX
        # a part of the points tells on which side of the cameras they lie
        in_front = self.depths_m(rotation, direction, self.first_rays[::4], self.second_rays[::4])
        known = np.isfinite(in_front).all(axis=1)
        if known.sum() >= 5 and (in_front[known] > 0).all(axis=1).mean() < 0.5:
            return BEHIND_PX
        return float(np.median(sampson_rad(self.first_rays, self.second_rays, rotation, direction)) * self.focal_px)

    @staticmethod
    def depths_m(rotation: Float, direction: Float, first_rays: Float, second_rays: Float) -> Float:
        """(M, 2) distances along both rays (M, 3) of the points where they meet; nan without parallax."""
        turned = second_rays @ rotation.T
        along = np.einsum("ij,ij->i", first_rays, turned)
        across = 1.0 - along**2  # squared sine of the parallax
        to_first, to_second = first_rays @ direction, turned @ direction
        depths = np.stack([to_first - along * to_second, along * to_first - to_second], axis=1)
        depths = depths / np.maximum(across, 1e-18)[:, None]
        return np.where(across[:, None] > MIN_PARALLAX_RAD**2, depths, np.nan)


def rig_groups(anchors: Sequence[Anchor], within_s: float = 0.03) -> list[list[int]]:
    """Rows of anchors that one rig took at one moment, in the order of their ids."""
    timed = [row for row, anchor in enumerate(anchors) if anchor.captured_at is not None]
    timed.sort(key=lambda row: (anchors[row].drive_id or "", _time(anchors[row])))
    groups: list[list[int]] = []
    for row in timed:
        last = anchors[groups[-1][0]] if groups else None
        same = last is not None and last.drive_id == anchors[row].drive_id
        if same and last is not None and (_time(anchors[row]) - _time(last)).total_seconds() <= within_s:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [sorted(group, key=lambda row: anchors[row].id) for group in groups]


def matched_pairs(
    anchors: Sequence[Anchor],
    matcher: Matcher,
    view: Callable[[Anchor], AnchorView],
    n_pairs: int,
    on_progress: Callable[[int, int], None],
) -> tuple[list[MatchedPair], list[str]]:
    """Pairs of neighbours that match, evenly spread over the anchors; messages about files that cannot be read."""
    wished = neighbour_rows(anchors)
    wished = [wished[i] for i in np.unique(np.linspace(0, len(wished) - 1, min(n_pairs, len(wished))).astype(int))]
    found, unusable = [], []
    for done, (first, second) in enumerate(wished):
        on_progress(done, len(wished))
        try:
            pair = match_pair(anchors, matcher, view, first, second)
        except InputError as error:
            unusable.append(str(error))
            continue
        if pair is not None:
            found.append(pair)
    return found, list(dict.fromkeys(unusable))


def neighbour_rows(anchors: Sequence[Anchor]) -> list[tuple[int, int]]:
    """Rows of pairs that may see the same: of each anchor the two nearest, and what its rig took at the same moment."""
    poses = Placed.of(anchors)
    flat = {row: None for row, anchor in enumerate(anchors) if anchor.camera.projection is not Projection.SPHERICAL}
    pairs: dict[tuple[int, int], None] = {}
    tree, axes = cKDTree(poses.places_m), poses.turns.as_matrix()[:, :, 2]
    together = {row: set(group) for group in rig_groups(anchors) for row in group}
    for row in flat:
        distance, near = tree.query(poses.places_m[row], k=min(16, len(anchors)))
        order = [int(other) for d, other in zip(np.atleast_1d(distance), np.atleast_1d(near), strict=True)
                 if MIN_BASELINE_M <= d <= MAX_BASELINE_M and int(other) in flat]  # fmt: skip
        alike = [o for o in order if axes[row] @ axes[o] > np.cos(np.radians(MAX_TURN_DEG))]
        same_moment = together.get(row, set())
        chosen = [o for o in alike if o not in same_moment][:2] + [o for o in alike if o in same_moment][:1]
        # Where the declared axes are wrong, like directions need not look alike: the nearest are tried all the same.
        for other in chosen or order[:2]:
            pairs[min(row, other), max(row, other)] = None
    return list(pairs)


def match_pair(
    anchors: Sequence[Anchor], matcher: Matcher, view: Callable[[Anchor], AnchorView], first: int, second: int
) -> MatchedPair | None:
    """The rays of two anchors that meet, whatever their declared poses; None where too few matches agree."""
    a, b = anchors[first], anchors[second]
    (matches,) = match_photo(matcher, view(a).pixels, a.camera, [view(b).pixels], (), [b.camera])
    if len(matches) < MIN_MATCHES:
        return None
    first_rays, second_rays = unit_rays(a.camera, matches.query_px), unit_rays(b.camera, matches.anchor_px)
    focal = focal_px(a.camera)
    options = VerifyOptions()
    tolerance_px = options.max_epipolar_px * pixel_scale(a.camera)
    found = pnp.relative_pose(first_rays, second_rays, focal, tolerance_px, options.max_iterations, 0)
    if found is None or found[1].sum() < MIN_MATCHES:
        return None
    free, inliers = found
    rows = np.flatnonzero(inliers)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(MAX_RAYS, len(rows))).astype(int))]
    error = sampson_rad(first_rays[rows], second_rays[rows], free.rotation.as_matrix(), free.translation_m)
    return MatchedPair(
        first, second, np.asarray(matches.query_px[rows], float), np.asarray(matches.anchor_px[rows], float),
        first_rays[rows], second_rays[rows], focal, free, float(np.median(error) * focal),
    )  # fmt: skip


def _time(anchor: Anchor) -> datetime:
    assert anchor.captured_at is not None
    return anchor.captured_at
