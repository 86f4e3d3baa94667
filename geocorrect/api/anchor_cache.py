"""Anchors as a worker sees them: pixels and depth, read once as long as they are near the front of the work."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import cast

from geocorrect.api.backends import build_depth
from geocorrect.config import Settings
from geocorrect.depth.base import DepthDeclaration, DepthSource, PairDepthSource
from geocorrect.depth.calibration.neighbours import NeighbourCache
from geocorrect.errors import InputError
from geocorrect.io.bounded_cache import BoundedCache
from geocorrect.io.masks import mask_beside
from geocorrect.io.pixels import read_image
from geocorrect.match.base import Matcher
from geocorrect.records import Anchor, AnchorView, DepthMap, ImageArray

Neighbours = Mapping[str, tuple[Anchor, ...]]
"""Anchor id → the neighbours that its depth is found from; empty where the depth source asks for none."""


class AnchorCache:
    """Reads anchors and their depth; memory is bounded by `batch.cached_anchors_mib`."""

    def __init__(self, settings: Settings, matcher: Matcher) -> None:
        """Make an empty cache; matcher: the one that matches the queries, neighbours are matched by it too."""
        limit_bytes = settings.batch.cached_anchors_mib * 2**20
        self._kept: BoundedCache[tuple[str, str], AnchorView | DepthMap] = BoundedCache(
            limit_bytes, _n_bytes, keep_newest=True
        )
        self.neighbours = NeighbourCache(self.view)
        self._masks = settings.localize.verify.masks
        self._needs_neighbours = settings.depth.needs_neighbours
        self.source = build_depth(settings, matcher, self.neighbours)

    def usable(self, anchors: tuple[Anchor, ...], neighbours: Neighbours) -> tuple[list[AnchorView], tuple[str, ...]]:
        """The anchors whose image and depth can be read, and a message for each of the others."""
        if self._needs_neighbours:
            self.neighbours.add(neighbours, anchors)
        views, unusable = [], []
        for anchor in anchors:
            try:
                view = self.view(anchor)
                if isinstance(self.source, PairDepthSource):
                    self.source.check(anchor, view.pixels)
                else:
                    self.depth(anchor, view.pixels)
            except InputError as error:
                unusable.append(f"anchor {anchor.id}: {error}")
            else:
                views.append(view)
        return views, tuple(unusable)

    def view(self, anchor: Anchor) -> AnchorView:
        """The anchor with its pixels; InputError naming the file."""
        view = self._kept.get_or_make(("view", anchor.id), partial(read_anchor, anchor, self._masks))
        return cast("AnchorView", view)

    @property
    def depth_source(self) -> DepthSource:
        """For `localize`: this cache, or the source itself where depth depends on the photo and is not kept here."""
        return self.source if isinstance(self.source, PairDepthSource) else self

    @property
    def fingerprint(self) -> str:
        """See `depth.base.DepthSource.fingerprint`."""
        return self.source.fingerprint

    @property
    def declaration(self) -> DepthDeclaration:
        """See `depth.base.DepthSource.declaration`."""
        return self.source.declaration

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """See `depth.base.DepthSource.depth`."""
        found = self._kept.get_or_make(("depth", anchor.id), partial(self.source.depth, anchor, image))
        return cast("DepthMap", found)


def read_anchor(anchor: Anchor, masks: str = "") -> AnchorView:
    """The anchor with its pixels, checked against its camera, and its mask; InputError naming the file.

    Args:
        anchor: its record.
        masks: name of the set of masks; empty: none are read.
    """
    pixels = read_image(anchor.path)
    camera = anchor.camera
    if pixels.shape[:2] != (camera.height, camera.width):
        raise InputError(
            f"{anchor.path}: {pixels.shape[1]}×{pixels.shape[0]} pixels, but its calibration is for "
            f"{camera.width}×{camera.height}"
        )
    return AnchorView(anchor, pixels, mask_beside(anchor.path, masks) if masks else None)


def _n_bytes(kept: AnchorView | DepthMap) -> int:
    if isinstance(kept, AnchorView):
        return kept.pixels.nbytes + (0 if kept.mask is None else kept.mask.nbytes)
    return kept.n_bytes
