"""The evidence of a result as the record that is stored with it, for corrections and rejections alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.localize.gate import GateStatistics, as_mapping
from geocorrect.localize.observations import Observations
from geocorrect.localize.solution import AnchorFit, Solution
from geocorrect.match.base import Matcher
from geocorrect.records import NAN, AnchorEvidence, DepthMap, Evidence


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
        lens=solution.lens,
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
