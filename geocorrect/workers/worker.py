"""One image from task to result: read pixels, run the method, return a value. The only state is models and caches."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geocorrect.config import Settings
from geocorrect.errors import InputError, Reason
from geocorrect.io.masks import mask_beside
from geocorrect.io.pixels import read_image
from geocorrect.localize.correct import correct_image
from geocorrect.records import Anchor, Image, Pair, Query, Rejection, Result
from geocorrect.retrieve.by_appearance import Choice
from geocorrect.workers.anchor_cache import AnchorCache, Neighbours
from geocorrect.workers.backends import build_appearance, build_matcher


@dataclass(frozen=True, eq=False)
class Task:
    """One image to correct, with its candidate anchors, ranked. Everything a worker needs; it never sees the catalog.

    reported_enu_m: (3,) reported position in the scene's frame, all nan when unknown. heading_deg: best
    reported heading. neighbours: by anchor id, where the depth source looks at them. input_hash: of what the result
    rests on (`inputs`). Anchors without pairs are a whole scene, to be searched for a photo without a position.
    """

    image: Image
    reported_enu_m: NDArray[np.float64]
    heading_deg: float
    pairs: tuple[Pair, ...]
    anchors: tuple[Anchor, ...]
    neighbours: Neighbours = field(default_factory=dict)
    input_hash: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a task. unusable_anchors: messages about anchor files that could not be read.

    input_hash: the task's.
    """

    result: Result
    pairs: tuple[Pair, ...]
    unusable_anchors: tuple[str, ...] = ()
    input_hash: str = ""


class Worker:
    """Loads models once and corrects one image after the other."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._matcher = build_matcher(settings)
        self._anchors = AnchorCache(settings, self._matcher)
        self._appearance = build_appearance(settings, self._matcher, self._anchors.view)

    @property
    def fingerprints(self) -> tuple[str, str]:
        """Of matcher and depth source, weights included."""
        return self._matcher.fingerprint, self._anchors.depth.fingerprint

    def __call__(self, task: Task) -> Outcome:
        """Correct one image. A bad image is a Rejection; a bad anchor is left out and reported."""
        query = _read_query(task, self._settings.localize.verify.masks)
        if isinstance(query, Rejection):
            return Outcome(query, task.pairs)
        chosen = self._choose(task, query)
        views, unusable = self._anchors.usable(chosen.anchors, task.neighbours)
        unusable = tuple(dict.fromkeys([*chosen.unusable, *unusable]))
        if not views:
            missing = Rejection(task.image.id, Reason.NO_ANCHOR_NEARBY, "no anchor within reach is usable")
            return Outcome(missing, chosen.pairs, unusable)
        seed = image_seed(self._settings.batch.seed, task.image.id)
        result = correct_image(query, views, self._matcher, self._anchors.depth, self._settings.localize, seed)
        return Outcome(result, chosen.pairs, unusable)

    def _choose(self, task: Task, query: Query) -> Choice:
        """The candidates to match: those of the task, or the most alike of them."""
        if self._appearance is None:
            return Choice(task.pairs, task.anchors)
        if task.pairs:
            return self._appearance.rerank(query, task.pairs, task.anchors)
        return self._appearance.search(query, task.anchors)


def _read_query(task: Task, masks: str) -> Query | Rejection:
    """Pixels, mask and camera of the photo, checked against each other, or the reason why it cannot be used."""
    image = task.image
    if image.problem is not None and not (image.problem is Reason.POSITION_MISSING and task.anchors):
        return Rejection(image.id, image.problem, "set aside when it was harvested")
    if image.path is None or not image.path.is_file():
        return Rejection(image.id, Reason.IMAGE_MISSING, f"{image.path or 'not downloaded'}")
    if image.camera is None:
        return Rejection(image.id, Reason.CAMERA_UNSUPPORTED, "no usable intrinsics")
    try:
        pixels = read_image(image.path, image.exif_orientation)
        mask = mask_beside(image.path, masks, image.exif_orientation) if masks else None
    except InputError as error:
        return Rejection(image.id, Reason.IMAGE_UNREADABLE, str(error))
    if pixels.shape[:2] != (image.camera.height, image.camera.width):
        detail = f"file is {pixels.shape[1]}×{pixels.shape[0]}, camera {image.camera.width}×{image.camera.height}"
        return Rejection(image.id, Reason.CAMERA_UNSUPPORTED, detail)
    if not task.anchors and image.reported is None:
        return Rejection(image.id, Reason.POSITION_MISSING, "the provider gave no usable position")
    if not task.anchors:
        return Rejection(image.id, Reason.NO_ANCHOR_NEARBY, "no anchor within the search radius")
    return Query(image.id, pixels, image.camera, task.reported_enu_m, task.heading_deg, mask)


def image_seed(seed: int, image_id: str) -> int:
    """A seed of its own for every image, whatever the order of the work."""
    digest = hashlib.blake2b(f"{seed}/{image_id}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF
