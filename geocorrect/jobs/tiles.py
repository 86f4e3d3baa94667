"""Photos and anchors of a plan, read tile by tile: memory does not grow with the city.

A piece is a few photos of one tile with their anchors. Whoever works on it has read pixels, features and depth of its
anchors once and keeps them as long as the next photos need them (`batch.cached_anchors_mib`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from geocorrect.api.motion import photo_motions
from geocorrect.catalog.image_positions import StoredImage
from geocorrect.catalog.store import Catalog
from geocorrect.errors import Reason
from geocorrect.jobs.plan import DuePhotos, RunPlan
from geocorrect.workers.worker import Task

PIECE = 32
"""Photos read at once and given to one worker together; the last ones are shared out."""


def read_pieces(plan: RunPlan, due: DuePhotos, catalog: Catalog) -> Iterator[list[Task]]:
    """The tasks of due photos, in their order, in pieces of one tile each, without photos that are gone meanwhile."""
    ends = np.flatnonzero(np.diff(due.tile)) + 1
    for start, end in zip([0, *ends.tolist()], [*ends.tolist(), len(due)], strict=True):
        for first in range(start, end, PIECE):
            yield _read(plan, due.take(slice(first, min(first + PIECE, end))), catalog)


def _read(plan: RunPlan, due: DuePhotos, catalog: Catalog) -> list[Task]:
    scene = plan.scene
    scene.prepare_appearance(plan.backends.matcher, all_anchors=False)
    stored = catalog.stored_images(due.fid.tolist())
    rows = np.unique(due.candidates[due.candidates >= 0]).tolist()
    anchors = scene.read(sorted({scene.index.ids[row] for row in rows}))
    neighbours = scene.neighbours_of(anchors.values())
    lenses = plan.settings.camera.lenses
    motions = photo_motions([photo.image for photo in stored.values()], catalog, scene.frame, lenses)

    def task(photo: StoredImage, candidates: np.ndarray) -> Task:
        enu_m, heading_deg = scene.place_of(photo.image)
        content = scene.input_hash(photo.content_hash, candidates, enu_m)
        pairs = tuple(scene.retriever.pairs(photo.image.id, enu_m, heading_deg, candidates))
        ids = [pair.anchor_id for pair in pairs]
        known = {name: neighbours[name] for name in ids if name in neighbours}
        motion = motions.get(photo.image.id)
        made = Task(
            photo.image, enu_m, heading_deg, pairs, tuple(anchors[name] for name in ids), known, content, motion
        )
        return made if pairs else _searching(plan, made)

    photos = zip(due.fid.tolist(), due.candidates, strict=True)
    return [task(stored[fid], candidates) for fid, candidates in photos if fid in stored]


def _searching(plan: RunPlan, task: Task) -> Task:
    """A photo without an anchor nearby: candidates are all anchors, or none where the scene is not searched."""
    scene = plan.scene
    if task.image.problem not in (None, Reason.POSITION_MISSING) or not scene.is_searched:
        return task
    scene.prepare_appearance(plan.backends.matcher, all_anchors=True)
    return replace(task, anchors=scene.all_anchors, neighbours=scene.all_neighbours)
