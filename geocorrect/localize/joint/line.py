"""One anchor and no depth: the photo lies on a line, and nothing in it tells where along the line.

The reported position only places the linearisation, with its own error; it is not an answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.pose import Pose
from geocorrect.localize import pnp
from geocorrect.localize.covariance import heading_sigma_deg
from geocorrect.localize.joint.estimate import solve_joint
from geocorrect.localize.observations import Observations, focal_px
from geocorrect.localize.options import LocalizeOptions, PosePriorOptions, pixel_scale
from geocorrect.localize.solution import Solution
from geocorrect.records import Query

Float = NDArray[np.float64]

NEAREST_M = 1.0
"""Where the search along the line starts when the report is not ahead of the anchor."""
MIN_LENGTH_M = 0.1
"""A direction between places that are closer says nothing."""


@dataclass(frozen=True)
class BearingLine:
    """From an anchor towards the photo."""

    anchor_id: str
    bearing_deg: float
    """Clockwise from the north of the scene's frame, like heading_deg."""
    bearing_sigma_deg: float
    heading_deg: float
    """Of the photo."""
    heading_sigma_deg: float

    def __str__(self) -> str:
        bearing = f"{self.bearing_deg:.1f}° (± {self.bearing_sigma_deg:.1f}°)"
        heading = f"{self.heading_deg:.1f}° (± {self.heading_sigma_deg:.1f}°)"
        return f"the photo lies on the line from anchor {self.anchor_id} towards {bearing} and looks towards {heading}"


def bearing_line(o: Observations, query: Query, options: LocalizeOptions, seed: int) -> BearingLine | None:
    """The line that an anchor's matches alone leave to the photo; None where they do not say.

    Needs the reported position. A photo taken where the anchor stands has no line either.
    """
    reported_m, anchor = query.reported_enu_m, o.anchor.world_from_cam
    focal = focal_px(query.camera) / pixel_scale(query.camera)
    px, draws = options.verify.max_epipolar_px, options.verify.max_iterations
    relative = pnp.relative_pose(o.query_rays, o.anchor_rays, focal, px, draws, seed)
    if relative is None or not np.isfinite(reported_m[:2]).all():
        return None
    photo = anchor @ relative[0].inverse()
    along = photo.translation_m - anchor.translation_m
    along /= np.linalg.norm(along)
    distance_m = max(float((reported_m - anchor.translation_m)[:2] @ along[:2]), NEAREST_M)
    guess = Pose(photo.rotation, anchor.translation_m + distance_m * along)
    sigma_m = options.gate.reported_sigma_m
    prior = PosePriorOptions(reported_m=sigma_m, height_m=sigma_m)
    free = replace(options, joint=replace(options.joint, prior=prior))
    found = solve_joint([o], query.camera, free, seed, reported_m, [guess])
    if not isinstance(found, Solution):
        return None
    pose = found.world_from_cam
    assert pose.covariance is not None
    between_m = (pose.translation_m - anchor.translation_m)[:2]
    length_m = float(np.linalg.norm(between_m))
    if length_m < MIN_LENGTH_M:
        return None
    across = np.array([-between_m[1], between_m[0]]) / length_m
    sigma_deg = float(np.degrees(np.sqrt(across @ pose.covariance[:2, :2] @ across) / length_m))
    ahead = pose.rotation.apply([0.0, 0.0, 1.0])
    heading_sigma = heading_sigma_deg(pose.covariance)
    towards = between_m if between_m @ along[:2] > 0 else -between_m  # the report may lie behind the anchor
    return BearingLine(o.anchor.id, _clockwise_deg(towards), sigma_deg, _clockwise_deg(ahead), heading_sigma)


def _clockwise_deg(direction: Float) -> float:
    """From north, of a vector whose first components are east and north."""
    return float(np.degrees(np.arctan2(direction[0], direction[1])) % 360.0)
