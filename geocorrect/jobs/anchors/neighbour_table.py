"""The neighbours of anchors, looked up in the catalog: what tasks carry, because workers never see the catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from geocorrect.config import Settings
from geocorrect.records import Anchor, AnchorIndex
from geocorrect.retrieve.neighbours import NeighbourFinder
from geocorrect.retrieve.spatial import AnchorPositions

ReadAnchors = Callable[[Sequence[str]], Mapping[str, Anchor]]
"""Anchors by id, as the catalog gives them."""


class NeighbourTable:
    """Finds and reads neighbours; gives nothing at all when the configured depth source asks for none."""

    def __init__(self, settings: Settings, index: AnchorIndex, read: ReadAnchors) -> None:
        sites = AnchorPositions(index.ids, index.enu_m, index.heading_deg)
        self._read = read
        self._finder = None
        if settings.depth.needs_neighbours:
            self._finder = NeighbourFinder(sites, index.alignment_ids, settings.depth.neighbours)

    def of(self, anchors: Iterable[Anchor]) -> dict[str, tuple[Anchor, ...]]:
        """Anchor id → neighbours, in one read."""
        if self._finder is None:
            return {}
        ids = {anchor.id: self._finder.of(anchor.id) for anchor in anchors}
        records = self._read(sorted({name for names in ids.values() for name in names}))
        return {anchor_id: tuple(records[name] for name in names) for anchor_id, names in ids.items()}
