"""Rolling shutter: matches as they would be had every row been exposed at the middle of the exposure.

A row that is exposed τ after the middle (`exposed_s`) is seen from C + vτ with the rotation exp(ωτ)R. A point at
the distance s on its ray r lies at exp(ωτ)Rr·s + vτ from C: that way the camera sees it at the middle. Distances are
those of the solution before, and so is the rotation: at first of the uncorrected matches, which turn it by degrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.depth.calibration.tracks import track_index
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.tangent import unit_rays
from geocorrect.localize.lift import lift
from geocorrect.localize.options import LiftOptions
from geocorrect.records import NAN, AnchorView, CameraMotion, DepthMap, Matches, Query

Float = NDArray[np.float64]

ROUNDS = 2
"""Solutions after the first one."""
MIN_ANGLE_RAD = 0.01
"""Rays that meet at a flatter angle give no distance."""
MIN_DISTANCE_M = 0.3
SEARCHES = 3
"""Of the pixel of a measured depth map that shows what a row saw."""


@dataclass(frozen=True, eq=False)
class MovedMatches:
    """Matches with one anchor as of the middle of both exposures, and the anchor's depth there."""

    matches: Matches
    depth_m: Float
    log_sigma: Float
    """(N,) each; nan where unknown."""


def shutter_evidence(query: Query, anchors: Sequence[AnchorView]) -> dict[str, float]:
    """As in `Evidence.rolling_shutter`, before anything is corrected; empty where no shutter is known to roll."""
    rolling = [view.anchor for view in anchors if view.anchor.camera.is_rolling]
    if not rolling and not query.camera.is_rolling:
        return {}
    n_anchors, motion = sum(anchor.motion is not None for anchor in rolling), query.motion
    return {
        "readout_s": query.camera.readout_s,
        "speed_m_s": NAN if motion is None else motion.speed_m_s,
        "speed_sigma_m_s": NAN if motion is None else motion.velocity_sigma_m_s,
        "n_anchors": float(n_anchors),
        "n_unknown": float(len(rolling) - n_anchors),
        "moved_m": NAN,
    }


def rolling_motion(camera: Camera, motion: CameraMotion | None) -> CameraMotion | None:
    """The motion that has to be corrected for: None where shutter or motion are unknown, or the shutter is global."""
    return motion if camera.is_rolling else None


def exposed_s(camera: Camera, px: Float) -> Float:
    """(N,) how long after the middle of the exposure a rolling shutter exposed the rows of pixels (N, 2)."""
    return np.asarray((px[:, 1] / max(camera.height - 1, 1) - 0.5) * camera.readout_s)


def is_correctable(query: Query, anchors: Sequence[AnchorView]) -> bool:
    """Whether photo or an anchor have a rolling shutter and a known motion."""
    cameras = [(query.camera, query.motion), *((view.anchor.camera, view.anchor.motion) for view in anchors)]
    return any(rolling_motion(camera, motion) is not None for camera, motion in cameras)


def to_mid_exposure(
    query: Query,
    anchors: Sequence[AnchorView],
    matches: Sequence[Matches],
    maps: Sequence[DepthMap],
    world_from_query: Pose,
    options: LiftOptions,
) -> list[MovedMatches]:
    """The matches with every anchor, moved where shutter and motion are known.

    Args:
        query: the photo.
        anchors: the anchors.
        matches: with each, as found.
        maps: the depth of each.
        world_from_query: the photo's pose, roughly.
        options: of the depth.
    """
    moved, inverse_m = [], []
    for view, found, depth in zip(anchors, matches, maps, strict=True):
        anchor, pose = view.anchor, view.anchor.world_from_cam
        rays = unit_rays(anchor.camera, found.anchor_px)
        depth_m, log_sigma = lift(found.anchor_px, depth, anchor.camera, options)
        query_rays = world_from_query.rotation.apply(unit_rays(query.camera, found.query_px))
        baseline_m = pose.translation_m - world_from_query.translation_m
        here, there = meeting_distances(query_rays, pose.rotation.apply(rays), baseline_m)
        known = np.isfinite(depth_m)
        there = np.where(known, depth_m / rays[:, 2], there)
        points_m = pose.apply(rays * np.where(known, there, 1.0)[:, None])
        here = np.where(known, np.linalg.norm(points_m - world_from_query.translation_m, axis=1), here)
        inverse_m.append(1.0 / here)
        side = MovedMatches(found, depth_m, log_sigma)
        motion = rolling_motion(anchor.camera, anchor.motion)
        # Points of a pair's own depth lie off the rays: they cannot be moved along them.
        moved.append(
            side if motion is None or depth.points_m is not None else _move(side, motion, view, depth, there, options)
        )
    query_motion = rolling_motion(query.camera, query.motion)
    if query_motion is None:
        return moved
    # One pixel of the photo is one point, whatever the anchors: they move it alike.
    all_px = np.concatenate([found.query_px for found in matches]).astype(float)
    first, track = track_index(all_px)
    inverse = np.nan_to_num(_median_by(track, np.concatenate(inverse_m), len(first)))
    px = _from_middle(query.camera, all_px[first], query_motion, world_from_query.rotation, inverse)[0][track]
    ends = np.cumsum([len(found) for found in matches])[:-1]
    return [
        replace(one, matches=replace(one.matches, query_px=own.astype(np.float32)))
        for one, own in zip(moved, np.split(px, ends), strict=True)
    ]


