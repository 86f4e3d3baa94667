"""One image from task to result: read pixels, run the method, return a value. The only state is models and caches."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from geocorrect.batch.backends import build_depth, build_matcher
from geocorrect.config import Settings
from geocorrect.depth.base import DepthSource
from geocorrect.errors import InputError, Reason
from geocorrect.imagery import read_image
from geocorrect.localize.correct import correct_image
from geocorrect.records import Anchor, AnchorView, DepthMap, Image, ImageArray, Pair, Query, Rejection, Result

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Task:
    """One image to correct, with its candidate anchors, ranked. Everything a worker needs; it never sees the catalog.

    reported_enu_m: (3,) reported position in the scene's frame, all nan when unknown. heading_deg: best
    reported heading.
    """

    image: Image
    reported_enu_m: NDArray[np.float64]
    heading_deg: float
    pairs: tuple[Pair, ...]
    anchors: tuple[Anchor, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of a task. unusable_anchors: messages about anchor files that could not be read."""

    result: Result
    pairs: tuple[Pair, ...]
    unusable_anchors: tuple[str, ...] = ()


class Worker:
    """Loads models once and corrects one image after the other."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._matcher = build_matcher(settings)
        self._depth = _CachedDepth(build_depth(settings), settings.batch.cached_anchors)
        self._views: _Recent[AnchorView] = _Recent(settings.batch.cached_anchors)

    def __call__(self, task: Task) -> Outcome:
        """Correct one image. A bad image is a Rejection; a bad anchor is left out and reported."""
        query = _read_query(task)
        if isinstance(query, Rejection):
            return Outcome(query, task.pairs)
        views, unusable = self._read_anchors(task.anchors)
        if not views:
            missing = Rejection(task.image.id, Reason.NO_ANCHOR_NEARBY, "no anchor within reach is usable")
            return Outcome(missing, task.pairs, unusable)
        seed = _image_seed(self._settings.batch.seed, task.image.id)
        result = correct_image(query, views, self._matcher, self._depth, self._settings.localize, seed)
        return Outcome(result, task.pairs, unusable)

    def _read_anchors(self, anchors: tuple[Anchor, ...]) -> tuple[list[AnchorView], tuple[str, ...]]:
        """The anchors whose image and depth can be read, and a message for each of the others."""
        views, unusable = [], []
        for anchor in anchors:
            try:
                view = self._views.get(anchor.id, partial(_read_anchor, anchor))
                self._depth.depth(anchor, view.pixels)
            except InputError as error:
                unusable.append(f"anchor {anchor.id}: {error}")
            else:
                views.append(view)
        return views, tuple(unusable)


def _read_query(task: Task) -> Query | Rejection:
    """Pixels and camera of the photo, checked against each other, or the reason why it cannot be used."""
    image = task.image
    if image.problem is not None:
        return Rejection(image.id, image.problem, "set aside when it was harvested")
    if image.path is None or not image.path.is_file():
        return Rejection(image.id, Reason.IMAGE_MISSING, f"{image.path or 'not downloaded'}")
    if image.camera is None:
        return Rejection(image.id, Reason.CAMERA_UNSUPPORTED, "no usable intrinsics")
    try:
        pixels = read_image(image.path, image.exif_orientation)
    except InputError as error:
        return Rejection(image.id, Reason.IMAGE_UNREADABLE, str(error))
    if pixels.shape[:2] != (image.camera.height, image.camera.width):
        detail = f"file is {pixels.shape[1]}×{pixels.shape[0]}, camera {image.camera.width}×{image.camera.height}"
        return Rejection(image.id, Reason.CAMERA_UNSUPPORTED, detail)
    if image.reported is None:
        return Rejection(image.id, Reason.POSITION_MISSING, "the provider gave no usable position")
    if not task.anchors:
        return Rejection(image.id, Reason.NO_ANCHOR_NEARBY, "no anchor within the search radius")
    return Query(image.id, pixels, image.camera, task.reported_enu_m, task.heading_deg)


def _read_anchor(anchor: Anchor) -> AnchorView:
    pixels = read_image(anchor.path)
    camera = anchor.camera
    if pixels.shape[:2] != (camera.height, camera.width):
        raise InputError(
            f"{anchor.path}: {pixels.shape[1]}×{pixels.shape[0]} pixels, but its calibration is for "
            f"{camera.width}×{camera.height}"
        )
    return AnchorView(anchor, pixels)


def _image_seed(seed: int, image_id: str) -> int:
    """A seed of its own for every image, whatever the order of the work."""
    digest = hashlib.blake2b(f"{seed}/{image_id}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF


class _Recent(Generic[Value]):
    """The last `size` values that were asked for."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[str, Value] = OrderedDict()

    def get(self, key: str, make: Callable[[], Value]) -> Value:
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = self._values[key] = make()
        if len(self._values) > self._size:
            self._values.popitem(last=False)
        return value


class _CachedDepth:
    """A depth source that computes each anchor once as long as it is near the front of the work."""

    def __init__(self, source: DepthSource, size: int) -> None:
        self._source = source
        self._maps: _Recent[DepthMap] = _Recent(size)

    @property
    def fingerprint(self) -> str:
        return self._source.fingerprint

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        return self._maps.get(anchor.id, partial(self._source.depth, anchor, image))
