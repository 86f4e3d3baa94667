"""The neighbours that a depth source may ask for: recorded as work arrives, their pixels read when needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from geocorrect.errors import InputError
from geocorrect.io.bounded_cache import BoundedCache
from geocorrect.records import Anchor, AnchorView

MAX_ANCHORS = 4096
"""Anchors whose neighbours are remembered: records of a few hundred bytes, without pixels."""


class NeighbourCache:
    """Anchor → its neighbours of known pose, for the anchors that were added or asked for lately."""

    def __init__(self, read: Callable[[Anchor], AnchorView]) -> None:
        """read: reads an anchor's pixels (and may cache them); raises InputError naming a file that cannot be read."""
        self._read = read
        self._known: BoundedCache[tuple[str, str], tuple[Anchor, ...]] = BoundedCache(MAX_ANCHORS)

    def add(self, neighbours: Mapping[str, tuple[Anchor, ...]], anchors: tuple[Anchor, ...]) -> None:
        """Remember the neighbours of anchors; neighbours: by anchor id, of some or all of them."""
        for anchor in anchors:
            if anchor.id in neighbours:
                self._known.put((anchor.alignment_id, anchor.id), neighbours[anchor.id])

    def records(self, anchor: Anchor) -> tuple[Anchor, ...]:
        """The neighbours of an anchor, best first; InputError where they were not added."""
        known = self._known.get((anchor.alignment_id, anchor.id))
        if known is None:
            raise InputError(
                f"anchor {anchor.id}: its neighbours are not known here; depth from neighbours works with "
                "`geocorrect correct`, `run`, `localize` and `anchors calibrate`"
            )
        return known

    def __call__(self, anchor: Anchor) -> list[AnchorView]:
        """The neighbours with their pixels."""
        return [self._read(neighbour) for neighbour in self.records(anchor)]
