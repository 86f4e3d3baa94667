"""A whole sequence as one object: the motion within it, single-image results against the world, one robust pose graph.

The motion (the provider's reconstruction) is good from image to image and drifts slowly in scale; the single-image
results are absolute but some are wrong. The graph has one pose per image and one log-scale per step that walks randomly
(`docs/method.md`). Results are weighted by Geman–McClure, first with a slack that lets the whole sequence settle, then
by how well each agrees with what all others predict for it. The noise of the motion is estimated from the sequence
itself (variance components, Förstner 1979). Images without a result are placed by their neighbours, with a covariance
that grows with the distance from them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.localize.covariance import horizontal_sigma_m
from geocorrect.sequences.confirmation import SHARP_SHARE, Records, confirm
from geocorrect.sequences.graph import Innovation, SequenceGraph
from geocorrect.sequences.motion import Motion
from geocorrect.sequences.options import SequenceOptions
from geocorrect.sequences.positions import PositionCheck, Positions, agrees, check_position

Float = NDArray[np.float64]

SLACK: tuple[tuple[float, float], ...] = ((2.0, 3.0), (0.5, 1.0), (0.15, 0.3), (0.0, 0.0))
"""Metres and degrees added to every result's covariance, level by level."""
STEPS_PER_LEVEL = 3
ROUNDS = 3
"""Of noise factors, weights by mutual agreement, and two steps."""
NEIGHBOURS = 3
"""A wrong result spoils the prediction of that many results on either side: only the worst of them is taken out at a
time."""
MAX_PASSES = 12
"""Rounds of taking results out and letting them in again."""
MAX_TEARS = 3
"""Wrong runs of results looked for."""
TRUSTED_WEIGHT = 0.1
"""A result with a smaller weight does not count as trusted."""


@dataclass(frozen=True, eq=False)
class SequencePose:
    """One image after the adjustment."""

    world_from_cam: Pose
    """With (6, 6) covariance."""
    weight: float
    """0…1 of its own result, nan where it has none."""
    is_outlier: bool
    """Its own result contradicts the sequence."""
    innovation: Innovation | None
    """None without a result, and where nothing else predicts the image."""
    images_to_result: int
    """To the nearest trusted result."""
    metres_to_result: float
    """Along the way to the nearest trusted result."""
    is_confirmed: bool = False
    """It hung on one anchor's record, and what does not rest on that agrees with it."""
    checks: tuple[PositionCheck, ...] = ()
    """Its result against other sources of positions, where those were asked."""


@dataclass(frozen=True, eq=False)
class Confirmable:
    """What is known of the results that need to be confirmed."""

    records: Sequence[Records] = ()
    """Of each result, the anchors that it hangs on; one with any counts only once something else confirms it. Nothing
    given: none hangs on any."""
    tested: Collection[int] = ()
    """Members whose records other results have tested: only another copy of a façade is left to exclude."""
    positions: Sequence[Positions] = ()
    """Of the members, by other sources."""


NOTHING_HANGS = Confirmable()


@dataclass(frozen=True, eq=False)
class SequenceSolution:
    """An adjusted sequence."""

    poses: tuple[SequencePose, ...]
    """Of the motion's members, in order."""
    n_trusted: int
    """Results that agree."""
    n_outliers: int
    """Results that contradict the others."""
    noise_factors: tuple[float, float]
    """How much worse (above 1) or better the motion is than its options say, in translation and in rotation."""


def adjust_sequence(
    motion: Motion,
    results: Sequence[Pose | None],
    options: SequenceOptions,
    confirmable: Confirmable = NOTHING_HANGS,
) -> SequenceSolution | None:
    """Adjusted poses of all members, or None when too few results agree to place the sequence.

    Args:
        motion: along the sequence.
        results: world_from_cam with covariance of each member from single images, None where rejected.
        options: noise figures and limits.
        confirmable: which results count only once something else confirms them, and what may.
    """
    if len(motion) != len(results):
        raise ValueError(f"{len(motion)} members but {len(results)} results")
    n_results = sum(result is not None for result in results)
    if n_results < options.min_results:
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
    return _solution(graph, n_results, options, confirmable)


def _judge(
    graph: SequenceGraph, options: SequenceOptions, records: Sequence[Records], barred: Collection[int] = ()
) -> dict[int, Innovation]:
    """Innovations, after results that contradict the others were taken out and those that do not were let in again.

    The noise is estimated between the passes from the rest: a wrong result would hide behind noise of its own making.
    barred: results that stay out.
    """
    tears = 0
    for _ in range(MAX_PASSES):
        found = graph.innovations()
        wrong = {i for i, innovation in found.items() if _contradicts(innovation, options)}
        inside = [i for i in found if graph.weight[i] > 0.0]
        out = {i for i in wrong if graph.weight[i] > 0.0 and i == _worst_around(i, inside, found)}
        back = {i for i in found if graph.weight[i] == 0.0} - wrong - set(barred)
        if not out and not back and tears < MAX_TEARS:
            tears, out = tears + 1, _torn_off(graph, inside, options, records)
        if not out and not back:
            break
        graph.set_weights(*((out, 0.0) if out else (back, 1.0)))
        graph.step()
        graph.estimate_noise()
        graph.step()
    return graph.innovations()


