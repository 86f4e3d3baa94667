"""Where the photos of a sequence start before the adjustment: each reconstruction aligned to the results within it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.sequences.motion import Motion

Float = NDArray[np.float64]

TOLERANCE_M = 2.0
TOLERANCE_SHARE = 0.02
"""A result supports a hypothesis within this distance, plus this share of the distance from its middle (drift)."""
TOLERANCE_DEG = 5.0
MAX_PAIRS = 400
"""Hypotheses tried; with a third of the results wrong, nearly every second one is of two right ones."""


def start_poses(motion: Motion, results: Sequence[Pose | None]) -> tuple[list[Pose], Float]:
    """Start pose of every photo and (N − 1,) start scale of every step (1 for metric ones).

    A part with results is aligned to them; the others follow from their neighbours by the steps between.
    """
    poses: list[Pose | None] = [None] * len(motion)
    scale = np.ones(len(motion) - 1)
    for first, end in _parts(motion):
        similarity = _alignment(motion.frame_pose[first:end], results[first:end])
        if similarity is None:
            continue
        poses[first:end] = [similarity.apply_pose(pose) for pose in motion.frame_pose[first:end]]
        scale[first : end - 1] = np.where(motion.group[first : end - 1] >= 0, similarity.scale, 1.0)
    _place_free(motion, poses)
    return [pose for pose in poses if pose is not None], scale


def _alignment(frame_from_cam: Sequence[Pose], results: Sequence[Pose | None]) -> Similarity | None:
    """world_from_frame that most results of a part agree with; a lone one shifts and rotates it.

    Hypotheses come from pairs of results. Their own rotations make them well conditioned on straight streets, where
    positions alone leave the roll free.
    """
    known = [(frame, world) for frame, world in zip(frame_from_cam, results, strict=True) if world is not None]
    if not known:
        return None
    local, world = (np.array([pair[side].translation_m for pair in known]) for side in (0, 1))
    turns = [world_pose.rotation * frame.rotation.inv() for frame, world_pose in known]
    stacked = Rotation.concatenate(turns)
    best, best_cost = Similarity(1.0, turns[0], world[0] - turns[0].as_matrix() @ local[0]), np.inf
    for a, b in _pairs(len(known)):
        length, wanted = np.linalg.norm(local[b] - local[a]), np.linalg.norm(world[b] - world[a])
        if length < 1e-6 or wanted < 1e-6:
            continue
        scale, rotation = float(wanted / length), stacked[[a, b]].mean()
        middle = (world[a] + world[b]) / 2
        candidate = Similarity(scale, rotation, middle - scale * rotation.apply((local[a] + local[b]) / 2))
        cost = _cost(candidate, local, world, stacked, middle)
        if cost < best_cost:
            best, best_cost = candidate, cost
    return best


def _cost(candidate: Similarity, local: Float, world: Float, turns: Rotation, middle: Float) -> float:
    tolerance = TOLERANCE_M + TOLERANCE_SHARE * np.linalg.norm(world - middle, axis=1)
    off = np.linalg.norm(candidate.apply(local) - world, axis=1) / tolerance
    turned = np.degrees((turns * candidate.rotation.inv()).magnitude()) / TOLERANCE_DEG
    ratio = off**2 + turned**2
    return float((ratio / (1 + ratio)).sum())


def _pairs(count: int) -> list[tuple[int, int]]:
    """Pairs of results, distant ones first (their scale is good); of many an evenly spread choice, always the same."""
    pairs = sorted(((a, b) for a in range(count) for b in range(a + 1, count)), key=lambda p: p[0] - p[1])
    return pairs[:: max(1, -(-len(pairs) // MAX_PAIRS))]


def _parts(motion: Motion) -> list[tuple[int, int]]:
    """(first, end) of the runs of photos that share a reconstruction; a photo without one is a run of its own."""
    part = motion.part
    cuts = [0, *(i for i in range(1, len(part)) if part[i] != part[i - 1] or part[i] < 0), len(part)]
    return list(pairwise(cuts))


def _place_free(motion: Motion, poses: list[Pose | None]) -> None:
    """Give every photo without a start one from its neighbour, outward from those that have one.

    Within a reconstruction the provider's own frame says how (it is about ENU); between two, the reported way.
    """
    n = len(poses)
    order = [(i, i + 1, i) for i in range(n - 1)] + [(i + 1, i, i) for i in range(n - 2, -1, -1)]
    for placed, free, step in order:
        at = poses[placed]
        if poses[free] is not None or at is None:
            continue
        if motion.group[step] >= 0:
            measured = Pose(motion.turn[step], motion.shift[step])
            poses[free] = at @ (measured if free > placed else measured.inverse())
        else:
            way = motion.shift[step] if free > placed else -motion.shift[step]
            poses[free] = Pose(motion.frame_pose[free].rotation, at.translation_m + way)
