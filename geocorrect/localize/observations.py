"""What one anchor says about the query: verified matches as rays and, where depth is known, as world points."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.tangent import unit_rays
from geocorrect.records import Anchor, Matches

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Observations:
    """Verified matches of the query with one anchor."""

    anchor: Anchor
    """The anchor."""
    query_px: Float
    """(N, 2) pixels of the full query image."""
    anchor_px: Float
    """(N, 2) pixels of the full anchor image."""
    query_rays: Float
    """(N, 3) unit rays in the query's camera frame."""
    anchor_rays: Float
    """(N, 3) unit rays in the anchor's camera frame."""
    depth_m: Float
    """(N,) z-depth in the anchor, nan where unknown."""
    log_sigma: Float
    """(N,) standard deviation of the log depth."""
    common_log_sigma: float = 0.0
    """The part of the depth error that the whole anchor shares (unknown scale of a network)."""
    n_matches: int = 0
    """What the matcher delivered, before verification."""
    smooth_noise: float = 1.0
    """Smooth errors of its pixels as a share of those that `CovarianceOptions` assumes, as `MatcherEntry` declares."""
    off_ray_m: Float | None = None
    """(N, 3) points in the anchor's camera frame, nan where unknown, of a source that does not put them on the rays."""
    depth_from: frozenset[str] = frozenset()
    """Anchors whose poses on record gave the depth its scale, as in `DepthMap`."""
    dropped: Matches = field(default_factory=Matches.empty)
    """What no two-view geometry in common with these explains: mismatches, and what moved."""
    dropped_depth_m: Float | None = None
    """(D,) z-depth of these in the anchor, nan where unknown; None: of all."""

    def __len__(self) -> int:
        return len(self.query_px)

    def subset(self, rows: NDArray[np.intp]) -> Observations:
        """The observations of the given rows."""
        names = ("query_px", "anchor_px", "query_rays", "anchor_rays", "depth_m", "log_sigma")
        off_ray_m = None if self.off_ray_m is None else self.off_ray_m[rows]
        return replace(self, **{name: getattr(self, name)[rows] for name in names}, off_ray_m=off_ray_m)

    @property
    def has_depth(self) -> NDArray[np.bool_]:
        """(N,) which matches have a known depth."""
        return np.isfinite(self.depth_m)

    @property
    def points_m(self) -> Float:
        """(N, 3) world points: the match's own ray at its depth, or the source's own point; nan where unknown."""
        on_ray = self.anchor_rays / self.anchor_rays[:, 2:] * self.depth_m[:, None]
        in_cam = on_ray if self.off_ray_m is None else self.off_ray_m
        return self.anchor.world_from_cam.apply(in_cam)

    @cached_property
    def dropped_points_m(self) -> Float:
        """(D, 3) world points of what was dropped; nan where unknown."""
        if self.dropped_depth_m is None:
            return np.full((len(self.dropped), 3), np.nan)
        rays = unit_rays(self.anchor.camera, self.dropped.anchor_px)
        return self.anchor.world_from_cam.apply(rays / rays[:, 2:] * self.dropped_depth_m[:, None])

    def on_rays(self) -> Observations:
        """The same with points off the rays moved to the nearest place on them, for whoever trusts the rays.

        The match's ray knows to a pixel where across itself the point lies; what a point off the ray adds is how far
        along it: the foot of the perpendicular, not the ray at the point's z. The miss across the ray is a sample of
        the point's error, which counts where the stated one is smaller.
        """
        if self.off_ray_m is None:
            return self
        along_m = np.einsum("ni,ni->n", self.off_ray_m, self.anchor_rays)
        along_m = np.where(along_m > 0, along_m, np.nan)
        miss_m = np.linalg.norm(self.off_ray_m - along_m[:, None] * self.anchor_rays, axis=1)
        return replace(
            self,
            depth_m=along_m * self.anchor_rays[:, 2],
            log_sigma=np.maximum(self.log_sigma, miss_m / (np.sqrt(2.0) * along_m)),
            off_ray_m=None,
        )


@lru_cache(maxsize=256)
def focal_px(camera: Camera) -> float:
    """Pixels per radian at the image centre, which turns pixel tolerances into angles for any projection."""
    centre = np.array([(camera.width - 1) / 2.0, (camera.height - 1) / 2.0])
    step_px = max(camera.width, camera.height) / 16.0
    step = np.array([step_px, 0.0])
    first, second = unit_rays(camera, np.stack([centre - step, centre + step]))
    angle = np.arctan2(np.linalg.norm(np.cross(first, second)), first @ second)
    return float(2.0 * step_px / angle)
