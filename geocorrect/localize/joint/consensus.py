"""Do the anchors agree? Each one's own pose of the photo, with its own error, against those of the others.

The joint solve takes the anchors' poses for as good as they are stated. Where one was recorded wrongly, the photo's
pose from that anchor alone contradicts those from the others by more than both errors explain. A majority that agrees
with itself outvotes it; where there is none, nobody can tell who is wrong, and the contradiction becomes part of the
stated error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose, rotation_angle_deg
from geocorrect.localize.gate import SUPPORTING_INLIERS, SUPPORTING_SHARE
from geocorrect.localize.gate_model import COVARIANCE_INFLATION
from geocorrect.localize.joint.fields import refine
from geocorrect.localize.joint.initialise import start_state
from geocorrect.localize.joint.problem import GLOBAL, LENS, PER_ANCHOR, Int, Problem, build_problem
from geocorrect.localize.joint.solve import minimise, objective
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.records import NAN

Float = NDArray[np.float64]

GOOD_SHARE = 0.7
"""A pose that so many of the matches support is not searched for from elsewhere."""
EXPLAINED_SIGMAS2 = 12.6
"""Squared distance of two poses that their own errors explain: 95 % of χ² with six degrees of freedom."""
AGREE_SIGMAS2 = 22.5
"""Squared distance up to which two poses agree: 99.9 % of χ² with six degrees of freedom."""
REFUTED_SIGMAS2 = 90.0
"""Distance from every member of the majority at which an anchor is set aside; between the two, the anchors' noise is
larger than stated, and who is wrong cannot be told."""
MAX_COMPARED = 8
"""Anchors whose own poses are compared, those with most matches first: subsets of them are tried one by one."""


@dataclass(frozen=True, eq=False)
class Lens:
    """The photo's camera as all anchors together found it."""

    camera: Camera
    information: Float
    """(4,) inverse variances of what is left unknown of log focal length, principal point and bend."""


@dataclass(frozen=True, eq=False)
class Consensus:
    """What a comparison of the anchors' own poses says."""

    own: tuple[Pose | None, ...]
    """By anchor, with covariance; None where it gives no pose of its own."""
    set_aside: NDArray[np.bool_]
    """(K,) anchors that a majority refutes."""
    sigmas: float
    """Largest distance between two own poses of anchors in use, per degree of freedom; nan with fewer than two."""
    unexplained: Float
    """(6, 6) to be added to the pose's covariance: the spread of the own poses about the joint one as far as their own
    errors do not explain it."""

    @property
    def is_explained(self) -> bool:
        """Whether the anchors in use agree within their errors."""
        return not self.unexplained.any()


def own_poses(
    observations: Sequence[Observations],
    rows: Sequence[Int],
    starts: Sequence[Sequence[Pose]],
    lens: Lens,
    prior: Float,
    origin_m: Float,
    sigma_px: float,
    options: LocalizeOptions,
) -> tuple[Pose | None, ...]:
    """The photo's pose from each anchor alone, in the shifted world, with covariance; of one anchor only, none.

    Args:
        observations: of every anchor.
        rows: of each anchor's observations.
        starts: hypotheses of each anchor.
        lens: of the photo, found with all anchors.
        prior: (D,) inverse prior variances of all anchors together.
        origin_m: (3,) origin of the shifted world.
        sigma_px: expected noise.
        options: of the method.
    """
    measured = [
        np.isfinite(o.depth_m[mine]).sum() >= options.pnp.min_points for o, mine in zip(observations, rows, strict=True)
    ]
    if sum(measured) < 2:
        return tuple(None for _ in observations)
    together = build_problem(observations, rows, lens.camera, origin_m)
    found: list[Pose | None] = []
    for n, o in enumerate(observations):
        if not measured[n]:
            found.append(None)
            continue
        own_prior = np.concatenate([prior[:GLOBAL], prior[GLOBAL + PER_ANCHOR * n : GLOBAL + PER_ANCHOR * (n + 1)]])
        own_prior[LENS] = lens.information
        found.append(_own_pose(together.of_anchor(n), o, starts[n], lens.camera, own_prior, sigma_px, options))
    return tuple(found)


