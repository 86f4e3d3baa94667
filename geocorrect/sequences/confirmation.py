"""Results that hang on one record of an anchor: they count once results that rest on other anchors confirm them.

Photos of one recording that were all localised from the same anchor agree with each other and with the motion, however
wrong its record is, or whichever copy of a façade they took it for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from geocorrect.errors import Status
from geocorrect.localize.gate import SUPPORTING_INLIERS
from geocorrect.localize.independence import needs_confirmation
from geocorrect.localize.options import GateOptions
from geocorrect.records import Correction, Result
from geocorrect.sequences.graph import Innovation, SequenceGraph

AGREES_DISTANCE = 4.0
"""Mahalanobis distance (6 degrees of freedom: 98.6 %) up to which a prediction confirms a result; between that and the
one of an outlier it says nothing."""
SHARP_SHARE = 0.6
"""The prediction's 68 % error over the one that would be accepted: at 0.3 m a result that is 1 m off does not pass."""
Records = frozenset[str]
"""Ids of the anchors whose records a result hangs on; empty for one whose anchors can contradict each other."""


def records_of(result: Result | None, gate: GateOptions) -> Records:
    """The anchors that a result for review hangs on, when too few to contradict each other support it (by `gate`)."""
    if not isinstance(result, Correction) or result.status is not Status.REVIEW:
        return frozenset()
    if not needs_confirmation(result.evidence.gate, gate):
        return frozenset()
    return frozenset(a.anchor_id for a in result.evidence.anchors if a.n_inliers >= SUPPORTING_INLIERS)


@dataclass(frozen=True, eq=False)
class Confirmation:
    """What results that rest on other anchors say about those that need to be confirmed, by image."""

    innovations: Mapping[int, Innovation | None]
    """Against the prediction by the others; None where they do not fix the image."""
    contradicted: frozenset[int]
    """Those that the others refute."""
    unconfirmed: frozenset[int]
    """Those that the others say too little about."""


def confirm(
    graph: SequenceGraph,
    records: Sequence[Records],
    contradicts: Callable[[Innovation], bool],
    is_sharp: Callable[[Innovation], bool],
) -> Confirmation:
    """Ask for every result with records what the graph predicts without all results that hang on any of the same.

    Args:
        graph: adjusted; it is the same afterwards.
        records: of each image.
        contradicts: whether an innovation refutes its result.
        is_sharp: whether its prediction is good enough to confirm a pose.
    """
    found: dict[int, Innovation | None] = {}
    for shared in sorted({r for r in records if r}, key=sorted):
        out = [i for i, r in enumerate(records) if r & shared]
        asked = [i for i in out if records[i] == shared]
        found.update(graph.innovations_without(out, asked))
    contradicted = frozenset(i for i, one in found.items() if one is not None and contradicts(one))
    confirmed = {i for i, one in found.items() if one and is_sharp(one) and one.distance <= AGREES_DISTANCE}
    unconfirmed = frozenset(found.keys() - confirmed - contradicted)
    return Confirmation(found, contradicted, unconfirmed)
