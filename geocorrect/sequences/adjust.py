"""A whole sequence as one object: the motion within it, single-image results against the world, one robust pose graph.

The motion (the provider's reconstruction) is good from image to image and drifts slowly in scale; the single-image
results are absolute but some are wrong. The graph carries one pose per image and one log-scale per step that walks
randomly (METHOD §3.6). Results enter under Geman–McClure, first with a slack that lets the whole sequence settle, then
on how well each agrees with what all others predict for it. How far the motion is to be believed is estimated from the
sequence itself (variance components, Förstner 1979). Images without a result are placed by their neighbours, with a
covariance that grows with the distance from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.pose import Pose
from geocorrect.sequences.graph import SequenceGraph
from geocorrect.sequences.motion import Motion
from geocorrect.sequences.options import SequenceOptions
from geocorrect.sequences.start import start_poses

Float = NDArray[np.float64]

SLACK: tuple[tuple[float, float], ...] = ((2.0, 3.0), (0.5, 1.0), (0.15, 0.3), (0.0, 0.0))
"""Metres and degrees added to every result's covariance, level by level."""
STEPS_PER_LEVEL = 3
ROUNDS = 3
"""Of noise factors, weights by mutual agreement, and a few steps."""
NEIGHBOURS = 3
"""A wrong result spoils what is predicted for that many results on either side: only the worst of them is taken out at
a time."""
MOST_PASSES = 12
MOST_TEARS = 3
TRUSTED_WEIGHT = 0.1


@dataclass(frozen=True, eq=False)
class Innovation:
    """A result against what all others predict for its image: Mahalanobis distance (6 degrees of freedom), metres and
    degrees apart; predicted_covariance: (6, 6) of that prediction.
    """

    distance: float
    apart_m: float
    apart_deg: float
    predicted_covariance: Float


@dataclass(frozen=True, eq=False)
class SequencePose:
    """One image after the adjustment: pose with covariance (6, 6).

    weight of its own result 0…1, nan where it had none; is_outlier marks a result that contradicts the sequence;
    innovation: None without a result, or where nothing else predicts the image. images_to_result, metres_to_result:
    way to the nearest trusted result.
    """

    world_from_cam: Pose
    weight: float
    is_outlier: bool
    innovation: Innovation | None
    images_to_result: int
    metres_to_result: float


@dataclass(frozen=True, eq=False)
class SequenceSolution:
    """An adjusted sequence. poses: of the motion's members, in order. noise_factors: how much worse (above 1) or better
    the motion is than its options say, in translation and in rotation.
    """

    poses: tuple[SequencePose, ...]
    n_trusted: int
    n_outliers: int
    noise_factors: tuple[float, float]


def adjust_sequence(
    motion: Motion, results: Sequence[Pose | None], options: SequenceOptions
) -> SequenceSolution | None:
    """Adjusted poses of all members, or None when too few results agree to place the sequence.

    results: world_from_cam with covariance of each member from single images, None where rejected.
    """
    if len(motion) != len(results):
        raise ValueError(f"{len(motion)} members but {len(results)} results")
    known = [i for i, r in enumerate(results) if r is not None]
    if len(known) < options.min_results:
        return None
    start, scale = start_poses(motion, results)
    graph = SequenceGraph(motion, results, start, scale, options)
    for slack_m, slack_deg in SLACK:
        for _ in range(STEPS_PER_LEVEL):
            graph.weigh_by_residual(slack_m, slack_deg)
            graph.step()
    for _ in range(ROUNDS):
        graph.guess_noise()
        graph.weigh_by_innovation()
        graph.step()
        graph.step()
    return _solution(graph, known, options)


def _judge(graph: SequenceGraph, known: Sequence[int], options: SequenceOptions) -> dict[int, Innovation]:
    """Innovations, after results that contradict the others were taken out and those that do not were let in again.

    The noise is estimated between the passes, from what is left: a wrong result would hide behind noise of its making.
    """
    tears = 0
    for _ in range(MOST_PASSES):
        found = _innovations(graph, known)
        wrong = {i for i, innovation in found.items() if _contradicts(innovation, options)}
        inside = [i for i in found if graph.weight[i] > 0.0]
        out = {i for i in wrong if graph.weight[i] > 0.0 and i == _worst_around(i, inside, found)}
        back = {i for i in found if graph.weight[i] == 0.0} - wrong
        if not out and not back and tears < MOST_TEARS:
            tears, out = tears + 1, _torn_off(graph, inside, options)
        if not out and not back:
            break
        graph.set_weights({**dict.fromkeys(out, 0.0), **(dict.fromkeys(back, 1.0) if not out else {})})
        graph.step()
        graph.estimate_noise()
        graph.step()
    return _innovations(graph, known)


def _torn_off(graph: SequenceGraph, inside: Sequence[int], options: SequenceOptions) -> set[int]:
    """Results on the smaller side of a tear.

    Wrong ones in a row that agree with each other predict each other well, but the motion that leads to them from the
    others does not fit, by the noise that all other steps show and by how a scale may drift.
    """
    if len(inside) < 2:
        return set()
    total = np.concatenate([[0.0], np.cumsum(graph.misfit())])
    first, end = max(pairwise(inside), key=lambda pair: total[pair[1]] - total[pair[0]])
    misfit = graph.misfit(graph.noise_without(first, end))[first:end].sum()
    if misfit <= options.outlier_distance**2:
        return set()
    before, after = ({i for i in inside if i < end}, {i for i in inside if i >= end})
    return min(before, after, key=len)


def _innovations(graph: SequenceGraph, known: Sequence[int]) -> dict[int, Innovation]:
    return {i: found for i in known if (found := _innovation(graph, i)) is not None}


def _worst_around(i: int, inside: Sequence[int], found: Mapping[int, Innovation]) -> int:
    """The result with the largest distance among i and its neighbours."""
    place = inside.index(i)
    return max(inside[max(0, place - NEIGHBOURS) : place + NEIGHBOURS + 1], key=lambda k: found[k].distance)


def _solution(graph: SequenceGraph, known: Sequence[int], options: SequenceOptions) -> SequenceSolution | None:
    graph.estimate_noise()
    graph.step()
    innovations = _judge(graph, known, options)
    outliers = {i for i in innovations if graph.weight[i] == 0.0}
    trusted = np.array([i for i in innovations if graph.weight[i] >= TRUSTED_WEIGHT])
    if len(trusted) < options.min_results or len(outliers) > options.max_outlier_share * len(known):
        return None
    covariances = graph.covariances()
    way = np.concatenate([[0.0], np.cumsum([np.linalg.norm(b - a) for a, b in graph.steps_m()])])
    poses = [
        SequencePose(
            graph.pose(i).with_covariance(covariances[i]),
            float(graph.weight[i]),
            i in outliers,
            innovations.get(i),
            int(np.abs(trusted - i).min()),
            float(np.abs(way[trusted] - way[i]).min()),
        )
        for i in range(len(graph))
    ]
    return SequenceSolution(tuple(poses), len(trusted), len(outliers), graph.noise_factors)


def _innovation(graph: SequenceGraph, i: int) -> Innovation | None:
    found = graph.innovation(i)
    if found is None:
        return None
    apart, predicted, distance = found
    return Innovation(
        distance, float(np.linalg.norm(apart[:3])), float(np.degrees(np.linalg.norm(apart[3:]))), predicted
    )


def _contradicts(found: Innovation, options: SequenceOptions) -> bool:
    """Further off than errors go, and by an amount that matters."""
    matters = found.apart_m > options.outlier_m or found.apart_deg > options.outlier_deg
    return found.distance > options.outlier_distance and matters
