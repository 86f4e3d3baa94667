"""The method on one screen: one photo, its anchors, a matcher and a depth source → a corrected pose or a reason.

No files, no network. `docs/method.md` explains every step.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.depth.base import DepthSource, depth_for
from geocorrect.errors import Reason, Status
from geocorrect.geometry import frame
from geocorrect.geometry.tangent import unit_rays
from geocorrect.io.masks import unmasked
from geocorrect.localize.estimators.base import Estimator
from geocorrect.localize.evidence import evidence_of
from geocorrect.localize.gate import decide, gate_statistics, waits_only_for_confirmation
from geocorrect.localize.joint.estimate import JointEstimator
from geocorrect.localize.joint.line import bearing_line
from geocorrect.localize.lift import lift, lift_points
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import GateOptions, LocalizeOptions
from geocorrect.localize.rolling.mid_exposure import (
    ROUNDS,
    is_correctable,
    rolling_motion,
    shutter_evidence,
    to_mid_exposure,
)
from geocorrect.localize.rolling.motion_error import with_motion_error
from geocorrect.localize.solution import Solution
from geocorrect.localize.verify import verify
from geocorrect.match.base import Matcher, any_size, smooth_noise
from geocorrect.match.cascade import stages_of
from geocorrect.match.rig import distance_ratio, match_photo
from geocorrect.match.verify import ESSENTIAL, PairVerifyOptions, verification_of
from geocorrect.records import AnchorView, Correction, DepthMap, Matches, Query, Rejection

JOINT = JointEstimator()
CURABLE = {
    Reason.TOO_FEW_MATCHES,
    Reason.TOO_FEW_POINTS,
    Reason.TOO_FEW_INLIERS,
    Reason.DEGENERATE_GEOMETRY,
    Reason.DIVERGED,
    Reason.ANCHORS_DISAGREE,
    Reason.AMBIGUOUS_POSE,
    Reason.IMPLAUSIBLE_DISPLACEMENT,
    Reason.IMPLAUSIBLE_HEIGHT,
    Reason.UNCERTAIN,
}
"""Rejections that better matches could turn into an answer: the next stage of a cascade is tried."""


@dataclass(frozen=True, eq=False)
class TracedResult:
    """A result with what led to it."""

    result: Correction | Rejection
    """The corrected pose, or why there is none."""
    observations: tuple[Observations, ...] = ()
    """The anchors with verified matches."""
    solution: Solution | None = None
    """What was judged; its fits belong to the observations, in order. None: no pose was found."""
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    """Processor time of each stage of a cascade that was tried; empty without a cascade."""


def localize(
    query: Query,
    anchors: Sequence[AnchorView],
    matcher: Matcher,
    depth: DepthSource,
    options: LocalizeOptions,
    seed: int,
    estimator: Estimator = JOINT,
    pair: PairVerifyOptions = ESSENTIAL,
) -> TracedResult:
    """Where the photo was really taken, in the anchors' ENU frame, or why that cannot be said; with what led to it.

    The stages of a cascade are tried in order until one accepts the photo or better matches could not help; the best
    answer counts, the earlier of equal ones, and its evidence names the stage. Deterministic for equal input and seed,
    but for the processor times. What matcher or depth source raise (a missing scan) is not caught: the user must fix
    it.
    """
    if not anchors:
        return TracedResult(Rejection(query.image_id, Reason.NO_ANCHOR_NEARBY))
    maps = [depth_for(depth, view.anchor, view.pixels, query.pixels) for view in anchors]
    best, cpu_s = None, {}
    for name, stage in stages_of(matcher).items():
        started_s = time.process_time()
        found = _localize_with(stage, query, anchors, maps, options, seed, estimator, pair)
        if name:
            cpu_s[name] = time.process_time() - started_s
        if best is None or _rank(found.result) > _rank(best.result):
            best = found
        if not _curable(found.result, len(anchors), options.gate):
            break
    assert best is not None
    return replace(best, cpu_s=cpu_s)


def _rank(result: Correction | Rejection) -> int:
    return [Status.REJECTED, Status.REVIEW, Status.ACCEPTED].index(
        Status.REJECTED if isinstance(result, Rejection) else result.status
    )


def _curable(result: Correction | Rejection, n_anchors: int, options: GateOptions) -> bool:
    if isinstance(result, Rejection):
        return result.reason in CURABLE
    # Where every anchor supports the pose, another anchor or the photo's sequence has to confirm it, no matches can.
    all_support = result.evidence.gate["supporting_anchors"] >= n_anchors
    return result.status is Status.REVIEW and not (all_support and waits_only_for_confirmation(result, options))


def _localize_with(
    matcher: Matcher,
    query: Query,
    anchors: Sequence[AnchorView],
    maps: Sequence[DepthMap],
    options: LocalizeOptions,
    seed: int,
    estimator: Estimator,
    pair: PairVerifyOptions,
) -> TracedResult:
    # Match the photo with every anchor, keep what two views of a static scene can explain, and give it depth.
    matches = match_all(matcher, query, anchors, maps)
    observations = [
        observe(query, view, m, z, options, seed, matcher, pair)
        for view, m, z in zip(anchors, matches, maps, strict=True)
    ]
    used = tuple(o for o in observations if len(o) > 0)
    shutter = shutter_evidence(query, anchors)

    def rejected(reason: Reason, detail: str) -> TracedResult:
        evidence = replace(evidence_of(observations, maps, matcher, None, None), rolling_shutter=shutter)
        return TracedResult(Rejection(query.image_id, reason, detail, evidence), used)

    if not used:
        most = max(o.n_matches for o in observations)
        found = f"at most {most} {'match' if most == 1 else 'matches'} with one anchor, none consistent"
        return rejected(Reason.TOO_FEW_MATCHES, found)

    # One pose from all anchors together, with its covariance; again, as of the middle of the exposure.
    solution = estimator.solve(used, query, options, seed)
    uncorrected = solution
    for _ in range(ROUNDS if is_correctable(query, anchors) else 0):
        if isinstance(solution, Reason):
            break
        moved = to_mid_exposure(query, anchors, matches, maps, solution.world_from_cam, options.lift)
        observations = [
            observe(query, view, m.matches, z, options, seed, matcher, pair, (m.depth_m, m.log_sigma))
            for view, m, z in zip(anchors, moved, maps, strict=True)
        ]
        used = tuple(o for o in observations if len(o) > 0)
        solution = estimator.solve(used, query, options, seed) if used else Reason.TOO_FEW_MATCHES
    if isinstance(solution, Solution) and isinstance(uncorrected, Solution) and solution is not uncorrected:
        moved_m = solution.world_from_cam.translation_m - uncorrected.world_from_cam.translation_m
        shutter["moved_m"] = float(np.linalg.norm(moved_m))
        if motion := rolling_motion(query.camera, query.motion):
            solution = with_motion_error(solution, used, query, motion)
    if isinstance(solution, Reason):
        n_verified = sum(len(o) for o in used)
        found = f"no pose from {n_verified} verified matches with {len(used)} anchors"
        if solution is Reason.TOO_FEW_POINTS and not any(o.has_depth.any() for o in used):
            found += (
                "; none has depth, so there is no scale: a second anchor of the same drive, LiDAR or calibrated depth"
            )
            found += " would give it"
            line = bearing_line(used[0], query, options, seed) if len(used) == 1 else None
            found += "" if line is None else f"; {line}"
        return rejected(solution, found)

    # Judge it.
    statistics = gate_statistics(solution, used, query, options.gate)
    decision = decide(statistics, options.gate)
    evidence = replace(evidence_of(observations, maps, matcher, solution, statistics), rolling_shutter=shutter)
    if decision.status is Status.REJECTED:
        assert decision.reason is not None
        rejection = Rejection(query.image_id, decision.reason, decision.detail, evidence)
        return TracedResult(rejection, used, solution)
    correction = Correction(
        image_id=query.image_id,
        world_from_cam=solution.world_from_cam,
        status=decision.status,
        expected_error_m=statistics.expected_error_m,
        expected_heading_error_deg=statistics.expected_heading_error_deg,
        evidence=evidence,
    )
    return TracedResult(correction, used, solution)


def match_all(matcher: Matcher, query: Query, anchors: Sequence[AnchorView], maps: Sequence[DepthMap]) -> list[Matches]:
    """The photo's matches with every anchor, in order; each is shown as its matcher needs it."""
    turns = () if query.upright_turns is None else _turns_to(query.upright_turns, anchors)
    cameras = [view.anchor.camera for view in anchors]
    # Only a matcher that needs things to be of one size asks how far they are.
    ratios = (
        []
        if any_size(matcher)
        else [distance_ratio(query, view.anchor, z) for view, z in zip(anchors, maps, strict=True)]
    )
    pictures = [view.pixels for view in anchors]
    return match_photo(matcher, query.pixels, query.camera, pictures, turns, cameras, ratios)


