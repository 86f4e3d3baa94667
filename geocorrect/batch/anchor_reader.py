"""Anchors as a worker sees them: pixels and depth, read once as long as they are near the front of the work."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Generic, TypeVar

from geocorrect.batch.backends import build_depth
from geocorrect.config import Settings
from geocorrect.depth.base import DepthDeclaration, DepthSource
from geocorrect.depth.neighbours import NeighbourBook
from geocorrect.errors import InputError
from geocorrect.imagery import read_image
from geocorrect.masks import mask_beside
from geocorrect.match.base import Matcher
from geocorrect.records import Anchor, AnchorView, DepthMap, ImageArray

Value = TypeVar("Value")
Neighbours = Mapping[str, tuple[Anchor, ...]]
"""Anchor id → the neighbours that tell its depth; empty where the depth source asks for none."""


class AnchorReader:
    """Reads anchors and their depth; memory is bounded by `batch.cached_anchors`."""

    def __init__(self, settings: Settings, matcher: Matcher) -> None:
        """matcher: the one that matches the queries; neighbours are matched by it too."""
        size = settings.batch.cached_anchors
        self._views: Recent[AnchorView] = Recent(size)
        self.book = NeighbourBook(self.view)
        self._masks = settings.localize.verify.masks
        self._needs_neighbours = settings.depth.needs_neighbours
        self.depth = CachedDepth(build_depth(settings, matcher, self.book), size)

    def usable(self, anchors: tuple[Anchor, ...], neighbours: Neighbours) -> tuple[list[AnchorView], tuple[str, ...]]:
        """The anchors whose image and depth can be read, and a message for each of the others."""
        if self._needs_neighbours:
            self.book.learn(neighbours, anchors)
        views, unusable = [], []
        for anchor in anchors:
            try:
                view = self.view(anchor)
                self.depth.depth(anchor, view.pixels)
            except InputError as error:
                unusable.append(f"anchor {anchor.id}: {error}")
            else:
                views.append(view)
        return views, tuple(unusable)

    def view(self, anchor: Anchor) -> AnchorView:
        """The anchor with its pixels; InputError naming the file."""
        return self._views.get(anchor.id, partial(read_anchor, anchor, self._masks))


def read_anchor(anchor: Anchor, masks: str = "") -> AnchorView:
    """The anchor with its pixels, checked against its camera, and its mask; InputError naming the file.

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


class Recent(Generic[Value]):
    """The last `size` values that were asked for."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[str, Value] = OrderedDict()

    def get(self, key: str, make: Callable[[], Value]) -> Value:
        """The value of the key, made when it is not at hand."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = self._values[key] = make()
        if len(self._values) > self._size:
            self._values.popitem(last=False)
        return value


class CachedDepth:
    """A depth source that computes each anchor once as long as it is near the front of the work."""

    def __init__(self, source: DepthSource, size: int) -> None:
        self._source = source
        self._maps: Recent[DepthMap] = Recent(size)

    @property
    def fingerprint(self) -> str:
        """See `depth.base.DepthSource.fingerprint`."""
        return self._source.fingerprint

    @property
    def declaration(self) -> DepthDeclaration:
        """See `depth.base.DepthSource.declaration`."""
        return self._source.declaration

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """See `depth.base.DepthSource.depth`."""
        return self._maps.get(anchor.id, partial(self._source.depth, anchor, image))
