"""One photo from its file to an explained result, as `geocorrect localize` shows it. Nothing is stored."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from geocorrect.config import Settings
from geocorrect.errors import InputError, Reason
from geocorrect.geometry.frame import Frame
from geocorrect.jobs.scene import AnchorSource, Scene
from geocorrect.localize.correct import LocalizationResult
from geocorrect.match.rig import match_photo
from geocorrect.records import Anchor, Image, Query, Rejection
from geocorrect.workers.worker import Localization, Task, Worker

MAX_SEARCHED = 200
"""Without a position every anchor is matched with the photo (about 0.3 s each); beyond this many that is refused."""


@dataclass(frozen=True, eq=False)
class LocalizedPhoto:
    """The photo, the frame of its pose, and what came of it."""

    query: Query
    frame: Frame
    localization: Localization


def localize_photo(settings: Settings, source: AnchorSource, photo: Image) -> LocalizedPhoto:
    """Localise one photo against the anchors near its reported position; without one, against those that match best.

    Raises:
        InputError: the photo cannot be read, its size is not its camera's, no anchor is usable, or there are too many
            anchors to search without a position.
    """
    scene, worker = Scene(settings, source), Worker(settings)
    enu_m, _ = scene.place_of(photo)
    task = Task(replace(photo, problem=None), enu_m, photo.heading_deg, (), ())
    query = worker.read(task)
    if isinstance(query, Rejection):
        raise InputError(query.detail if query.detail.startswith(str(photo.path)) else f"{photo.path}: {query.detail}")
    task = _with_candidates(settings, scene, worker, task, query)
    if not task.anchors:
        nothing = LocalizationResult(_nothing_near(settings, scene, query))
        return LocalizedPhoto(query, scene.frame, Localization(nothing, ()))
    task = replace(task, neighbours=scene.neighbours_of(task.anchors))
    found = worker.localize(task, query)
    if not found.views:
        hint = "" if settings.depth.needs_neighbours else "\n--depth triangulated needs neither scanner nor network"
        raise InputError("no anchor is usable:\n" + "\n".join(found.unusable_anchors[:3]) + hint)
    return LocalizedPhoto(query, scene.frame, found)


def _with_candidates(settings: Settings, scene: Scene, worker: Worker, task: Task, query: Query) -> Task:
    """The task with anchors near the reported position, or with those to be searched without one."""
    if np.isfinite(task.reported_enu_m[:2]).all():
        pairs = scene.retriever.candidates(query.image_id, task.reported_enu_m, task.heading_deg)
        by_id = scene.read([pair.anchor_id for pair in pairs])
        return replace(task, pairs=tuple(pairs), anchors=tuple(by_id[pair.anchor_id] for pair in pairs))
    if worker.appearance is not None and scene.is_searched:
        return replace(task, anchors=scene.all_anchors)
    return replace(task, anchors=_best_matching(settings, scene, worker, query))


def _nothing_near(settings: Settings, scene: Scene, query: Query) -> Rejection:
    nearest_m = float(np.linalg.norm(scene.index.enu_m[:, :2] - query.reported_enu_m[:2], axis=1).min())
    if nearest_m <= settings.retrieve.radius_m:
        detail = f"the nearest anchor is {nearest_m:.0f} m away, but none looks the way of the reported heading"
    else:
        detail = f"the nearest anchor is {nearest_m:,.0f} m away, the search radius is {settings.retrieve.radius_m:g} m"
    return Rejection(query.image_id, Reason.NO_ANCHOR_NEARBY, detail)


def _best_matching(settings: Settings, scene: Scene, worker: Worker, query: Query) -> tuple[Anchor, ...]:
    """The anchors with most matches, when nobody says where the photo was taken."""
    if len(scene.index.ids) > MAX_SEARCHED:
        raise InputError(
            f"{query.image_id}: no position is known, and {len(scene.index.ids)} anchors are too many to search; "
            "give --position LON,LAT"
        )
    counts: list[tuple[int, str]] = []
    records = {anchor.id: anchor for anchor in scene.all_anchors}
    for name, anchor in records.items():
        (matches,) = match_photo(worker.matcher, query.pixels, query.camera, [worker.anchors.view(anchor).pixels])
        counts.append((-len(matches), name))
    return tuple(records[name] for _, name in sorted(counts)[: settings.retrieve.max_candidates])
