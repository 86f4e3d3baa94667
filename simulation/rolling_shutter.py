"""A street of points, seen by cameras that expose one row after the other while they move; analytic, with known truth.

No smooth errors of matcher, depth and records: what is left is what the shutter does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.localize.correct import TracedResult, localize
from geocorrect.localize.options import LocalizeOptions
from geocorrect.records import Anchor, AnchorView, CameraMotion, DepthMap, ImageArray, Matches, Query

Float = NDArray[np.float64]

CAMERA = replace(Camera.from_opencv(1024, 768, [800.0, 800.0, 511.5, 383.5], [-0.1, 0.02, 0.0, 0.0]), focal_sigma=3e-4)
GLOBAL = float("nan")
"""Readout of a camera whose shutter is not known to roll."""
SEARCHES = 20
"""Of the row that sees a point: each is nearer by the share of the picture that the point moves in one readout."""
BLANK = np.zeros((768, 1024, 3), np.uint8)


@dataclass(frozen=True)
class StreetOptions:
    """What is seen, and how well."""

    heading_deg: float = 25.0
    """Of the photo, from the way of the street."""
    points: int = 2000
    noise_px: float = 0.3
    mismatches: float = 0.1
    """Share of the matches."""


def motion_of(
    velocity_m_s: tuple[float, float, float], turn_deg_s: float = 0.0, sigma_m_s: float = 0.1
) -> CameraMotion:
    """A motion with a turn to the left about the vertical."""
    turn_rad_s = np.array([0.0, 0.0, np.radians(turn_deg_s)])
    return CameraMotion(np.array(velocity_m_s, float), turn_rad_s, sigma_m_s, 0.005)


class RollingStreet:
    """A photo in a street with façades on both sides, three anchors of a drive, their matches and depth."""

    fingerprint = "rolling-street"

    def __init__(
        self,
        seed: int,
        photo: tuple[float, CameraMotion | None],
        drive: tuple[float, CameraMotion | None] = (GLOBAL, None),
        depth: str = "lidar",
        options: StreetOptions | None = None,
    ) -> None:
        """Draw a street.

        Args:
            seed: of everything random.
            photo: true readout and motion.
            drive: the same of the anchors.
            depth: "lidar": laid into the anchors by their poses; "tracks": what their rows saw.
            options: what is seen.
        """
        o, rng = options or StreetOptions(), np.random.default_rng(seed)
        along = rng.uniform(2 if o.heading_deg < 45 else -20, 45, o.points)
        side = np.where(rng.random(o.points) < 0.5, -7.0, 9.0) + rng.normal(0, 0.3, o.points)
        self._points = np.stack([side, along, rng.uniform(0, 9, o.points)], axis=1)
        self.camera = replace(CAMERA, readout_s=photo[0])
        place = np.array([rng.uniform(-3, 3), 1.0, 1.6])
        self.truth = Pose(rotation_from_heading(o.heading_deg + rng.normal(0, 8)), place)
        seen_px, seen, _ = _exposed(self.camera, self.truth, photo[1], self._points)
        self.matches: list[Matches] = []
        self.depths: list[DepthMap] = []
        self.anchors: list[Anchor] = []
        for number, north_m in enumerate((-3.0, 0.0, 3.0)):
            pose = Pose(rotation_from_heading(o.heading_deg - 5.0 + rng.normal(0, 2)), np.array([0.5, north_m, 1.9]))
            camera = replace(CAMERA, readout_s=drive[0])
            anchor_px, in_anchor, arm = _exposed(camera, pose, drive[1], self._points)
            at_px = anchor_px
            if depth == "lidar":
                at_px, _, arm = _exposed(camera, pose, None, self._points)
            both = seen & in_anchor
            self.depths.append(DepthMap(depth, depth == "lidar", samples_px=at_px[both], samples_z_m=arm[both, 2]))
            found = seen_px[both] + rng.normal(0, 1, (both.sum(), 2)) * o.noise_px
            wrong = rng.random(len(found)) < o.mismatches
            found[wrong] = rng.uniform(0, 760, (wrong.sum(), 2))
            self.matches.append(Matches(found, anchor_px[both], np.ones(len(found))))
            self.anchors.append(Anchor(str(number), "simulated", Path("none"), camera, pose, "exact"))

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher`; the pixels carry nothing."""
        return self.matches[: len(anchors)]

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """See `depth.base.DepthSource`."""
        return self.depths[int(anchor.id)]

    def localize(self, camera: Camera, photo: CameraMotion | None, drive: CameraMotion | None = None) -> TracedResult:
        """The photo with what is stated of its camera, of its motion and of that of the anchors."""
        views = [AnchorView(replace(anchor, motion=drive), BLANK) for anchor in self.anchors]
        reported_m = self.truth.translation_m + np.array([4.0, -3.0, np.nan])
        query = Query("photo", BLANK, camera, reported_m, motion=photo)
        return localize(query, views, self, self, LocalizeOptions(), seed=1)  # type: ignore[arg-type]


def _exposed(
    camera: Camera, pose: Pose, motion: CameraMotion | None, points: Float
) -> tuple[Float, NDArray[np.bool_], Float]:
    """(pixels (N, 2), whether seen (N,), points in the camera's frame (N, 3)) of world points (N, 3).

    Each from where the camera is when the row of its own pixel is exposed.
    """
    late_s = np.zeros((len(points), 1))
    for _ in range(SEARCHES):
        arm = points - pose.translation_m
        if motion is not None:
            arm = Rotation.from_rotvec(-late_s * motion.turn_rad_s).apply(arm - late_s * motion.velocity_m_s)
        arm = pose.rotation.inv().apply(arm)
        px, visible = camera.project(arm)
        if motion is None:
            break
        late_s = camera.readout_s * (np.nan_to_num(px[:, 1:]) / (camera.height - 1) - 0.5)
    return px, visible & camera.contains(px), arm
