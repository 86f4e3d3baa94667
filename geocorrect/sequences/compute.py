"""One sequence from its photos and their own results; pure: no catalog, no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from geocorrect.catalog.sequences import SequenceFinding
from geocorrect.errors import Status
from geocorrect.geometry.frame import Frame, angle_difference_deg
from geocorrect.localize.gate import waits_only_for_confirmation
from geocorrect.localize.options import GateOptions
from geocorrect.records import NAN, Correction, Result
from geocorrect.sequences.adjust import Confirmable, SequenceSolution, adjust_sequence
from geocorrect.sequences.confirmation import records_of, records_tested_by
from geocorrect.sequences.decide import Change, Member, SequenceResult, sequence_results
from geocorrect.sequences.input import SequencePhotos
from geocorrect.sequences.motion import Motion, motion_of
from geocorrect.sequences.options import SequenceOptions
from geocorrect.sequences.positions import positions_of


@dataclass(frozen=True)
class SequenceFindings:
    """Signs: corrected minus reported. nan where too few images say something.

    The fields are columns of the catalog's `SequenceFinding`.
    """

    median_east_m: float = NAN
    median_north_m: float = NAN
    """Median of the position's offset."""
    spread_m: float = NAN
    """1.48 × median absolute deviation from it."""
    heading_bias_deg: float = NAN
    """Median of the heading's offset."""
    lag_s: float = NAN
    """By how much the reported positions trail the images (positive: the position is old)."""


@dataclass(frozen=True, eq=False)
class ComputedSequence:
    """What came of a sequence."""

    note: str = ""
    """Why nothing could be said, empty otherwise."""
    motion: str = ""
    """Where its motion comes from."""
    solution: SequenceSolution | None = None
    """The adjusted sequence."""
    results: tuple[SequenceResult, ...] = ()
    """What it changes."""
    findings: SequenceFindings = field(default_factory=SequenceFindings)
    """About the device."""


def compute_sequence(
    photos: SequencePhotos, own: Mapping[str, Result], frame: Frame, options: SequenceOptions, gate: GateOptions
) -> ComputedSequence:
    """A sequence from its photos and their own results by image id; frame: of the scene, gate: what judges photos."""
    motion = motion_of(photos.hints, options)
    if motion is None:
        return ComputedSequence("nothing is known of the way between its photos")
    ids = [photos.ids[i] for i in motion.members]
    poses = [r.world_from_cam if isinstance(r := own.get(image_id), Correction) else None for image_id in ids]
    solution = adjust_sequence(motion, poses, options, _confirmable(photos, motion, own, gate))
    if solution is None:
        return ComputedSequence("too few results agree", motion.source_name)
    members = [
        Member(image_id, own.get(image_id), photos.reported_enu_m[i])
        for image_id, i in zip(ids, motion.members, strict=True)
    ]
    results = tuple(sequence_results(members, solution, motion.source_name, options))
    findings = _device_findings(photos, motion, solution, results, frame)
    return ComputedSequence("", motion.source_name, solution, results, findings)


def _confirmable(photos: SequencePhotos, motion: Motion, own: Mapping[str, Result], gate: GateOptions) -> Confirmable:
    results = [own.get(photos.ids[i]) for i in motion.members]
    records, tested = [records_of(result, gate) for result in results], records_tested_by(own.values())
    may_be_copies = {
        k
        for k, result in enumerate(results)
        if records[k] and records[k] <= tested and waits_only_for_confirmation(result, gate)
    }
    return Confirmable(records, may_be_copies, positions_of([photos.hints[i] for i in motion.members]))


