"""From an adjusted sequence to results: photos without a result are placed, good results sharpened, wrong ones flagged.

One rule for every photo, on what the *others* predict for it: predicted 68 % horizontal error and rotation error up to
the first limits are accepted, up to the second left for review, beyond them nothing is said. The reported position
plays no part in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from geocorrect.errors import Reason, Status
from geocorrect.geometry.pose import Pose
from geocorrect.localize.covariance import heading_sigma_deg, horizontal_sigma_m
from geocorrect.records import NAN, SEQUENCE_MATCHER, Correction, Evidence, Rejection, Result, ScaleSource
from geocorrect.sequences.adjust import TRUSTED_WEIGHT, SequencePose, SequenceSolution
from geocorrect.sequences.options import SequenceOptions

Float = NDArray[np.float64]


class Change(StrEnum):
    """What the sequence does to a photo."""

    PLACED = "placed"
    """It had no result, now it has a correction."""
    SHARPENED = "sharpened"
    """Its predicted error is smaller."""
    CONFIRMED = "confirmed"
    """It was left for review, and the others alone would accept a pose there; or it hung on records that others have
    tested, and these or another source of positions exclude another copy of a façade."""
    DOUBTED = "doubted"
    """It contradicts the others, which are not sure of its place themselves: for review."""
    FLAGGED = "flagged"
    """It contradicts the others, which are sure of its place: a rejection."""


@dataclass(frozen=True, eq=False)
class Member:
    """A photo of the motion."""

    image_id: str
    own: Result | None
    """Its result from single-image localisation."""
    reported_enu_m: Float
    """(3,) reported position in the scene's ENU, nan where unknown."""


@dataclass(frozen=True, eq=False)
class SequenceResult:
    """A new result of a photo from its sequence."""

    result: Result
    change: Change
    """What is new about it."""


def sequence_results(
    members: Sequence[Member], solution: SequenceSolution, motion_name: str, options: SequenceOptions
) -> list[SequenceResult]:
    """What changes; photos about which the sequence has nothing new to say are left out.

    motion_name: where the motion comes from, stored as provenance.
    """
    oracle = any(
        isinstance(m.own, Correction) and not p.is_outlier and m.own.evidence.depth_is_oracle
        for m, p in zip(members, solution.poses, strict=True)
    )
    judge = _Judge(options, motion_name, oracle)
    found = [judge.member(member, pose) for member, pose in zip(members, solution.poses, strict=True)]
    return [result for result in found if result is not None]


@dataclass(frozen=True)
class _Judge:
    options: SequenceOptions
    motion_name: str
    oracle: bool

    def member(self, member: Member, adjusted: SequencePose) -> SequenceResult | None:
        if not isinstance(member.own, Correction):
            return self._placed(member, adjusted)
        if adjusted.is_outlier:
            return self._contradicted(member.own, adjusted)
        return self._agreeing(member.own, adjusted)

    def status(self, covariance: Float) -> Status | None:
        """The rule; None: too uncertain to say anything."""
        error_m, o = horizontal_sigma_m(covariance), self.options
        rotation_deg = float(np.degrees(np.sqrt(np.linalg.eigvalsh(covariance[3:, 3:])[-1])))
        if error_m <= o.accept_error_m and rotation_deg <= o.accept_rotation_deg:
            return Status.ACCEPTED
        if error_m <= o.review_error_m and rotation_deg <= o.review_rotation_deg:
            return Status.REVIEW
        return None

    def _placed(self, member: Member, adjusted: SequencePose) -> SequenceResult | None:
        pose = adjusted.world_from_cam
        status = self.status(_covariance(pose))
        if status is None:
            return None
        evidence = Evidence(
            matcher=SEQUENCE_MATCHER,
            depth=self.motion_name,
            depth_is_oracle=self.oracle,
            scale_source=ScaleSource.SEQUENCE,
            displacement_m=float(np.linalg.norm((pose.translation_m - member.reported_enu_m)[:2])),
            gate=_statistics(adjusted),
        )
        return SequenceResult(_correction(member.image_id, pose, status, evidence), Change.PLACED)

    def _agreeing(self, own: Correction, adjusted: SequencePose) -> SequenceResult | None:
        if adjusted.weight < TRUSTED_WEIGHT:
            return None  # the adjusted pose is the others', and nothing says that it is the better one
        pose = adjusted.world_from_cam
        shrinks = horizontal_sigma_m(_covariance(pose)) < (1.0 - self.options.min_gain) * own.expected_error_m
        alone = adjusted.innovation and self.status(adjusted.innovation.predicted_covariance)
        confirmed = own.status is Status.REVIEW and (alone is Status.ACCEPTED or adjusted.is_confirmed)
        if not (shrinks or confirmed):
            return None
        status = Status.ACCEPTED if confirmed else own.status
        change = Change.CONFIRMED if confirmed else Change.SHARPENED
        return SequenceResult(_correction(own.image_id, pose, status, _extended(own.evidence, adjusted)), change)

    def _contradicted(self, own: Correction, adjusted: SequencePose) -> SequenceResult | None:
        assert adjusted.innovation is not None
        evidence, apart = _extended(own.evidence, adjusted), adjusted.innovation
        if self.status(apart.predicted_covariance) is not None:
            detail = (
                f"{apart.apart_m:.1f} m and {apart.apart_deg:.1f}° from where its sequence puts it "
                f"({apart.distance:.0f} standard deviations)"
            )
            return SequenceResult(Rejection(own.image_id, Reason.SEQUENCE_OUTLIER, detail, evidence), Change.FLAGGED)
        if own.status is Status.REVIEW:
            return None
        return SequenceResult(replace(own, status=Status.REVIEW, evidence=evidence), Change.DOUBTED)


def _correction(image_id: str, pose: Pose, status: Status, evidence: Evidence) -> Correction:
    covariance = _covariance(pose)
    error_m, heading_deg = horizontal_sigma_m(covariance), heading_sigma_deg(covariance)
    return Correction(image_id, pose, status, error_m, heading_deg, evidence)


def _extended(evidence: Evidence, adjusted: SequencePose) -> Evidence:
    """The photo's own evidence, with what the sequence says and a matcher that names it."""
    gate = dict(evidence.gate) | _statistics(adjusted)
    return replace(evidence, matcher=f"{evidence.matcher}+{SEQUENCE_MATCHER}", gate=gate)


def _statistics(adjusted: SequencePose) -> dict[str, float]:
    """What the decision depends on, for the evidence record; nan where it does not apply."""
    apart = adjusted.innovation
    own = (apart.distance, apart.apart_m, apart.apart_deg) if apart else (NAN, NAN, NAN)
    return {
        "sequence_weight": adjusted.weight,
        "sequence_images_to_result": float(adjusted.images_to_result),
        "sequence_metres_to_result": adjusted.metres_to_result,
        **dict(zip(("sequence_distance", "sequence_apart_m", "sequence_apart_deg"), own, strict=True)),
        **{
            f"{check.source}_position_{name}": float(getattr(check, name))
            for check in adjusted.checks
            for name in ("distance", "apart_m", "error_m")
        },
    }


def _covariance(pose: Pose) -> Float:
    assert pose.covariance is not None
    return pose.covariance
