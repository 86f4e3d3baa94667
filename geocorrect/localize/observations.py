"""What one anchor says about the query: verified matches as rays and, where depth is known, as world points."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.tangent import unit_rays as unit_rays
from geocorrect.records import Anchor

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Observations:
    """Verified matches of the query with one anchor.

    query_px, anchor_px: (N, 2) pixels of the full images. query_rays, anchor_rays: (N, 3) unit rays in the two camera
    frames. depth_m: (N,) z-depth in the anchor, nan = unknown; log_sigma: (N,) its standard deviation in log depth.
    common_log_sigma: the part of the depth error shared by the whole anchor (unknown scale of a network).
    n_matches counts what the matcher delivered, before verification.
    """

    anchor: Anchor
    query_px: Float
    anchor_px: Float
    query_rays: Float
    anchor_rays: Float
    depth_m: Float
    log_sigma: Float
    common_log_sigma: float = 0.0
    n_matches: int = 0

    def __len__(self) -> int:
        return len(self.query_px)

    def subset(self, rows: NDArray[np.intp]) -> Observations:
        """The observations of the given rows."""
        names = ("query_px", "anchor_px", "query_rays", "anchor_rays", "depth_m", "log_sigma")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    @property
    def has_depth(self) -> NDArray[np.bool_]:
        """(N,) bool: which matches have a known depth."""
        return np.isfinite(self.depth_m)

    @property
    def points_m(self) -> Float:
        """(N, 3) world points: the match's own anchor ray at its depth; nan where depth is unknown."""
        in_cam = self.anchor_rays / self.anchor_rays[:, 2:] * self.depth_m[:, None]
        return self.anchor.world_from_cam.apply(in_cam)


def focal_px(camera: Camera) -> float:
    """Pixels per radian at the image centre: one number that turns pixel tolerances into angles, for any
    projection.
    """
    centre = np.array([(camera.width - 1) / 2.0, (camera.height - 1) / 2.0])
    step_px = max(camera.width, camera.height) / 16.0
    step = np.array([step_px, 0.0])
    ends = np.stack([centre - step, centre + step])
    rays = camera.unproject(ends)
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    angle = np.arctan2(np.linalg.norm(np.cross(rays[0], rays[1])), rays[0] @ rays[1])
    return float(2.0 * step_px / angle)


def shifted(pose: Pose, origin_m: Float) -> Pose:
    """The pose with `origin_m` as the new origin: keeps the numbers small inside the solvers."""
    return Pose(pose.rotation, pose.translation_m - origin_m, pose.covariance)