def _device_findings(
    photos: SequencePhotos, motion: Motion, solution: SequenceSolution, results: Sequence[SequenceResult], frame: Frame
) -> SequenceFindings:
    """What the accepted poses say about the device: results that agree, and photos that were placed well."""
    placed = {
        found.result.image_id
        for found in results
        if found.change is Change.PLACED and getattr(found.result, "status", None) is Status.ACCEPTED
    }
    use = [
        k
        for k, (i, pose) in enumerate(zip(motion.members, solution.poses, strict=True))
        if pose.weight > 0.0 or photos.ids[i] in placed
    ]
    at, poses = motion.members[use], [solution.poses[k].world_from_cam for k in use]
    return sequence_findings(
        photos.reported_enu_m[at],
        np.array([pose.translation_m for pose in poses]).reshape(-1, 3),
        photos.reported_heading_deg[at],
        np.array([frame.heading_deg(pose) for pose in poses]),
        photos.time_s[at],
    )


def finding_of(
    sequence_id: str, input_hash: str, photos: SequencePhotos, own: Mapping[str, Result], computed: ComputedSequence
) -> SequenceFinding:
    """The catalog's row about a sequence."""
    counts = Counter(found.change for found in computed.results)
    solution = computed.solution
    factors = solution.noise_factors if solution is not None else (NAN, NAN)
    return SequenceFinding(
        sequence_id,
        input_hash,
        computed.motion,
        computed.note,
        n_photos=len(photos.ids),
        n_results=sum(isinstance(result, Correction) for result in own.values()),
        n_trusted=0 if solution is None else solution.n_trusted,
        n_flagged=counts[Change.FLAGGED],
        n_doubted=counts[Change.DOUBTED],
        n_placed=counts[Change.PLACED],
        n_sharpened=counts[Change.SHARPENED] + counts[Change.CONFIRMED],
        device_make=photos.device_make,
        device_model=photos.device_model,
        **asdict(computed.findings),
        translation_noise=factors[0],
        rotation_noise=factors[1],
    )


Float = NDArray[np.float64]

MIN_IMAGES = 5
MIN_SPEED_M_S = 1.0


def sequence_findings(
    reported_enu_m: Float,
    corrected_enu_m: Float,
    reported_heading_deg: Float,
    corrected_heading_deg: Float,
    time_s: Float,
) -> SequenceFindings:
    """Findings from (N, 2 or 3) positions, (N,) headings and (N,) capture times in seconds; nan = unknown."""
    corrected_m = np.asarray(corrected_enu_m, float)[:, :2]
    off = corrected_m - np.asarray(reported_enu_m, float)[:, :2]
    known = np.isfinite(off).all(axis=1)
    turns = angle_difference_deg(corrected_heading_deg, reported_heading_deg)
    turns = turns[np.isfinite(turns)]
    bias = NAN
    if len(turns) >= MIN_IMAGES:
        centre = float(np.degrees(np.angle(np.exp(1j * np.radians(turns)).sum())))
        bias = float(angle_difference_deg(centre + float(np.median(angle_difference_deg(turns, centre))), 0.0))
    if known.sum() < MIN_IMAGES:
        return SequenceFindings(heading_bias_deg=bias)
    median = np.median(off[known], axis=0)
    spread = 1.4826 * float(np.median(np.linalg.norm(off[known] - median, axis=1)))
    lag = _lag_s(off, corrected_m, np.asarray(time_s, float), known)
    return SequenceFindings(float(median[0]), float(median[1]), spread, bias, lag)


def _lag_s(off: Float, corrected: Float, time_s: Float, known: NDArray[np.bool_]) -> float:
    """Slope of the offset along the velocity: a late position lies behind by speed × lag, whatever the constant offset.

    Speed or direction must vary: along one straight line at one speed a lag and an offset look the same.
    """
    use = known & np.isfinite(time_s)
    if use.sum() < 2 * MIN_IMAGES:
        return NAN
    order = np.argsort(time_s[use], kind="stable")
    t, p, o = time_s[use][order], corrected[use][order], off[use][order]
    if (np.diff(t) <= 0).any():
        return NAN
    velocity = np.stack([np.gradient(p[:, axis], t) for axis in range(2)], axis=1)
    centred = velocity - velocity.mean(axis=0)
    variation = float((centred**2).sum())
    if variation < MIN_SPEED_M_S**2 * len(t) * 0.25:
        return NAN
    return float((centred * (o - o.mean(axis=0))).sum() / variation)
