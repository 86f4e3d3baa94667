"""The relative motion along a sequence: what is known of the way from each photo to the next.

Best first: poses of one reconstruction of the provider (`sfm_cluster`), poses put together from its computed position
and rotation, the difference of two reported positions. A reconstruction is metric only up to a scale that drifts; the
reported positions are metric but say next to nothing about the turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.frame import angle_difference_deg, rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.records import NAN
from geocorrect.sequences.options import SequenceOptions

Float = NDArray[np.float64]

LONGEST_GAP = 3
"""Photos without a pose between two of one reconstruction that are stepped over, so that its motion is not lost."""

ALIGNMENT_M = 3.0
"""Error of the reported positions that a provider lays its reconstruction over: its scale is off by that much over
its extent."""
ANY_SCALE_SIGMA = 10.0


class MotionSource(IntEnum):
    """Where the motion of a step comes from, best first."""

    CLUSTER = 0
    COMPUTED = 1
    GPS = 2


@dataclass(frozen=True, eq=False)
class MotionHints:
    """What a provider says about one photo, in the scene's ENU frame.

    cluster: id of its reconstruction and its pose in there (about ENU: turned by little, metric up to a few per cent);
    computed: the same from the computed position and rotation. reported_enu_m: (3,), nan where unknown; heading_deg:
    compass, nan when unknown.
    """

    reported_enu_m: Float
    heading_deg: float = NAN
    cluster: tuple[str, Pose] | None = None
    computed: tuple[str, Pose] | None = None


@dataclass(frozen=True, eq=False)
class Motion:
    """The motion between N photos in order: N − 1 steps.

    members: index of each photo among the hints. part: (N,) reconstruction that a photo's `frame_pose` belongs to; −1
    for a photo without one. frame_pose: pose in that reconstruction's frame, or a guess from the reported position.
    group: (N − 1,) scale group of a step, −1 when it is metric (reported positions). shift: (N − 1, 3) the way, in axes
    of the first camera and units of the group, or in metres ENU when metric; turn: likewise cam_from_next, or the turn
    in the world. sigma_m, sigma_rad: (N − 1, 3). scale_sigma: (N − 1,) how far the group's log-scale may be
    from metric. source: (N − 1,) MotionSource.
    """

    members: NDArray[np.int64]
    part: NDArray[np.int64]
    frame_pose: tuple[Pose, ...]
    group: NDArray[np.int64]
    shift: Float
    turn: Rotation
    sigma_m: Float
    sigma_rad: Float
    scale_sigma: Float
    source: NDArray[np.int64]

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
    builder = _Builder(options)
    for before, after in pairwise(members):
        builder.add(hints[before], hints[after])
    return builder.motion(np.array(members), [hints[i] for i in members])


def motion_of_reconstruction(sfm_from_cam: Sequence[Pose], options: SequenceOptions) -> Motion:
    """The motion along the poses of one reconstruction, in any frame."""
    unknown = np.full(3, NAN)
    motion = motion_of([MotionHints(unknown, cluster=("", pose)) for pose in sfm_from_cam], options)
    if motion is None:
        raise ValueError("a sequence needs at least two poses")
    return replace(motion, scale_sigma=np.full(len(motion) - 1, ANY_SCALE_SIGMA))


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
    """The photos of the chain: short runs without a pose inside one reconstruction are stepped over."""
    posed = [place for place, i in enumerate(known) if _best(hints[i]) is not None]
    dropped: set[int] = set()
    for first, second in pairwise(posed):
        between = range(first + 1, second)
        if 0 < len(between) <= LONGEST_GAP and _common(hints[known[first]], hints[known[second]]) is not None:
            dropped.update(between)
    return [i for place, i in enumerate(known) if place not in dropped]


class _Builder:
    """Collects steps."""

    def __init__(self, options: SequenceOptions) -> None:
        self.options = options
        self.keys: list[tuple[MotionSource, str] | None] = []
        self.shifts: list[Float] = []
        self.turns: list[Rotation] = []
        self.sigmas_m: list[Float] = []
        self.sigmas_deg: list[Float] = []

    def add(self, before: MotionHints, after: MotionHints) -> None:
        """The step between two photos."""
        common = _common(before, after)
        if common is None:
            self._reported(before, after)
            return
        source, name, first, second = common
        self.keys.append((source, name))
        step = first.inverse() @ second
        o = self.options
        share, floor_m, turn_deg = (
            (o.cluster_share, o.cluster_floor_m, o.cluster_rotation_deg)
            if source is MotionSource.CLUSTER
            else (o.computed_share, o.computed_floor_m, o.computed_rotation_deg)
        )
        self._append(step.translation_m, step.rotation, np.array([share, floor_m, 0.0]))
        self.sigmas_deg.append(np.full(3, turn_deg / np.sqrt(3.0)))

    def _reported(self, before: MotionHints, after: MotionHints) -> None:
        """A step of which only the reported positions, and perhaps the compass, say something."""
        o = self.options
        shift = np.append((after.reported_enu_m - before.reported_enu_m)[:2], 0.0)
        if not np.isfinite(shift).all():
            positions = [h.reported_enu_m if (b := _best(h)) is None else b[2].translation_m for h in (before, after)]
            shift = np.append((positions[1] - positions[0])[:2], 0.0)
        turn_deg = float(angle_difference_deg(after.heading_deg, before.heading_deg))
        sigma_deg = o.compass_deg if np.isfinite(turn_deg) else o.no_compass_deg
        turn = Rotation.from_euler("z", -np.nan_to_num(turn_deg), degrees=True)
        floor_m = np.sqrt(3.0 / 2.0) * (o.gps_floor_m + o.gps_share * float(np.linalg.norm(shift)))
        self.keys.append(None)
        self._append(shift, turn, np.array([0.0, floor_m, o.gps_height_m]))
        self.sigmas_deg.append(np.array([o.gps_tilt_deg, o.gps_tilt_deg, sigma_deg]))

    def _append(self, shift: Float, turn: Rotation, noise: Float) -> None:
        """noise: share of the length, floor in metres, height sigma in metres (0: as the floor)."""
        length = float(np.linalg.norm(shift))
        sigma = float(np.hypot(noise[0] * length, noise[1])) / np.sqrt(3.0)
        self.shifts.append(np.asarray(shift, float))
        self.turns.append(turn)
        self.sigmas_m.append(np.array([sigma, sigma, noise[2] or sigma]))

    def motion(self, members: NDArray[np.int64], hints: Sequence[MotionHints]) -> Motion:
        """The finished record."""
        group = self._groups()
        part, poses = _frames(group, self.keys, hints)
        source = [MotionSource.GPS if key is None else key[0] for key in self.keys]
        return Motion(
            members, part, tuple(poses), group, np.array(self.shifts), Rotation.concatenate(self.turns),
            np.array(self.sigmas_m), np.radians(self.sigmas_deg), self._scale_sigmas(group),
            np.array([int(s) for s in source]),
        )  # fmt: skip

    def _scale_sigmas(self, group: NDArray[np.int64]) -> Float:
        length = np.linalg.norm(self.shifts, axis=1)
        extent = np.array([length[group == g].sum() for g in group])
        sigma: Float = np.hypot(self.options.scale_sigma, ALIGNMENT_M / np.maximum(extent, 1.0))
        return sigma

    def _groups(self) -> NDArray[np.int64]:
        """Scale group of every step; a new one begins wherever the reconstruction changes or is interrupted."""
        groups: list[int] = []
        latest = -1
        for place, key in enumerate(self.keys):
            if key is None:
                groups.append(-1)
                continue
            if place == 0 or self.keys[place - 1] != key:
                latest += 1
            groups.append(latest)
        return np.array(groups, dtype=np.int64)


def _frames(
    group: NDArray[np.int64], keys: Sequence[tuple[MotionSource, str] | None], hints: Sequence[MotionHints]
) -> tuple[NDArray[np.int64], list[Pose]]:
    """(part, frame pose) of every photo: its pose in the reconstruction of a step beside it, else a guess.

    A photo between two reconstructions takes the one before.
    """
    part = np.full(len(hints), -1, dtype=np.int64)
    poses: list[Pose] = []
    for i, h in enumerate(hints):
        beside = [k for k in (i - 1, i) if 0 <= k < len(group) and group[k] >= 0]
        if beside:
            key = keys[beside[0]]
            assert key is not None
            part[i] = group[beside[0]]
            chosen = h.cluster if key[0] is MotionSource.CLUSTER else h.computed
            assert chosen is not None
            poses.append(chosen[1])
        else:
            poses.append(_guess(h))
    return part, poses


def _guess(hints: MotionHints) -> Pose:
    """A pose from whatever is said about a photo on its own."""
    best = _best(hints)
    if best is not None:
        return best[2]
    return Pose(rotation_from_heading(float(np.nan_to_num(hints.heading_deg))), np.nan_to_num(hints.reported_enu_m))


def cluster_hints(clusters: Sequence[Mapping[str, Pose]]) -> dict[str, tuple[str, Pose]]:
    """(cluster name, pose) by photo id; where clusters overlap the larger one is taken."""
    chosen: dict[str, tuple[str, Pose]] = {}
    ranked = sorted(enumerate(clusters), key=lambda item: (len(item[1]), -item[0]))
    for name, poses in ranked:
        chosen.update({image_id: (str(name), pose) for image_id, pose in poses.items()})
    return chosen
