"""How many anchors can contradict each other: what only one record says, nothing in the photo can check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from geocorrect.localize.observations import Observations
from geocorrect.localize.options import GateOptions
from geocorrect.records import NAN, Anchor

RIG_M = 2.0
"""Cameras of one instant that are no further apart are on one vehicle: one record gave both their poses."""
MAX_SHIFT_SIGMAS = 1.5
"""Correction of the anchors' positions, in sigmas, above which they contradict each other: 98 % of three anchors whose
noise is as stated stay below (9 degrees of freedom)."""
MAX_SCALE_ERROR = 0.05
"""Depth whose common log error is larger (a network's, not calibrated) does not fix the scale."""


def independent_anchors(
    observations: Sequence[Observations], supporting: NDArray[np.bool_], record_shift_sigmas: float = NAN
) -> int:
    """Records among the supporting (K,) anchors, less one where nothing but these records gives the scale.

    Less another where their positions also contradict each other by more than their stated noise: of three in a row
    one is wrong then, and which one, and by how much, looks the same as another scale.

    Two anchors that measure depth from each other take any distance between them for the right one. Depth that is
    measured, or comes from an anchor that the photo was not matched with, gives the scale apart from them.
    """
    asked = {o.anchor.id for o in observations}
    records: list[Anchor] = []
    scale_is_known = False
    for o, supports in zip(observations, supporting, strict=True):
        if not supports:
            continue
        if not any(_is_same_record(o.anchor, other) for other in records):
            records.append(o.anchor)
        outside = not o.depth_from or bool(o.depth_from - asked)
        scale_is_known |= bool(o.has_depth.any()) and o.common_log_sigma <= MAX_SCALE_ERROR and outside
    if scale_is_known or len(records) < 2:
        return len(records)
    return max(len(records) - 1 - (record_shift_sigmas > MAX_SHIFT_SIGMAS), 1)


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
