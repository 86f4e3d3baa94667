"""Results that hang on one record of an anchor: they count once something that does not rest on it confirms them.

Photos of one recording that were all localised from the same anchor agree with each other and with the motion, however
wrong its record is, or whichever copy of a façade they took it for. So the record may be wrong, by anything, or the
place, by the period of a façade. What knows the place to 0.3 m excludes both; what knows it to a metre excludes another
copy alone, and confirms a result whose records other results have tested.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from geocorrect.errors import Status
from geocorrect.localize.gate import SUPPORTING_INLIERS
from geocorrect.localize.independence import MAX_SHIFT_SIGMAS, needs_confirmation
from geocorrect.localize.options import GateOptions
from geocorrect.records import Correction, Result
from geocorrect.sequences.graph import Innovation, SequenceGraph

AGREES_DISTANCE = 4.0
"""Mahalanobis distance (6 degrees of freedom: 98.6 %) up to which a prediction confirms a result; between that and the
one of an outlier it says nothing."""
SHARP_SHARE = 0.6
"""The prediction's 68 % error over the one that would be accepted: at 0.3 m a result that is 1 m off does not pass."""
TELLS_COPIES_M = 1.0
"""68 % error up to which a prediction tells the copies of a façade apart (5 m is over seven standard deviations)."""
EXPLAINED_SIGMAS = 1.45
"""`contradiction_sigmas` up to which the anchors of a result agree within their errors (95 % of χ²₆)."""
Records = frozenset[str]
"""Ids of the anchors whose records a result hangs on; empty for one whose anchors can contradict each other."""


def records_of(result: Result | None, gate: GateOptions) -> Records:
    """The anchors that a result for review hangs on, when too few to contradict each other support it (by `gate`)."""
    if not isinstance(result, Correction) or result.status is not Status.REVIEW:
        return frozenset()
    if not needs_confirmation(result.evidence.gate, gate):
        return frozenset()
    return frozenset(a.anchor_id for a in result.evidence.anchors if a.n_inliers >= SUPPORTING_INLIERS)


def records_tested_by(results: Iterable[Result | None]) -> frozenset[str]:
    """Anchors whose records an accepted result has tested: others supported it, too, and none contradicted another."""
    return frozenset(
        anchor.anchor_id
        for result in results
        if isinstance(result, Correction) and result.status is Status.ACCEPTED
        for found in [result.evidence.gate]
        if found.get("independent_anchors", 0.0) >= 2
        and not found.get("contradiction_sigmas", 0.0) > EXPLAINED_SIGMAS
        and not found.get("record_shift_sigmas", 0.0) > MAX_SHIFT_SIGMAS
        for anchor in result.evidence.anchors
        if anchor.n_inliers >= SUPPORTING_INLIERS and anchor.weight > 0.0
    )


@dataclass(frozen=True, eq=False)
class Confirmation:
    """What results that rest on other anchors say about those that need to be confirmed, by image."""

    innovations: Mapping[int, Innovation | None]
    """Against the prediction by the others; None where they do not fix the image."""
    contradicted: frozenset[int]
    """Those that the others refute."""
    confirmed: frozenset[int]
    """Those that the others, or another source, agree with."""

    @property
    def unconfirmed(self) -> frozenset[int]:
        """Those that nothing says enough about."""
        return frozenset(self.innovations.keys() - self.confirmed - self.contradicted)


def confirm(
    graph: SequenceGraph,
    records: Sequence[Records],
    contradicts: Callable[[Innovation], bool],
    is_good: Callable[[Innovation, float], bool],
    sharp_m: float,
    tested: Collection[int] = (),
    placed: Collection[int] = (),
) -> Confirmation:
    """Ask for every result with records what the graph predicts without all results that hang on any of the same.

    First without all that hang on any: those on other anchors may be on the same copy of a façade. What that refutes
    counts for no other, and a result whose records are tested is confirmed by that alone.

    Args:
        graph: adjusted; it is the same afterwards.
        records: of each image.
        contradicts: whether an innovation refutes its result.
        is_good: whether a prediction's position is known to so many metres, and its rotation well enough.
        sharp_m: 68 % error of a prediction that excludes whatever may be wrong.
        tested: images whose records other results have tested.
        placed: images whose results another source of positions confirms.
    """
    hanging = [i for i, r in enumerate(records) if r]
    apart = graph.innovations_without(hanging, hanging)
    refuted = {i for i, one in apart.items() if one is not None and contradicts(one)}
    found: dict[int, Innovation | None] = {i: apart[i] for i in refuted}
    for shared in sorted({records[i] for i in hanging}, key=sorted):
        out = [i for i in hanging if records[i] & shared or i in refuted]
        found.update(graph.innovations_without(out, [i for i in hanging if records[i] == shared and i not in refuted]))
    confirmed = {i for i, one in found.items() if one and _agrees(one) and is_good(one, sharp_m)} | set(placed)
    confirmed |= {i for i in tested if (one := apart[i]) and _agrees(one) and is_good(one, TELLS_COPIES_M)}
    contradicted = frozenset(i for i, one in found.items() if one is not None and contradicts(one))
    return Confirmation(found, contradicted, frozenset(confirmed) - contradicted)


def _agrees(found: Innovation) -> bool:
    return found.distance <= AGREES_DISTANCE
