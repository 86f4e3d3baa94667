"""One photo from task to result: read pixels, run the method, return a value. The only state is models and caches."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.config import Settings
from geocorrect.errors import InputError, Reason
from geocorrect.io.masks import mask_beside
from geocorrect.io.pixels import read_image
from geocorrect.localize.correct import LocalizationResult, localize
from geocorrect.localize.focal_prior import focal_prior
from geocorrect.records import Anchor, AnchorView, Image, Pair, Query, Rejection, Result
from geocorrect.retrieve.by_appearance import Choice
from geocorrect.workers.anchor_cache import AnchorCache, Neighbours
from geocorrect.workers.backends import (
    build_appearance,
    build_estimator,
    build_focal_network,
    build_matcher,
    further_fingerprints,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Task:
    """One image to correct, with its ranked candidate anchors. All that a worker needs; it never sees the catalog."""

    image: Image
    reported_enu_m: NDArray[np.float64]
    """(3,) reported position in the scene's frame, all nan when unknown."""
    heading_deg: float
    """Best reported heading."""
    pairs: tuple[Pair, ...]
    anchors: tuple[Anchor, ...]
    """Those of the pairs, in their order; without pairs, a whole scene to be searched."""
    neighbours: Neighbours = field(default_factory=dict)
    """By anchor id, where the depth source uses them."""
    input_hash: str = ""
    """Of what the result depends on (`jobs.result_inputs`)."""

    @property
    def key(self) -> str:
        """Id of the image."""
        return self.image.id

    def failed(self, reason: Reason, detail: str) -> Outcome:
        """The outcome when no worker can finish the task."""
        return Outcome(Rejection(self.image.id, reason, detail), self.pairs, (), self.input_hash)


@dataclass(frozen=True)
class Outcome:
    """What came of a task."""

    result: Result
    pairs: tuple[Pair, ...]
    unusable_anchors: tuple[str, ...] = ()
    """Messages about anchor files that could not be read."""
    input_hash: str = ""
    """The task's."""
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    """Processor time per stage of a cascade that was tried; empty without a cascade."""


@dataclass(frozen=True, eq=False)
class Localization:
    """A result with what led to it."""

    found: LocalizationResult
    pairs: tuple[Pair, ...]
    views: tuple[AnchorView, ...] = ()
    """The anchors that were matched with the photo."""
    unusable_anchors: tuple[str, ...] = ()
    """Messages about anchor files that could not be read."""


class Worker:
    """Loads models once and corrects one image after the other."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.matcher = build_matcher(settings)
        self.anchors = AnchorCache(settings, self.matcher)
        self.appearance = build_appearance(settings, self.matcher, self.anchors.view)
        self.estimator = build_estimator(settings, self.anchors.view)
        self.focal_network = build_focal_network(settings)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of matcher, depth source and further networks, weights included."""
        further = further_fingerprints(self.estimator, self.focal_network)
        return self.matcher.fingerprint, self.anchors.fingerprint, *further

    def __call__(self, task: Task) -> Outcome:
        """Correct one image. A bad image is a Rejection; a bad anchor is left out and reported."""
        query = self.read(task)
        if isinstance(query, Rejection):
            return Outcome(query, task.pairs, (), task.input_hash)
        found = self.localize(task, query)
        return Outcome(found.found.result, found.pairs, found.unusable_anchors, task.input_hash, found.found.cpu_s)

    def read(self, task: Task) -> Query | Rejection:
        """Pixels, mask and camera of the photo, checked against each other, or the reason why it cannot be used."""
        image, masks = task.image, self._settings.localize.verify.masks
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
        return Query(image.id, pixels, image.camera, task.reported_enu_m, task.heading_deg, mask)

    def localize(self, task: Task, query: Query) -> Localization:
        """The photo of a task, read by `read`, against the task's anchors."""
        if not task.anchors:
            return Localization(LocalizationResult(_without_anchors(task)), task.pairs)
        chosen = self._choose(task, query)
        views, unusable = self.anchors.usable(chosen.anchors, task.neighbours)
        unusable = tuple(dict.fromkeys([*chosen.unusable, *unusable]))
        if not views:
            missing = Rejection(task.image.id, Reason.NO_ANCHOR_NEARBY, "no anchor within reach is usable")
            return Localization(LocalizationResult(missing), chosen.pairs, (), unusable)
        if self.focal_network is not None:
            prior = self._settings.camera.prior
            query = replace(query, camera=focal_prior(query.pixels, query.camera, self.focal_network, options=prior))
        seed = _image_seed(self._settings.batch.seed, task.image.id)
        found = localize(query, views, self.matcher, self.anchors, self._settings.localize, seed, self.estimator)
        return Localization(found, chosen.pairs, tuple(views), unusable)

    def _choose(self, task: Task, query: Query) -> Choice:
        """The candidates to match: those of the task, or the most alike of them."""
        if self.appearance is None:
            return Choice(task.pairs, task.anchors)
        if task.pairs:
            return self.appearance.rerank(query, task.pairs, task.anchors)
        return self.appearance.search(query, task.anchors)


def _without_anchors(task: Task) -> Rejection:
    if task.image.reported is None:
        return Rejection(task.image.id, Reason.POSITION_MISSING, "the provider gave no usable position")
    return Rejection(task.image.id, Reason.NO_ANCHOR_NEARBY, "no anchor within the search radius")


def _image_seed(seed: int, image_id: str) -> int:
    """A seed of its own for every image, whatever the order of the work."""
    digest = hashlib.blake2b(f"{seed}/{image_id}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF
