"""The method on one screen: one photo, its anchors, a matcher and a depth source → a corrected pose or a reason.

No files, no network. `docs/method.md` explains every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.depth.base import DepthSource
from geocorrect.errors import Reason, Status
from geocorrect.geometry.tangent import unit_rays
from geocorrect.io.masks import unmasked
from geocorrect.localize.estimators.base import Estimator
from geocorrect.localize.gate import GateStatistics, as_mapping, decide, gate_statistics
from geocorrect.localize.joint.estimate import JointEstimator
from geocorrect.localize.lift import lift
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import AnchorFit, Solution
from geocorrect.localize.verify import verify
from geocorrect.match.base import Matcher
from geocorrect.match.rig import match_photo
from geocorrect.records import (
    NAN,
    AnchorEvidence,
    AnchorView,
    Correction,
    DepthMap,
    Evidence,
    Matches,
    Query,
    Rejection,
)

JOINT = JointEstimator()


@dataclass(frozen=True, eq=False)
class LocalizationResult:
    """A result with what led to it."""

    result: Correction | Rejection
    """The corrected pose, or why there is none."""
    observations: tuple[Observations, ...] = ()
    """The anchors with verified matches."""
    solution: Solution | None = None
    """What was judged; its fits belong to the observations, in order. None: no pose was found."""


def correct_image(
    query: Query,
    anchors: Sequence[AnchorView],
    matcher: Matcher,
    depth: DepthSource,
    options: LocalizeOptions,
    seed: int,
    estimator: Estimator = JOINT,
) -> Correction | Rejection:
    """Where the photo was really taken, in the anchors' ENU frame, or why that cannot be said."""
    return localize(query, anchors, matcher, depth, options, seed, estimator).result


def localize(
    query: Query,
    anchors: Sequence[AnchorView],
    matcher: Matcher,
    depth: DepthSource,
    options: LocalizeOptions,
    seed: int,
    estimator: Estimator = JOINT,
) -> LocalizationResult:
    """`correct_image` with its intermediate results, for pictures and reports.

    Deterministic for equal input and seed. What matcher or depth source raise (a missing scan) is not caught: the user
    must fix it.
    """
    if not anchors:
        return LocalizationResult(Rejection(query.image_id, Reason.NO_ANCHOR_NEARBY))

    # Match the photo with every anchor, keep what two views of a static scene can explain, and give it depth.
    matches = match_photo(matcher, query.pixels, query.camera, [view.pixels for view in anchors])
    maps = [depth.depth(view.anchor, view.pixels) for view in anchors]
    observations = [
        observe(query, view, m, z, options, seed) for view, m, z in zip(anchors, matches, maps, strict=True)
    ]
    used = tuple(o for o in observations if len(o) > 0)

    def rejected(reason: Reason, detail: str) -> LocalizationResult:
        evidence = evidence_of(observations, maps, matcher, None, None)
        return LocalizationResult(Rejection(query.image_id, reason, detail, evidence), used)

    if not used:
        most = max(o.n_matches for o in observations)
        found = f"at most {most} {'match' if most == 1 else 'matches'} with one anchor, none consistent"
        return rejected(Reason.TOO_FEW_MATCHES, found)

    # One pose from all anchors together, with its covariance.
    solution = estimator.solve(used, query, options, seed)
    if isinstance(solution, Reason):
        n_verified = sum(len(o) for o in used)
        return rejected(solution, f"no pose from {n_verified} verified matches with {len(used)} anchors")

    # Judge it.
    statistics = gate_statistics(solution, used, query, options.gate)
    decision = decide(statistics, options.gate)
    evidence = evidence_of(observations, maps, matcher, solution, statistics)
    if decision.status is Status.REJECTED:
        assert decision.reason is not None
        rejection = Rejection(query.image_id, decision.reason, decision.detail, evidence)
        return LocalizationResult(rejection, used, solution)
    correction = Correction(
        image_id=query.image_id,
        world_from_cam=solution.world_from_cam,
        status=decision.status,
        expected_error_m=statistics.expected_error_m,
        expected_heading_error_deg=statistics.expected_heading_error_deg,
        evidence=evidence,
    )
    return LocalizationResult(correction, used, solution)


def observe(
    query: Query, view: AnchorView, matches: Matches, depth: DepthMap, options: LocalizeOptions, seed: int
) -> Observations:
    """Verified and lifted matches with one anchor; empty where no relative pose explains them."""
    anchor = view.anchor
    rays = np.hstack([unit_rays(query.camera, matches.query_px), unit_rays(anchor.camera, matches.anchor_px)])
    trusted = unmasked(matches.query_px, query.mask) & unmasked(matches.anchor_px, view.mask)
    imaged = np.flatnonzero(trusted & np.isfinite(rays).all(axis=1))
    inliers = verify(matches.subset(imaged), query.camera, anchor.camera, options.verify, seed)
    kept_rows = imaged[inliers]
    kept = matches.subset(kept_rows)
    depth_m, log_sigma = lift(kept.anchor_px, depth, anchor.camera, options.lift)
    return Observations(
        anchor=anchor,
        query_px=np.asarray(kept.query_px, float),
        anchor_px=np.asarray(kept.anchor_px, float),
        query_rays=rays[kept_rows, :3],
        anchor_rays=rays[kept_rows, 3:],
        depth_m=depth_m,
        log_sigma=log_sigma,
        common_log_sigma=depth.common_log_sigma,
        n_matches=len(matches),
    )


def evidence_of(
    observations: Sequence[Observations],
    maps: Sequence[DepthMap],
    matcher: Matcher,
    solution: Solution | None,
    statistics: GateStatistics | None,
) -> Evidence:
    """As much evidence as there is; anchors without a verified match are listed with zero counts.

    Args:
        observations: of every anchor, empty ones included.
        maps: the depth of every anchor.
        matcher: named by its fingerprint.
        solution: its fits belong to the observations that are not empty, in order; None: there is none.
        statistics: what the gate judged; None: it did not.
    """
    fits = iter(solution.fits if solution is not None else ())
    per_anchor = tuple(_of_anchor(o, next(fits, None) if len(o) else None) for o in observations)
    reached = Evidence(
        anchors=per_anchor,
        matcher=matcher.fingerprint,
        depth="+".join(sorted({m.name for m in maps})),
        depth_is_oracle=any(m.is_oracle for m in maps),
        n_matches=sum(o.n_matches for o in observations),
    )
    if solution is None or statistics is None:
        return reached
    residuals = np.concatenate([f.residual_px[f.inliers] for f in solution.fits])
    return replace(
        reached,
        scale_source=solution.scale_source,
        scale_ratio=solution.scale_ratio,
        n_inliers=solution.n_inliers,
        inlier_coverage=statistics.coverage,
        median_residual_px=_median(residuals),
        displacement_m=statistics.displacement_m,
        anchor_spread_m=statistics.anchor_spread_m,
        focal_ratio=solution.focal_ratio,
        gate=as_mapping(statistics),
    )


def _of_anchor(o: Observations, fit: AnchorFit | None) -> AnchorEvidence:
    return AnchorEvidence(
        anchor_id=o.anchor.id,
        n_matches=o.n_matches,
        n_verified=len(o),
        n_points=int(o.has_depth.sum()),
        n_inliers=0 if fit is None else int(fit.inliers.sum()),
        median_residual_px=NAN if fit is None else _median(fit.residual_px[fit.inliers]),
        single_anchor_shift_m=NAN if fit is None else fit.single_shift_m,
        weight=NAN if fit is None else fit.weight,
    )


def _median(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else NAN