def _turns_to(upright_turns: int, anchors: Sequence[AnchorView]) -> list[int]:
    """Quarter turns after which the photo is each anchor's way up; none where that is unknown."""
    ways = [frame.upright_turns(view.anchor.world_from_cam) for view in anchors]
    return [0 if way is None else upright_turns - way for way in ways]


def observe(
    query: Query, view: AnchorView, matches: Matches, depth: DepthMap, options: LocalizeOptions, seed: int,
    matcher: Matcher | None, pair: PairVerifyOptions = ESSENTIAL,
    lifted: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> Observations:  # fmt: skip
    """Verified and lifted matches with one anchor; empty where no relative pose explains them.

    matcher: found the matches, which are verified and believed as it declares of itself; None: nothing is declared.
    lifted: (N,) depth of each match and the standard deviation of its logarithm; None: as the anchor's depth says.
    """
    anchor = view.anchor
    pair = verification_of(matcher, pair)
    query_rays, anchor_rays = unit_rays(query.camera, matches.query_px), unit_rays(anchor.camera, matches.anchor_px)
    trusted = unmasked(matches.query_px, query.mask) & unmasked(matches.anchor_px, view.mask)
    imaged = np.flatnonzero(trusted & np.isfinite(query_rays + anchor_rays).all(axis=1))
    rays = query_rays[imaged], anchor_rays[imaged]
    inliers = verify(matches.subset(imaged), query.camera, anchor.camera, options.verify, seed, pair, rays)
    kept_rows = imaged[inliers]
    kept = matches.subset(kept_rows)
    if lifted is None:
        all_depth_m, all_log_sigma = lift(matches.anchor_px[imaged], depth, anchor.camera, options.lift)
    else:
        all_depth_m, all_log_sigma = lifted[0][imaged], lifted[1][imaged]
    depth_m, log_sigma = all_depth_m[inliers], all_log_sigma[inliers]
    return Observations(
        anchor=anchor,
        query_px=np.asarray(kept.query_px, float),
        anchor_px=np.asarray(kept.anchor_px, float),
        query_rays=query_rays[kept_rows],
        anchor_rays=anchor_rays[kept_rows],
        depth_m=depth_m,
        log_sigma=log_sigma,
        off_ray_m=lift_points(kept.anchor_px, depth, depth_m),
        common_log_sigma=depth.common_log_sigma,
        n_matches=len(matches),
        smooth_noise=smooth_noise(matcher),
        depth_from=depth.from_anchors,
        dropped=matches.subset(imaged[~inliers]),
        dropped_depth_m=all_depth_m[~inliers],
    )
