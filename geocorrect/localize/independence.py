"""How many anchors can contradict each other: what only one record says, nothing in the photo can check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from geocorrect.localize.joint.lens import DOUBTED_LENS_SIGMAS
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import GateOptions
from geocorrect.records import NAN, Anchor

RIG_M = 2.0
"""Cameras of one instant that are no further apart are on one vehicle: one record gave both their poses."""
MAX_SHIFT_SIGMAS = 1.5
"""Correction of the anchors' positions, in sigmas, above which they contradict each other: 98 % of three anchors whose
noise is as stated stay below (9 degrees of freedom)."""
REFUTED_SHIFT_SIGMAS = 3.0
"""Correction above which no record is believed that nothing but other records can check."""
MAX_SCALE_ERROR = 0.05
"""Depth whose common log error is larger (a network's, not calibrated) does not fix the scale."""


def independent_anchors(
    observations: Sequence[Observations],
    supporting: NDArray[np.bool_],
    record_shift_sigmas: float = NAN,
    lens_sigmas: float = NAN,
) -> int:
    """Records among the supporting (K,) anchors, less one where nothing but these records gives the scale.

    Less another where their positions also contradict each other by more than their stated noise: of three in a row
    one is wrong then, and which one, and by how much, looks the same as another scale. Where they do so by several
    times their stated noise, or where the photo also wants another lens than the stated one, all claims are
    contradicted at once: by traffic that keeps most of the anchors' pace, whose small steps from picture to picture are
    stretched to those of the records, and their errors with them. Whatever the number of records, they cannot tell
    which is right.

    Two anchors that measure depth from each other take any distance between them for the right one. Depth that is
    measured, or comes from an anchor that the photo was not matched with, gives the scale apart from them.
    """
    asked = {o.anchor.id for o in observations}
    heard = [o for o, supports in zip(observations, supporting, strict=True) if supports]
    records = count_records([o.anchor for o in heard])
    scale_is_known = any(
        o.has_depth.any() and o.common_log_sigma <= MAX_SCALE_ERROR and (not o.depth_from or o.depth_from - asked)
        for o in heard
    )
    if scale_is_known or records < 2:
        return records
    contradict = record_shift_sigmas > MAX_SHIFT_SIGMAS
    if record_shift_sigmas > REFUTED_SHIFT_SIGMAS or (contradict and lens_sigmas >= DOUBTED_LENS_SIGMAS):
        return 1
    return max(records - 1 - contradict, 1)


def count_records(anchors: Sequence[Anchor]) -> int:
    """How many records gave the anchors' poses: cameras of one vehicle at one instant share theirs."""
    records: list[Anchor] = []
    for anchor in anchors:
        if not any(_is_same_record(anchor, other) for other in records):
            records.append(anchor)
    return len(records)


def needs_confirmation(statistics: Mapping[str, float], options: GateOptions) -> bool:
    """Whether something else has to confirm the pose: too few anchors can contradict each other, or one does.

    A minority that puts the photo elsewhere may be the one that is right: the others may see the same copy of a façade.
    """
    is_contested = options.min_independent_anchors > 1 and statistics.get("contested_m", NAN) > options.distant_m
    return bool(is_contested or statistics.get("independent_anchors", NAN) < options.min_independent_anchors)


def _is_same_record(first: Anchor, second: Anchor) -> bool:
    apart_m = np.linalg.norm(first.world_from_cam.translation_m - second.world_from_cam.translation_m)
    same_instant = first.captured_at is not None and first.captured_at == second.captured_at
    return bool(first.dataset == second.dataset and same_instant and apart_m < RIG_M)