def _own_pose(
    problem: Problem,
    o: Observations,
    starts: Sequence[Pose],
    camera: Camera,
    prior: Float,
    sigma_px: float,
    options: LocalizeOptions,
) -> Pose | None:
    ends = []
    for start in starts:
        solved = minimise(problem, start_state(problem, start, sigma_px, options.joint), prior, sigma_px, options.joint)
        ends.append((objective(problem, solved.state, solved.at, prior, sigma_px, options.joint), solved))
        if solved.inliers.sum() > GOOD_SHARE * len(problem.track):
            break
    _, best = min(ends, key=lambda end: end[0])
    if best.inliers.sum() < max(SUPPORTING_INLIERS, SUPPORTING_SHARE * len(problem.track)):
        return None  # what supports nothing in the gate has no pose of its own here
    refined = refine(problem, best, [o], camera, prior, options)
    if refined is None:
        return None
    return refined.state.world_from_query.with_covariance(COVARIANCE_INFLATION * refined.covariance)


def starts_of(pose: Pose, single: Pose | None) -> list[Pose]:
    """Where an anchor's own solve starts: the joint pose, and the anchor's own hypothesis where that is another one."""
    if single is None:
        return [pose]
    near_m = float(np.linalg.norm(single.translation_m - pose.translation_m))
    same = near_m < 0.1 and rotation_angle_deg(single.rotation, pose.rotation) < 1.0
    return [pose] if same else [pose, single]


def compare(own: Sequence[Pose | None], joint: Pose, n_matches: Sequence[int]) -> Consensus:
    """Who contradicts whom, who is set aside, and what nobody can explain.

    Args:
        own: poses with covariance.
        joint: from all anchors together.
        n_matches: of each anchor; only the MAX_COMPARED with most are compared.
    """
    aside = np.zeros(len(own), bool)
    able = [n for n in np.argsort([-count for count in n_matches], kind="stable") if own[n] is not None][:MAX_COMPARED]
    if len(able) < 2:
        return Consensus(tuple(own), aside, NAN, np.zeros((6, 6)))
    poses = [pose for n in able if (pose := own[n]) is not None]
    distance = np.array([[_distance2(a, b) for b in poses] for a in poses])
    kept = _majority(distance)
    outside = [i for i in range(len(poses)) if i not in kept]
    if kept and all(distance[i, j] > REFUTED_SIGMAS2 for i in outside for j in kept):
        aside[[able[i] for i in outside]] = True
        distance = distance[np.ix_(kept, kept)]
    worst = float(distance.max())
    share = float(np.clip((worst - EXPLAINED_SIGMAS2) / (AGREE_SIGMAS2 - EXPLAINED_SIGMAS2), 0.0, 1.0))
    used = [pose for n, pose in zip(able, poses, strict=True) if not aside[n]]
    shifts, weight = np.array([pose.minus(joint) for pose in used]), np.array([_precision(pose) for pose in used])
    weight /= weight.sum()  # a vague anchor hardly moves the joint pose, wherever it would have it
    if aside.any():
        shifts -= weight @ shifts  # the joint pose will be another one without those
    return Consensus(tuple(own), aside, float(np.sqrt(worst / 6)), share * (shifts.T * weight) @ shifts)


def _distance2(first: Pose, second: Pose) -> float:
    assert first.covariance is not None
    assert second.covariance is not None
    shift = first.minus(second)
    return float(shift @ np.linalg.solve(first.covariance + second.covariance, shift))


def _precision(pose: Pose) -> float:
    """Inverse variance of a pose's position."""
    assert pose.covariance is not None
    return 1.0 / float(np.trace(pose.covariance[:3, :3]))


def _majority(distance: Float) -> list[int]:
    """The largest set of poses that agree pairwise, if it is more than half, at least two, and the only one."""
    count = len(distance)
    for size in range(count, max(count // 2, 1), -1):
        sets = [
            list(chosen)
            for chosen in combinations(range(count), size)
            if (distance[np.ix_(chosen, chosen)] <= AGREE_SIGMAS2).all()
        ]
        if sets:
            return sets[0] if len(sets) == 1 else []
    return []
