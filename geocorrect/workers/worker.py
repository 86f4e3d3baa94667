"""One photo of a batch from task to outcome; the failure of one photo is a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geocorrect.api.anchor_cache import Neighbours
from geocorrect.api.photo import PhotoLocalizer
from geocorrect.config import Settings
from geocorrect.errors import Reason
from geocorrect.records import Anchor, CameraMotion, Image, Pair, Rejection, Result


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
    """Of what the result depends on (`Scene.input_hash`)."""
    motion: CameraMotion | None = None
    """As in `Query`."""

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


class Worker:
    """Corrects one image of a batch after the other; what it knows of the method is `api.photo`."""

    def __init__(self, settings: Settings) -> None:
        self.photos = PhotoLocalizer(settings)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of matcher, depth source and further networks, weights included."""
        return self.photos.fingerprints

    def __call__(self, task: Task) -> Outcome:
        """Correct one image. A bad image is a Rejection; a bad anchor is left out and reported."""
        image = task.image
        if image.problem is not None and not (image.problem is Reason.POSITION_MISSING and task.anchors):
            return task.failed(image.problem, "set aside when it was harvested")
        query = self.photos.read(image, task.reported_enu_m, task.heading_deg, task.motion)
        if isinstance(query, Rejection):
            return Outcome(query, task.pairs, (), task.input_hash)
        if not task.anchors:
            if image.reported is None:
                return task.failed(Reason.POSITION_MISSING, "the provider gave no usable position")
            return task.failed(Reason.NO_ANCHOR_NEARBY, "no anchor within the search radius")
        found = self.photos.localize(query, task.pairs, task.anchors, task.neighbours)
        return Outcome(found.found.result, found.pairs, found.unusable_anchors, task.input_hash, found.found.cpu_s)