def _torn_off(
    graph: SequenceGraph, inside: Sequence[int], options: SequenceOptions, records: Sequence[Records]
) -> set[int]:
    """Results on the smaller side of a tear; those that hang on one record do not count.

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
    return min(before, after, key=lambda side: (sum(not records[i] for i in side), len(side)))


def _worst_around(i: int, inside: Sequence[int], found: Mapping[int, Innovation]) -> int:
    """The result with the largest distance among i and its neighbours."""
    place = inside.index(i)
    return max(inside[max(0, place - NEIGHBOURS) : place + NEIGHBOURS + 1], key=lambda k: found[k].distance)


def _solution(
    graph: SequenceGraph, n_results: int, options: SequenceOptions, confirmable: Confirmable
) -> SequenceSolution | None:
    records = confirmable.records or [frozenset()] * len(graph)
    graph.estimate_noise()
    graph.step()
    innovations = _judge(graph, options, records)
    outliers = {i for i in innovations if graph.weight[i] == 0.0}
    checked, checks = None, {}
    if any(records):
        checks = _position_checks(graph, records, outliers, confirmable)
        checked = confirm(
            graph,
            records,
            lambda one: _contradicts(one, options),
            lambda one, limit_m: _is_good(one, options, limit_m),
            SHARP_SHARE * options.accept_error_m,
            confirmable.tested,
            [i for i, found in checks.items() if agrees(found)],
        )
        out = checked.contradicted | checked.unconfirmed
        graph.set_weights(out, 0.0)
        graph.step()
        # They may have had right results on the other side of a tear, or taken out.
        innovations = _judge(graph, options, records, out)
        outliers = ({i for i in innovations if graph.weight[i] == 0.0} - out) | checked.contradicted
        innovations |= {i: one for i, one in checked.innovations.items() if one is not None}
    trusted = np.array([i for i in innovations if graph.weight[i] >= TRUSTED_WEIGHT])
    if len(trusted) < options.min_results or len(outliers) > options.max_outlier_share * n_results:
        return None
    covariances = graph.covariances()
    way_m = _way_m(graph)
    poses = [
        SequencePose(
            graph.pose(i).with_covariance(covariances[i]),
            float(graph.weight[i]),
            i in outliers,
            innovations.get(i),
            int(np.abs(trusted - i).min()),
            float(np.abs(way_m[trusted] - way_m[i]).min()),
            checked is not None and i in checked.confirmed,
            checks.get(i, ()),
        )
        for i in range(len(graph))
    ]
    return SequenceSolution(tuple(poses), len(trusted), len(outliers), graph.noise_factors)


def _position_checks(
    graph: SequenceGraph, records: Sequence[Records], outliers: Collection[int], confirmable: Confirmable
) -> dict[int, tuple[PositionCheck, ...]]:
    """By image whose record is tested: what other sources of positions say about its result."""
    right = np.flatnonzero(graph.has_result & (np.nan_to_num(graph.weight) >= TRUSTED_WEIGHT)).tolist()
    known, way_m = [i for i in right if not records[i] and i not in outliers], _way_m(graph)
    checks = {
        i: [check_position(source, graph.result, known, i, way_m) for source in confirmable.positions]
        for i in confirmable.tested
    }
    return {i: tuple(one for one in found if one is not None) for i, found in checks.items()}


def _way_m(graph: SequenceGraph) -> Float:
    """(N,) along the recording."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(graph.centre_m, axis=0), axis=1))])


def _contradicts(found: Innovation, options: SequenceOptions) -> bool:
    """Further off than errors go, and by an amount that matters."""
    matters = found.apart_m > options.outlier_m or found.apart_deg > options.outlier_deg
    return found.distance > options.outlier_distance and matters


def _is_good(found: Innovation, options: SequenceOptions, limit_m: float) -> bool:
    """Whether a prediction knows the position to so many metres (68 %), and the rotation as the decision wants it."""
    rotation_deg = float(np.degrees(np.sqrt(np.linalg.eigvalsh(found.predicted_covariance[3:, 3:])[-1])))
    return horizontal_sigma_m(found.predicted_covariance) <= limit_m and rotation_deg <= options.accept_rotation_deg


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
