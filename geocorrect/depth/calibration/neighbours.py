"""The neighbours that a depth source may ask for: told with the work, read when needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

from geocorrect.errors import InputError
from geocorrect.records import Anchor, AnchorView

REMEMBERED = 4096
"""Anchors whose neighbours are remembered: records of a few hundred bytes, without pixels."""


class NeighbourCache:
    """Anchor → its neighbours of known pose. It is filled as work arrives and forgets what was not asked for lately.

    read: reads an anchor's pixels (and may cache them); raises InputError naming a file that cannot be read.
    """

    def __init__(self, read: Callable[[Anchor], AnchorView]) -> None:
        self._read = read
        self._known: OrderedDict[tuple[str, str], tuple[Anchor, ...]] = OrderedDict()

    def learn(self, neighbours: Mapping[str, tuple[Anchor, ...]], anchors: tuple[Anchor, ...]) -> None:
        """Remember the neighbours of anchors; neighbours: by anchor id, of some or all of them."""
        for anchor in (anchor for anchor in anchors if anchor.id in neighbours):
            self._known[_key(anchor)] = neighbours[anchor.id]
            self._known.move_to_end(_key(anchor))
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def records(self, anchor: Anchor) -> tuple[Anchor, ...]:
        """The neighbours of an anchor, best first; InputError where nobody said which they are."""
        try:
            return self._known[_key(anchor)]
        except KeyError:
            raise InputError(
                f"anchor {anchor.id}: its neighbours are not known here; depth from neighbours works with "
                "`geocorrect correct`, `run`, `localize` and `anchors calibrate`"
            ) from None

    def __call__(self, anchor: Anchor) -> list[AnchorView]:
        """The neighbours with their pixels."""
        return [self._read(neighbour) for neighbour in self.records(anchor)]


def _key(anchor: Anchor) -> tuple[str, str]:
    return anchor.alignment_id, anchor.id
