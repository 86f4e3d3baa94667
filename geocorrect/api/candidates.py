"""Which anchors one photo is compared with, when there is no batch that planned it."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from geocorrect.api.describe_photo import PhotoError
from geocorrect.api.photo import PhotoLocalizer
from geocorrect.api.scene import Scene
from geocorrect.config import Settings
from geocorrect.errors import InputError, Reason
from geocorrect.match.rig import match_photo
from geocorrect.records import Anchor, Pair, Query, Rejection

MAX_SEARCHED = 200
"""Without a position every anchor is matched with the photo (about 0.3 s each); beyond this many that is refused."""


def find_candidates(
    settings: Settings, scene: Scene, photos: PhotoLocalizer, query: Query
) -> tuple[tuple[Pair, ...], tuple[Anchor, ...]]:
    """The ranked anchors near the reported position; where there are none, (no pairs and) the anchors to be searched.

    Raises:
        PhotoError: there is no position, and there are too many anchors to search.
    """
    scene.train_appearance(photos.appearance)
    if np.isfinite(query.reported_enu_m[:2]).all():
        pairs = scene.retriever.candidates(query.image_id, query.reported_enu_m, query.heading_deg)
        by_id = scene.read([pair.anchor_id for pair in pairs])
        if pairs or not scene.is_searched:
            return tuple(pairs), tuple(by_id[pair.anchor_id] for pair in pairs)
    if photos.appearance is not None and scene.is_searched:
        return (), scene.all_anchors
    return (), _best_matching(settings, scene, photos, query)


def nothing_near(settings: Settings, scene: Scene, query: Query) -> Rejection:
    """Why there is no candidate near the reported position."""
    nearest_m = float(np.linalg.norm(scene.index.enu_m[:, :2] - query.reported_enu_m[:2], axis=1).min())
    if nearest_m <= settings.retrieve.radius_m:
        detail = f"the nearest anchor is {nearest_m:.0f} m away, but none looks the way of the reported heading"
    else:
        detail = f"the nearest anchor is {nearest_m:,.0f} m away, the search radius is {settings.retrieve.radius_m:g} m"
    return Rejection(query.image_id, Reason.NO_ANCHOR_NEARBY, detail)


def _best_matching(settings: Settings, scene: Scene, photos: PhotoLocalizer, query: Query) -> tuple[Anchor, ...]:
    """The anchors with most matches, when nobody says where the photo was taken."""
    if len(scene.index.ids) > MAX_SEARCHED:
        raise PhotoError(
            Reason.POSITION_MISSING,
            f"{query.image_id}: no position is known, and {len(scene.index.ids)} anchors are too many to search; "
            "say roughly where it was taken (--position LON,LAT, from Python reported=)",
        )
    counts: list[tuple[int, str]] = []
    records = {anchor.id: anchor for anchor in scene.all_anchors}
    for name, anchor in records.items():
        n_matches = 0  # of an anchor without a readable picture; if it is among the best, it is named as unusable
        with suppress(InputError):
            view = photos.anchors.view(anchor)
            cameras = [anchor.camera]
            (matches,) = match_photo(photos.matcher, query.pixels, query.camera, [view.pixels], (), cameras)
            n_matches = len(matches)
        counts.append((-n_matches, name))
    return tuple(records[name] for _, name in sorted(counts)[: settings.retrieve.max_candidates])
