"""Where the photos of a sequence stand before the adjustment: each reconstruction laid over the results within it."""

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
MOST_PAIRS = 400
"""Hypotheses tried; at a third of wrong results one in two is of two right ones."""


def start_poses(motion: Motion, results: Sequence[Pose | None]) -> tuple[list[Pose], Float]:
    """Start pose of every photo and (N − 1,) start scale of every step (1 for metric ones).

    A part with results is laid over them; the others are hung on their neighbours by the steps between.
    """
    poses: list[Pose | None] = [None] * len(motion)
    scale = np.ones(len(motion) - 1)
    for first, end in _parts(motion):
        laid = _laid_over(motion.frame_pose[first:end], results[first:end])
        if laid is None:
            continue
        poses[first:end] = [laid.apply_pose(pose) for pose in motion.frame_pose[first:end]]
        scale[first : end - 1] = np.where(motion.group[first : end - 1] >= 0, laid.scale, 1.0)
    _hang(motion, poses)
    return [pose for pose in poses if pose is not None], scale


def robust_similarity(frame_from_cam: Sequence[Pose], results: Sequence[Pose | None]) -> Similarity | None:
    """world_from_frame that most results agree with; hypotheses from pairs of results, turned by their own rotations.

    Rotations make it well conditioned on straight streets, where positions alone leave the roll free.
    """
    known = [(frame, world) for frame, world in zip(frame_from_cam, results, strict=True) if world is not None]
    if len(known) < 2:
        return None
    local, world = (np.array([pair[side].translation_m for pair in known]) for side in (0, 1))
    turns = Rotation.concatenate([world_pose.rotation * frame.rotation.inv() for frame, world_pose in known])
    best: Similarity | None = None
    best_cost = np.inf
    for a, b in _pairs(len(known)):
        length, wanted = np.linalg.norm(local[b] - local[a]), np.linalg.norm(world[b] - world[a])
        if length < 1e-6 or wanted < 1e-6:
            continue
        scale, rotation = float(wanted / length), turns[[a, b]].mean()
        middle = (world[a] + world[b]) / 2
        candidate = Similarity(scale, rotation, middle - scale * rotation.apply((local[a] + local[b]) / 2))
        cost = _cost(candidate, local, world, turns, middle)
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
    """Pairs of results; of many an evenly spread choice, always the same, distant ones first (their scale is good)."""
    pairs = sorted(((a, b) for a in range(count) for b in range(a + 1, count)), key=lambda p: p[0] - p[1])
    return pairs[:: max(1, -(-len(pairs) // MOST_PAIRS))]


def _parts(motion: Motion) -> list[tuple[int, int]]:
    """(first, end) of the runs of photos that share a reconstruction; a photo without one is a run of its own."""
    part = motion.part
    cuts = [0, *(i for i in range(1, len(part)) if part[i] != part[i - 1] or part[i] < 0), len(part)]
    return list(pairwise(cuts))


def _laid_over(frame_from_cam: Sequence[Pose], results: Sequence[Pose | None]) -> Similarity | None:
    """world_from_frame by the results of a part: two and more fix it, one shifts and turns it."""
    similarity = robust_similarity(frame_from_cam, results)
    if similarity is not None:
        return similarity
    for frame, result in zip(frame_from_cam, results, strict=True):
        if result is not None:
            rotation = result.rotation * frame.rotation.inv()
            return Similarity(1.0, rotation, result.translation_m - rotation.as_matrix() @ frame.translation_m)
    return None


def _hang(motion: Motion, poses: list[Pose | None]) -> None:
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