def _move(
    side: MovedMatches, motion: CameraMotion, view: AnchorView, depth: DepthMap, distance_m: Float, options: LiftOptions
) -> MovedMatches:
    """The anchor's side of the matches; distance_m (N,) of the points, nan where unknown."""
    camera, rotation = view.anchor.camera, view.anchor.world_from_cam.rotation
    px, depth_m, log_sigma = side.matches.anchor_px.astype(float), side.depth_m, side.log_sigma
    late_m = rotation.inv().apply(exposed_s(camera, px)[:, None] * motion.velocity_m_s)
    seen_px, seen = _from_middle(camera, px, motion, rotation, 1.0 / distance_m)
    if depth.is_oracle and depth.samples_px is not None:
        # Laid into the picture by its pose, thus as of the middle: the depth is where the moved pixel is.
        for _ in range(SEARCHES):
            depth_m, log_sigma = lift(seen_px, depth, camera, options)
            rays = unit_rays(camera, seen_px)
            again_m = np.linalg.norm(rays / rays[:, 2:] * depth_m[:, None] - late_m, axis=1)
            distance_m = np.where(np.isfinite(again_m), again_m, distance_m)
            seen_px, seen = _from_middle(camera, px, motion, rotation, 1.0 / distance_m)
        depth_m, log_sigma = lift(seen_px, depth, camera, options)
    else:
        depth_m = np.where(np.isfinite(depth_m), seen[:, 2] * distance_m, np.nan)
    return MovedMatches(replace(side.matches, anchor_px=seen_px.astype(np.float32)), depth_m, log_sigma)


def _from_middle(
    camera: Camera, px: Float, motion: CameraMotion, rotation: Rotation, inverse_m: Float
) -> tuple[Float, Float]:
    """Pixels (N, 2) as seen from the middle of the exposure, and the points (N, 3) there, in units of their distance.

    Args:
        camera: of the picture.
        px: (N, 2), as found.
        motion: of the camera.
        rotation: world_from_cam at the middle.
        inverse_m: (N,) one over the distance; nan counts as infinitely far.
    """
    late_s = exposed_s(camera, px)[:, None]
    turned = Rotation.from_rotvec(late_s * motion.turn_rad_s).apply(rotation.apply(unit_rays(camera, px)))
    seen = rotation.inv().apply(turned + late_s * motion.velocity_m_s * np.nan_to_num(inverse_m)[:, None])
    moved_px, visible = camera.project(seen)
    return np.where(visible[:, None], moved_px, px), seen


def meeting_distances(first: Float, second: Float, baseline_m: Float) -> tuple[Float, Float]:
    """Distances (N,) along unit rays (N, 3) each at which they pass each other; nan where they do not meet ahead.

    baseline_m: (3,) from the origin of the first rays to that of the second.
    """
    across = np.cross(first, second)
    squared = (across**2).sum(axis=1)
    with np.errstate(all="ignore"):
        here, there = (np.einsum("ni,ni->n", np.cross(baseline_m, rays), across) / squared for rays in (second, first))
    ahead = (squared > MIN_ANGLE_RAD**2) & (here > MIN_DISTANCE_M) & (there > MIN_DISTANCE_M)
    return np.where(ahead, here, np.nan), np.where(ahead, there, np.nan)


def _median_by(group: NDArray[np.intp], values: Float, count: int) -> Float:
    """(count,) lower median of the finite values of each group, nan where there is none."""
    order = np.lexsort((values, group))  # nan comes last
    starts = np.searchsorted(group[order], np.arange(count))
    n_known = np.bincount(group[np.isfinite(values)], minlength=count)
    middle = values[order][np.minimum(starts + np.maximum(n_known - 1, 0) // 2, len(values) - 1)]
    return np.where(n_known > 0, middle, np.nan)
