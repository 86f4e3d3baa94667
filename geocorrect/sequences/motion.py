"""The relative motion along a sequence: what is known of the way from each photo to the next.

Best first: poses of one reconstruction of the provider (`sfm_cluster`), poses composed of its computed position and
rotation, the difference of two reported positions. A reconstruction is metric only up to a scale that drifts; reported
positions are metric but say next to nothing about the rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.frame import angle_difference_deg, rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.records import NAN
from geocorrect.sequences.options import SequenceOptions

Float = NDArray[np.float64]

LONGEST_GAP = 3
"""So many photos without a pose between two of one reconstruction are left out, so that its motion is not lost."""

ALIGNMENT_M = 3.0
"""Error of the reported positions that a provider aligns its reconstruction to: its scale is off by that much over its
extent."""
SOURCE_NAMES = ("sfm_cluster", "computed", "gps")
"""Of each `MotionSource`, as results state them."""


class MotionSource(IntEnum):
    """Where the motion of a step comes from, best first."""

    CLUSTER = 0
    COMPUTED = 1
    GPS = 2


@dataclass(frozen=True, eq=False)
class MotionHints:
    """What a provider says about one photo, in the scene's ENU frame."""

    reported_enu_m: Float
    """(3,) nan where unknown."""
    heading_deg: float = NAN
    """Of the compass, nan when unknown."""
    cluster: tuple[str, Pose] | None = None
    """Id of its reconstruction and pose in its frame, which is nearly ENU and metric up to a few per cent."""
    computed: tuple[str, Pose] | None = None
    """The same from the computed position and rotation."""


@dataclass(frozen=True, eq=False)
class Motion:
    """The motion between N photos in order of capture: N − 1 steps."""

    members: NDArray[np.int64]
    """(N,) index of each photo among the hints."""
    part: NDArray[np.int64]
    """(N,) reconstruction that a photo's `frame_pose` belongs to, −1 for none."""
    frame_pose: tuple[Pose, ...]
    """N poses in the frame of that reconstruction, or a guess from the reported position."""
    group: NDArray[np.int64]
    """(N − 1,) scale group of a step, −1 where it is metric (reported positions)."""
    shift: Float
    """(N − 1, 3) in axes of the step's first camera and units of the group; in metres ENU where metric."""
    turn: Rotation
    """N − 1 rotations: first_from_second camera; the rotation in the world where metric."""
    sigma_m: Float
    """(N − 1, 3) noise of the shift."""
    sigma_rad: Float
    """(N − 1, 3) noise of the rotation."""
    scale_sigma: Float
    """(N − 1,) how far the group's log-scale may be from metric."""
    source: NDArray[np.int64]
    """(N − 1,) MotionSource."""

    @property
    def source_name(self) -> str:
        """Where the motion comes from, best source first, joined by +."""
        return "+".join(SOURCE_NAMES[source] for source in np.unique(self.source))

    def __len__(self) -> int:
        return len(self.members)


def motion_of(hints: Sequence[MotionHints], options: SequenceOptions) -> Motion | None:
    """The motion along photos in order of capture, or None when fewer than two can be placed at all.

    Photos without any position are left out, and so are up to LONGEST_GAP photos without a pose between two photos
    of one reconstruction.
    """
    known = [i for i, h in enumerate(hints) if np.isfinite(h.reported_enu_m[:2]).all() or _best(h) is not None]
    members = _without_gaps(known, hints)
    if len(members) < 2:
        return None
    chosen = [hints[i] for i in members]
    steps = [_step(before, after, options) for before, after in pairwise(chosen)]
    group = _groups(steps)
    part, poses = _frames(group, steps, chosen)
    length = np.linalg.norm([step.shift for step in steps], axis=1)
    extent = np.array([length[group == g].sum() for g in group])
    return Motion(
        members=np.array(members),
        part=part,
        frame_pose=tuple(poses),
        group=group,
        shift=np.array([step.shift for step in steps]),
        turn=Rotation.concatenate([step.turn for step in steps]),
        sigma_m=np.array([step.sigma_m for step in steps]),
        sigma_rad=np.radians([step.sigma_deg for step in steps]),
        scale_sigma=np.hypot(options.scale_sigma, ALIGNMENT_M / np.maximum(extent, 1.0)),
        source=np.array([MotionSource.GPS if step.key is None else step.key[0] for step in steps], np.int64),
    )


def _best(hints: MotionHints) -> tuple[MotionSource, str, Pose] | None:
    if hints.cluster is not None:
        return MotionSource.CLUSTER, *hints.cluster
    if hints.computed is not None:
        return MotionSource.COMPUTED, *hints.computed
    return None


