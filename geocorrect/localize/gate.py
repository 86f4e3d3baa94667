"""Accept, review or reject, with a reason: the one place that judges a solution (`docs/method.md`).

The reported position only tells whether the answer is on this street at all; it never pulls the pose and never replaces
it. A rejected query has no pose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.errors import Reason, Status
from geocorrect.geometry.pose import Pose
from geocorrect.localize import gate_model
from geocorrect.localize.covariance import heading_sigma_deg, horizontal_sigma_m
from geocorrect.localize.independence import independent_anchors, needs_confirmation
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import GateOptions, pixel_scale
from geocorrect.localize.solution import Solution
from geocorrect.localize.verify import coverage, coverage_cells
from geocorrect.records import NAN, Correction, Query, Result

Float = NDArray[np.float64]


SUPPORTING_INLIERS = 15
"""An anchor with fewer inliers than this supports nothing."""

SUPPORTING_SHARE = 0.5
"""Nor does one with a smaller share of inliers among its matches. Simulator: anchors that agree have over 0.65, even
with half of their matches on a vehicle; wrong ones up to 0.44, as their far points fit any pose along the street."""

ABLE_MATCHES = 40
"""An anchor with this many verified matches and no support contradicts the pose."""

CONTEST_SHARE = 0.5
"""One with fewer matches than this share of the supporting anchor that has fewest contests nothing: on the demo's small
street 72 stood against 322 and 220."""


@dataclass(frozen=True)
class GateStatistics:
    """Everything that the decision depends on; stored with the result. nan = does not apply."""

    n_inliers: float
    """Over all anchors."""
    inlier_share: float
    """Inliers among the matches of the anchors in use."""
    coverage: float
    """Share of the photo's cells that hold an inlier."""
    displacement_m: float
    """Horizontal, from the reported position."""
    height_difference_m: float
    """Above the anchors' cameras, weighted by inliers."""
    anchor_spread_m: float
    """As in `Solution`, and so are `alternative_share`, `scale_sigmas` and `leave_one_out_m`."""
    alternative_share: float
    supporting_anchors: float
    """How many anchors have SUPPORTING_INLIERS and SUPPORTING_SHARE."""
    support_share: float
    """Their share among those and the anchors with ABLE_MATCHES verified matches."""
    expected_error_m: float
    """Predicted 68 % horizontal error."""
    expected_heading_error_deg: float
    """Predicted standard deviation of the heading."""
    reported_sigmas: float
    """Mahalanobis distance from the reported position under its bias model and the pose's own covariance."""
    scale_sigmas: float
    leave_one_out_m: float
    lens_sigmas: float = NAN
    contradiction_sigmas: float = NAN
    """These, too, as in `Solution`."""
    independent_anchors: float = NAN
    """Supporting anchors that can contradict each other (`localize.independence`)."""
    record_shift_sigmas: float = NAN
    """As in `Solution`."""
    contested_m: float = NAN
    """Distance to the farthest pose of an anchor with ABLE_MATCHES and CONTEST_SHARE that does not support this one;
    infinite where it has no pose of its own, nan where there is no such anchor."""
    inlier_patches: float = NAN
    """Cells of the photo that hold an inlier, summed over the supporting anchors: matches of one patch err together,
    and one matcher finds ten where another finds one."""
    principal_shift_px: float = NAN
    """How far the matches moved the principal point, at 512 px; nan when the camera was taken as given."""
    other_place_likeness: float = NAN
    """How alike the photo is to the most alike anchor of another place, over the same of the supporting anchors; nan
    where photos are not compared (`retrieve.appearance`) or no such anchor was considered."""
    other_place_share: float = NAN
    """Verified matches with that anchor that the pose does not explain, over those of the supporting anchor with most
    (both with depth); nan where it was not asked: it looks otherwise, or the pose is not believed anyway."""


@dataclass(frozen=True)
class Decision:
    """What was decided and why."""

    status: Status
    """Accepted, review or rejected."""
    reason: Reason | None = None
    """None unless rejected."""
    detail: str = ""
    """Human-readable, with the figure that decided."""


