"""Anchors as a worker sees them: pixels and depth, read once as long as they are near the front of the work."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from geocorrect.config import Settings
from geocorrect.depth.base import DepthDeclaration, DepthSource
from geocorrect.depth.calibration.neighbours import NeighbourCache
from geocorrect.errors import InputError
from geocorrect.io.masks import mask_beside
from geocorrect.io.pixels import read_image
from geocorrect.match.base import Matcher
from geocorrect.records import Anchor, AnchorView, DepthMap, ImageArray
from geocorrect.workers.backends import build_depth

Value = TypeVar("Value")
Neighbours = Mapping[str, tuple[Anchor, ...]]
"""Anchor id → the neighbours that tell its depth; empty where the depth source asks for none."""


class AnchorCache:
    """Reads anchors and their depth; memory is bounded by `batch.cached_anchors_mib`."""

    def __init__(self, settings: Settings, matcher: Matcher) -> None:
        """matcher: the one that matches the queries; neighbours are matched by it too."""
        space = MemoryBudget(settings.batch.cached_anchors_mib * 2**20)
        self._views = Recent(space, _view_bytes)
        self.book = NeighbourCache(self.view)
        self._masks = settings.localize.verify.masks
        self._needs_neighbours = settings.depth.needs_neighbours
        self.depth = CachedDepth(build_depth(settings, matcher, self.book), space)

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
    """The values that were asked for last, as many as fit into a space that several of these may share."""

    def __init__(self, space: MemoryBudget, size_of: Callable[[Value], int]) -> None:
        self._space, self._size_of = space, size_of
        self._values: dict[str, Value] = {}

    def get(self, key: str, make: Callable[[], Value]) -> Value:
        """The value of the key, made when it is not at hand."""
        if key not in self._values:
            value = make()  # may ask for others
            self._values[key] = value
            self._space.put((id(self), key), self._size_of(value), lambda: self._values.pop(key))
            return value
        self._space.touch((id(self), key))
        return self._values[key]


class MemoryBudget:
    """Bytes that values may take together; the one used longest ago goes first, the newest one stays."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes, self.used_bytes = limit_bytes, 0
        self._entries: OrderedDict[tuple[int, str], tuple[int, Callable[[], object]]] = OrderedDict()

    def put(self, key: tuple[int, str], n_bytes: int, drop: Callable[[], object]) -> None:
        """Note a new value; drop: forgets it."""
        self._entries[key] = (n_bytes, drop)
        self.used_bytes += n_bytes
        while self.used_bytes > self._limit_bytes and len(self._entries) > 1:
            _, (freed, forget) = self._entries.popitem(last=False)
            self.used_bytes -= freed
            forget()

    def touch(self, key: tuple[int, str]) -> None:
        """Note that a value was used."""
        self._entries.move_to_end(key)


def _view_bytes(view: AnchorView) -> int:
    return view.pixels.nbytes + (0 if view.mask is None else view.mask.nbytes)


def _depth_bytes(depth: DepthMap) -> int:
    arrays = (depth.z_m, depth.samples_px, depth.samples_z_m, depth.log_sigma)
    return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))


class CachedDepth:
    """A depth source that computes each anchor once as long as it is near the front of the work."""

    def __init__(self, source: DepthSource, space: MemoryBudget) -> None:
        self._source = source
        self._maps = Recent(space, _depth_bytes)

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