def _common(before: MotionHints, after: MotionHints) -> tuple[MotionSource, str, Pose, Pose] | None:
    """The best reconstruction that both photos belong to, with their poses in it."""
    for source, first, second in (
        (MotionSource.CLUSTER, before.cluster, after.cluster),
        (MotionSource.COMPUTED, before.computed, after.computed),
    ):
        if first is not None and second is not None and first[0] == second[0]:
            return source, first[0], first[1], second[1]
    return None


def _without_gaps(known: Sequence[int], hints: Sequence[MotionHints]) -> list[int]:
    """The photos of the chain, without short runs that have no pose inside one reconstruction."""
    posed = [place for place, i in enumerate(known) if _best(hints[i]) is not None]
    dropped: set[int] = set()
    for first, second in pairwise(posed):
        between = range(first + 1, second)
        if 0 < len(between) <= LONGEST_GAP and _common(hints[known[first]], hints[known[second]]) is not None:
            dropped.update(between)
    return [i for place, i in enumerate(known) if place not in dropped]


class _Step(NamedTuple):
    """One step, with the columns of `Motion`; key: its reconstruction, None for reported positions."""

    key: tuple[MotionSource, str] | None
    shift: Float
    turn: Rotation
    sigma_m: Float
    sigma_deg: Float


def _step(before: MotionHints, after: MotionHints, o: SequenceOptions) -> _Step:
    """The step between two photos."""
    common = _common(before, after)
    if common is None:
        return _reported_step(before, after, o)
    source, name, first, second = common
    step = first.inverse() @ second
    share, floor_m, turn_deg = (
        (o.cluster_share, o.cluster_floor_m, o.cluster_rotation_deg)
        if source is MotionSource.CLUSTER
        else (o.computed_share, o.computed_floor_m, o.computed_rotation_deg)
    )
    sigma_m = float(np.hypot(share * np.linalg.norm(step.translation_m), floor_m)) / np.sqrt(3.0)
    sigmas = np.full(3, sigma_m), np.full(3, turn_deg / np.sqrt(3.0))
    return _Step((source, name), step.translation_m, step.rotation, *sigmas)


def _reported_step(before: MotionHints, after: MotionHints, o: SequenceOptions) -> _Step:
    """A step of which only the reported positions, and perhaps the compass, say something."""
    shift = np.append((after.reported_enu_m - before.reported_enu_m)[:2], 0.0)
    if not np.isfinite(shift).all():
        positions = [h.reported_enu_m if (b := _best(h)) is None else b[2].translation_m for h in (before, after)]
        shift = np.append((positions[1] - positions[0])[:2], 0.0)
    turn_deg = float(angle_difference_deg(after.heading_deg, before.heading_deg))
    sigma_deg = o.compass_deg if np.isfinite(turn_deg) else o.no_compass_deg
    turn = Rotation.from_euler("z", -np.nan_to_num(turn_deg), degrees=True)
    per_axis_m = np.sqrt(3.0 / 2.0) * (o.gps_floor_m + o.gps_share * float(np.linalg.norm(shift))) / np.sqrt(3.0)
    sigma_m = np.array([per_axis_m, per_axis_m, o.gps_height_m])
    return _Step(None, shift, turn, sigma_m, np.array([o.gps_tilt_deg, o.gps_tilt_deg, sigma_deg]))


def _groups(steps: Sequence[_Step]) -> NDArray[np.int64]:
    """Scale group of every step; a new one begins wherever the reconstruction changes or is interrupted."""
    groups: list[int] = []
    latest = -1
    for i, step in enumerate(steps):
        latest += step.key is not None and (i == 0 or steps[i - 1].key != step.key)
        groups.append(-1 if step.key is None else latest)
    return np.array(groups, dtype=np.int64)


def _frames(
    group: NDArray[np.int64], steps: Sequence[_Step], hints: Sequence[MotionHints]
) -> tuple[NDArray[np.int64], list[Pose]]:
    """(part, frame pose) of every photo: its pose in the reconstruction of an adjacent step, else a guess.

    A photo between two reconstructions takes the one before.
    """
    part = np.full(len(hints), -1, dtype=np.int64)
    poses: list[Pose] = []
    for i, h in enumerate(hints):
        found = _best(h)
        for k in (i - 1, i):
            if 0 <= k < len(steps) and (key := steps[k].key) is not None:
                part[i] = group[k]
                own = h.cluster if key[0] is MotionSource.CLUSTER else h.computed
                found = None if own is None else (key[0], *own)
                break
        if found is not None:
            poses.append(found[2])
        else:
            rotation = rotation_from_heading(float(np.nan_to_num(h.heading_deg)))
            poses.append(Pose(rotation, np.nan_to_num(h.reported_enu_m)))
    return part, poses