def gate_statistics(
    solution: Solution, observations: Sequence[Observations], query: Query, options: GateOptions
) -> GateStatistics:
    """The figures that the gate judges; observations: those of the solution's fits, in order."""
    pose = solution.world_from_cam
    assert pose.covariance is not None
    inlier_px = np.concatenate([o.query_px[f.inliers] for o, f in zip(observations, solution.fits, strict=True)])
    candidates = sum(int(np.isfinite(f.residual_px).sum()) for f in solution.fits if f.weight > 0)
    centres = np.array([o.anchor.world_from_cam.translation_m for o in observations])
    counts = np.array([float(f.inliers.sum()) for f in solution.fits])
    anchor_height = float(np.average(centres[:, 2], weights=np.maximum(counts, 1e-9)))
    supporting = _supporting(solution, counts)
    able = np.array([len(o) >= ABLE_MATCHES for o in observations])
    return GateStatistics(
        n_inliers=float(solution.n_inliers),
        inlier_share=solution.n_inliers / max(candidates, 1),
        coverage=coverage(inlier_px, query.camera),
        displacement_m=float(np.linalg.norm((pose.translation_m - query.reported_enu_m)[:2])),
        height_difference_m=float(pose.translation_m[2] - anchor_height),
        anchor_spread_m=solution.anchor_spread_m,
        alternative_share=solution.alternative_share,
        supporting_anchors=float(supporting.sum()),
        support_share=float(supporting.sum() / max(int((supporting | able).sum()), 1)),
        expected_error_m=horizontal_sigma_m(pose.covariance),
        expected_heading_error_deg=heading_sigma_deg(pose.covariance),
        reported_sigmas=_reported_sigmas(pose, query, options),
        scale_sigmas=solution.scale_sigmas,
        leave_one_out_m=solution.leave_one_out_m,
        lens_sigmas=solution.lens_sigmas,
        contradiction_sigmas=solution.contradiction_sigmas,
        independent_anchors=float(
            independent_anchors(observations, supporting, solution.record_shift_sigmas, solution.lens_sigmas)
        ),
        record_shift_sigmas=solution.record_shift_sigmas,
        contested_m=_contested_m(solution, able & ~supporting & _many(observations, supporting)),
        inlier_patches=float(
            sum(
                coverage_cells(o.query_px[f.inliers], query.camera)
                for o, f, supports in zip(observations, solution.fits, supporting, strict=True)
                if supports
            )
        ),
        principal_shift_px=_principal_shift_px(solution, query),
    )


