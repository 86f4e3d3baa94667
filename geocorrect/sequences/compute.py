"""One sequence from its photos and their own results; pure: no catalog, no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from geocorrect.catalog.sequences import SequenceFinding
from geocorrect.errors import Status
from geocorrect.geometry.frame import Frame
from geocorrect.records import NAN, Correction, Result
from geocorrect.sequences.adjust import SequenceSolution, adjust_sequence
from geocorrect.sequences.decide import Change, Member, SequenceResult, sequence_results
from geocorrect.sequences.findings import SequenceFindings, sequence_findings
from geocorrect.sequences.input import SequencePhotos
from geocorrect.sequences.motion import Motion, motion_of
from geocorrect.sequences.options import SequenceOptions


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
    photos: SequencePhotos, own: Mapping[str, Result], frame: Frame, options: SequenceOptions
) -> ComputedSequence:
    """A sequence from its photos and their own results by image id; frame: of the scene."""
    motion = motion_of(photos.hints, options)
    if motion is None:
        return ComputedSequence("nothing is known of the way between its photos")
    ids = [photos.ids[i] for i in motion.members]
    poses = [r.world_from_cam if isinstance(r := own.get(image_id), Correction) else None for image_id in ids]
    solution = adjust_sequence(motion, poses, options)
    if solution is None:
        return ComputedSequence("too few results agree", motion.source_name)
    members = [
        Member(image_id, own.get(image_id), photos.reported_enu_m[i])
        for image_id, i in zip(ids, motion.members, strict=True)
    ]
    results = tuple(sequence_results(members, solution, motion.source_name, options))
    findings = _device_findings(photos, motion, solution, results, frame)
    return ComputedSequence("", motion.source_name, solution, results, findings)


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
        if (np.isfinite(pose.weight) and not pose.is_outlier) or photos.ids[i] in placed
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
