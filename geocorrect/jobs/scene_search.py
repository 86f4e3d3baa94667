"""The whole scene as candidates, for photos without a position; described by appearance before they are handed out."""

from __future__ import annotations

from dataclasses import dataclass, field

from geocorrect.config import Settings
from geocorrect.jobs.anchors.neighbour_table import NeighbourTable, ReadAnchors
from geocorrect.jobs.result_inputs import anchors_version
from geocorrect.records import Anchor, AnchorIndex
from geocorrect.workers.anchor_cache import read_anchor
from geocorrect.workers.backends import build_appearance, build_matcher


@dataclass(eq=False)
class SceneSearch:
    """What photos without a position are compared with: nothing, unless it is configured and the scene small enough.

    Anchors are described here and not by the worker that happens to meet the first such photo: it may take long, and
    no photo should run out of its time for it.
    """

    settings: Settings
    index: AnchorIndex
    read: ReadAnchors
    _anchors: tuple[Anchor, ...] | None = field(default=None, init=False)
    _neighbours: dict[str, tuple[Anchor, ...]] | None = field(default=None, init=False)

    @property
    def input(self) -> tuple[str, ...]:
        """What a result found by search rests on, for its input hash; empty when nothing is searched."""
        return (f"search {anchors_version(self.index)}",) if self._searches else ()

    def anchors(self) -> tuple[Anchor, ...]:
        """All anchors, or none."""
        if not self._searches:
            return ()
        if self._anchors is None:
            records = self.read(self.index.ids)
            self._anchors = tuple(records[name] for name in self.index.ids)
            retriever = build_appearance(self.settings, build_matcher(self.settings), read_anchor)
            assert retriever is not None
            retriever.prepare(self._anchors)
        return self._anchors

    def neighbours(self, table: NeighbourTable) -> dict[str, tuple[Anchor, ...]]:
        """The neighbours of all anchors, read once; empty where the depth source asks for none."""
        if self._neighbours is None:
            self._neighbours = table.of(self.anchors())
        return self._neighbours

    @property
    def _searches(self) -> bool:
        return self.settings.retrieve.searches_scene(len(self.index.ids))