def _many(observations: Sequence[Observations], supporting: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(K,) anchors with at least CONTEST_SHARE of the matches of the supporting anchor that has fewest."""
    count = np.array([len(o) for o in observations])
    return np.asarray(count >= CONTEST_SHARE * count[supporting].min(initial=count.max(initial=0)))


def _contested_m(solution: Solution, contesting: NDArray[np.bool_]) -> float:
    shifts = np.array([fit.single_shift_m for fit in solution.fits])[contesting]
    return float(np.where(np.isfinite(shifts), shifts, np.inf).max()) if len(shifts) else NAN


def _principal_shift_px(solution: Solution, query: Query) -> float:
    found, stated = solution.query_camera, query.camera
    if found is None:
        return NAN
    shift = found.principal_x_px - stated.principal_x_px, found.principal_y_px - stated.principal_y_px
    return float(np.hypot(*shift)) / pixel_scale(stated)


def _reported_sigmas(pose: Pose, query: Query, options: GateOptions) -> float:
    """Mahalanobis distance of the horizontal displacement; nan without a reported position."""
    assert pose.covariance is not None
    shift = (pose.translation_m - query.reported_enu_m)[:2]
    expected = pose.covariance[:2, :2] + options.reported_sigma_m**2 * np.eye(2)
    return float(np.sqrt(shift @ np.linalg.solve(expected, shift)))


def _supporting(solution: Solution, counts: Float) -> NDArray[np.bool_]:
    """(K,) anchors with enough inliers, in number and among their own matches: a few agree with any pose by chance."""
    used = np.array([max(int(np.isfinite(f.residual_px).sum()), 1) for f in solution.fits])
    return (counts >= SUPPORTING_INLIERS) & (counts >= SUPPORTING_SHARE * used)


def probability_wrong(statistics: GateStatistics) -> float:
    """P(position wrong by more than 1 m) by the fitted error model; 1 where the statistics are not finite."""
    features = np.array(gate_features(as_mapping(statistics)))
    scaled = (features - gate_model.FEATURE_MEAN) / gate_model.FEATURE_SPREAD
    score = gate_model.WEIGHTS[0] + float(scaled @ gate_model.WEIGHTS[1:])
    return float(1.0 / (1.0 + np.exp(-np.clip(score, -50.0, 50.0)))) if np.isfinite(score) else 1.0


def gate_features(statistics: Mapping[str, float]) -> tuple[float, ...]:
    """The error model's features from the fields of GateStatistics by name: grounds for doubt, larger is worse.

    None counts matches: what one matcher finds ten of in a patch of the photo, another finds once. Nor is the reported
    position among them: in a street canyon it is as far off as another street is.
    """
    s = {name: float(value) for name, value in statistics.items()}
    spread_m = s["anchor_spread_m"]
    return (
        -float(np.log(max(s["inlier_patches"], 1.0))),
        -s["inlier_share"],
        float(np.log(np.clip(s["expected_error_m"], 1e-3, 1e3))),
        s["alternative_share"],
        float(np.log1p(min(spread_m, 50.0))) if np.isfinite(spread_m) else 0.0,
    )


def decide(statistics: GateStatistics, options: GateOptions) -> Decision:
    """The first broken rule names the reason; then the error model, then whether something else must confirm it."""
    decision = by_rules(statistics, options)
    if decision is not None:
        return decision
    probability = probability_wrong(statistics)
    if probability > options.reject_probability:
        return Decision(Status.REJECTED, Reason.UNCERTAIN, f"{probability:.0%} likely to be wrong by more than 1 m")
    if probability > gate_model.ACCEPT_PROBABILITY:
        return Decision(Status.REVIEW, None, f"{probability:.0%} likely to be wrong by more than 1 m")
    if needs_confirmation(as_mapping(statistics), options):
        return Decision(Status.REVIEW, None, _unconfirmed(statistics, options))
    return Decision(Status.ACCEPTED)


def by_rules(statistics: GateStatistics, options: GateOptions) -> Decision | None:
    """What the first broken rule decides, from hard facts to predicted error; None where none is broken."""
    s = statistics
    rules: list[tuple[bool, Reason, str]] = [
        (
            s.n_inliers < options.min_inliers or s.inlier_share < options.min_inlier_share,
            Reason.TOO_FEW_INLIERS,
            f"{s.n_inliers:.0f} inliers, {s.inlier_share:.0%} of the lifted matches",
        ),
        (s.coverage < options.min_coverage, Reason.DEGENERATE_GEOMETRY, f"inliers cover {s.coverage:.1%} of the photo"),
        (
            s.displacement_m > options.max_displacement_m,
            Reason.IMPLAUSIBLE_DISPLACEMENT,
            f"{s.displacement_m:.1f} m from the reported position",
        ),
        (
            abs(s.height_difference_m) > options.max_height_difference_m,
            Reason.IMPLAUSIBLE_HEIGHT,
            f"{s.height_difference_m:+.1f} m relative to the anchors' cameras",
        ),
        (
            s.alternative_share > options.max_alternative_share,
            Reason.AMBIGUOUS_POSE,
            f"the matches agree on another, distant pose, too, which has {s.alternative_share:.0%} of the support",
        ),
        (
            s.anchor_spread_m > options.max_anchor_spread_m,
            Reason.ANCHORS_DISAGREE,
            f"single-anchor poses lie {s.anchor_spread_m:.2f} m away (median)",
        ),
        (
            s.scale_sigmas > options.max_scale_sigmas,
            Reason.SCALE_DISAGREES,
            f"scale from depth and scale from the anchors' baselines are {s.scale_sigmas:.1f} sigmas apart",
        ),
        (
            s.support_share < options.min_support_share,
            Reason.ANCHORS_DISAGREE,
            f"only {s.support_share:.0%} of the anchors with enough matches support the pose",
        ),
        (
            not s.expected_error_m <= options.reject_error_m,
            Reason.UNCERTAIN,
            f"predicted error {s.expected_error_m:.2f} m",
        ),
    ]
    for broken, reason, detail in rules:
        if broken:
            return Decision(Status.REJECTED, reason, detail)
    if s.alternative_share > options.review_alternative_share:
        return Decision(Status.REVIEW, None, f"another, distant pose has {s.alternative_share:.0%} of the support")
    if s.other_place_share > options.max_other_place_share:
        found = f"an anchor there has {s.other_place_share:.0%} of the matches of the best one here"
        return Decision(Status.REVIEW, None, f"another place shows the same, perhaps a repeated façade: {found}")
    if s.supporting_anchors <= 1 and s.coverage < options.min_lone_coverage:
        return Decision(Status.REVIEW, None, f"one anchor alone, inliers cover {s.coverage:.1%} of the photo")
    if s.principal_shift_px > options.max_principal_shift_px:
        shift = f"{s.principal_shift_px:.0f} px at 512 px"
        return Decision(
            Status.REVIEW, None, f"the matches want another lens, its principal point {shift} off: distortion?"
        )
    if s.expected_error_m > options.accept_error_m:
        return Decision(Status.REVIEW, None, f"predicted error {s.expected_error_m:.2f} m")
    return None


def _unconfirmed(s: GateStatistics, options: GateOptions) -> str:
    if s.contested_m > options.distant_m:
        away = f"{s.contested_m:.1f} m away" if np.isfinite(s.contested_m) else "somewhere else"
        return f"{1 - s.support_share:.0%} of the anchors with enough matches put the photo {away}"
    if s.supporting_anchors <= 1:
        return "one anchor alone: no other would notice a wrong record or a repeated façade"
    return f"{s.supporting_anchors:.0f} anchors of one record, or whose own distances are all that gives the scale"


def as_mapping(statistics: GateStatistics) -> dict[str, float]:
    """Plain numbers for the evidence record."""
    return {name: float(value) for name, value in vars(statistics).items()}


def waits_only_for_confirmation(result: Result | None, options: GateOptions) -> bool:
    """Whether a result for review would be accepted if one anchor were believed."""
    if not isinstance(result, Correction) or result.status is not Status.REVIEW:
        return False
    statistics = stored_statistics(result.evidence.gate)
    if statistics is None:
        return False
    return decide(statistics, replace(options, min_independent_anchors=1)).status is Status.ACCEPTED


def stored_statistics(gate: Mapping[str, float]) -> GateStatistics | None:
    """The statistics in an evidence record; None for a record without those that every decision needs."""
    named = fields(GateStatistics)
    if not {field.name for field in named if field.default is MISSING} <= gate.keys():
        return None
    return GateStatistics(**{field.name: float(gate[field.name]) for field in named if field.name in gate})
