"""Photos and anchors of the plan, read tile by tile: memory does not grow with the city.

A piece is a few photos of one tile with their anchors. Whoever works on it has read pixels, features and depth of its
anchors once and keeps them as long as the next photos need them (`batch.cached_anchors_mib`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.catalog.image_positions import StoredImage, best_heading_deg
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.errors import Reason
from geocorrect.jobs.anchors.neighbour_table import NeighbourTable
from geocorrect.jobs.plan import Plan, Scene
from geocorrect.records import Anchor, Image
from geocorrect.workers.worker import Task

Float = NDArray[np.float64]
Rows = NDArray[np.intp]
PIECE = 32
"""Photos read at once and given to one worker together; the last ones are shared out."""


@dataclass(frozen=True, eq=False)
class Placed:
    """Reported position (3,), best heading, and candidates as rows of the scene's anchors, -1 = none."""

    enu_m: Float
    heading_deg: float
    candidates: Rows


@dataclass(frozen=True, eq=False)
class Tiles:
    """Reads the tasks of a plan."""

    catalog: Catalog
    scene: Scene
    neighbours: NeighbourTable

    @classmethod
    def of(cls, settings: Settings, catalog: Catalog, scene: Scene) -> Tiles:
        """The reader of a scene."""
        return cls(catalog, scene, NeighbourTable(settings, scene.index, catalog.anchors))

    def pieces(self, plan: Plan) -> Iterator[list[Task]]:
        """The tasks in the order of the plan, in pieces of one tile each, without photos that are gone meanwhile."""
        ends = np.flatnonzero(np.diff(plan.tile)) + 1
        for start, end in zip([0, *ends.tolist()], [*ends.tolist(), len(plan)], strict=True):
            for first in range(start, end, PIECE):
                yield self.read(plan.fid[first : min(first + PIECE, end)].tolist())

    def read(self, fids: list[int]) -> list[Task]:
        """The tasks of some photos, in their order."""
        stored = self.catalog.stored_images(fids)
        photos = [stored[fid] for fid in fids if fid in stored]
        if not photos:
            return []
        lon_deg, lat_deg = (np.array([_reported(p.image, axis) for p in photos]) for axis in ("lon_deg", "lat_deg"))
        heading_deg = np.array([_heading_deg(photo.image) for photo in photos])
        enu_m = self.scene.reported_enu_m(lon_deg, lat_deg)
        rows = self.scene.retriever.candidate_rows(enu_m, heading_deg)
        ids = self.scene.index.ids
        anchors = self.catalog.anchors(sorted({ids[row] for row in np.unique(rows[rows >= 0]).tolist()}))
        neighbours = self.neighbours.of(anchors.values())
        return [
            self._task(photo, anchors, neighbours, Placed(enu_m[k], float(heading_deg[k]), rows[k]))
            for k, photo in enumerate(photos)
        ]

    def _task(
        self,
        photo: StoredImage,
        anchors: Mapping[str, Anchor],
        neighbours: Mapping[str, tuple[Anchor, ...]],
        place: Placed,
    ) -> Task:
        if not np.isfinite(place.enu_m[:2]).all():
            return self._searching(photo, place)
        image = photo.image
        pairs = tuple(self.scene.retriever.pairs(image.id, place.enu_m, place.heading_deg, place.candidates))
        ids = [pair.anchor_id for pair in pairs]
        return Task(
            image,
            place.enu_m,
            place.heading_deg,
            pairs,
            tuple(anchors[name] for name in ids),
            {name: neighbours[name] for name in ids if name in neighbours},
            self.scene.input_hash(photo.content_hash, place.candidates, place.enu_m),
        )

    def _searching(self, photo: StoredImage, place: Placed) -> Task:
        """A photo without a position: candidates are all anchors, or none where the scene is not searched."""
        content = self.scene.input_hash(photo.content_hash, place.candidates, place.enu_m)
        alone = Task(photo.image, place.enu_m, place.heading_deg, (), (), input_hash=content)
        if photo.image.problem not in (None, Reason.POSITION_MISSING):
            return alone
        search = self.scene.search
        return replace(alone, anchors=search.anchors(), neighbours=search.neighbours(self.neighbours))


def _reported(image: Image, axis: str) -> float:
    return float("nan") if image.reported is None else float(getattr(image.reported, axis))


def _heading_deg(image: Image) -> float:
    return best_heading_deg(image.quality.value, image.heading_deg, image.computed_heading_deg)
