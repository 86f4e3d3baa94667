"""One photo from its file to an explained result, as `geocorrect localize` shows it. Nothing is stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geocorrect.config import Settings
from geocorrect.errors import InputError, Reason
from geocorrect.geometry.frame import Frame
from geocorrect.io.masks import mask_beside
from geocorrect.io.pixels import read_image
from geocorrect.jobs.anchors.neighbour_table import NeighbourTable
from geocorrect.jobs.anchors.source import AnchorSource
from geocorrect.localize.correct import LocalizationResult, explain_image
from geocorrect.match.base import Matcher
from geocorrect.match.rig import match_photo
from geocorrect.records import Anchor, AnchorView, Image, ImageArray, Query, Rejection
from geocorrect.retrieve.by_appearance import AppearanceRetriever
from geocorrect.retrieve.spatial import AnchorPositions, SpatialRetriever
from geocorrect.workers.anchor_cache import AnchorCache
from geocorrect.workers.backends import build_appearance, build_matcher
from geocorrect.workers.worker import image_seed

MAX_SEARCHED = 200
"""Without a position every anchor is matched with the photo (about 0.3 s each); beyond this many that is refused."""


@dataclass(frozen=True, eq=False)
class LocalizedPhoto:
    """The photo, what came of it, the anchors it was compared with, and anchors that could not be used (messages)."""

    query: Query
    frame: Frame
    explanation: LocalizationResult
    views: tuple[AnchorView, ...] = ()
    unusable_anchors: tuple[str, ...] = ()


def localize_photo(settings: Settings, shelf: AnchorSource, photo: Image) -> LocalizedPhoto:
    """Localise one photo against the anchors near its reported position; without one, against those that match best.

    InputError when the photo cannot be read, its size is not its camera's, no anchor is usable, or there are too many
    anchors to search without a position.
    """
    assert photo.path is not None
    pixels = _read_pixels(photo.path, photo)
    matcher = build_matcher(settings)
    reader = AnchorCache(settings, matcher)
    masks = settings.localize.verify.masks
    mask = mask_beside(photo.path, masks, photo.exif_orientation) if masks else None
    query = replace(_query(shelf.frame, photo, pixels), mask=mask)
    appearance = build_appearance(settings, matcher, reader.view)
    if np.isfinite(query.reported_enu_m[:2]).all():
        anchors = _near(settings, shelf, query, appearance)
        if not anchors:
            return LocalizedPhoto(query, shelf.frame, LocalizationResult(_nothing_near(settings, shelf, query)))
    elif appearance is not None and settings.retrieve.searches_scene(len(shelf.index.ids)):
        scene = tuple(shelf.read(shelf.index.ids).values())
        anchors = appearance.search(query, scene).anchors
    else:
        anchors = _best_matching(settings, shelf, query, matcher, reader)
    neighbours = NeighbourTable(settings, shelf.index, shelf.read).of(anchors)
    views, unusable = reader.usable(anchors, neighbours)
    if not views:
        hint = "" if settings.depth.needs_neighbours else "\n--depth triangulated needs neither scanner nor network"
        raise InputError("no anchor is usable:\n" + "\n".join(unusable[:3]) + hint)
    seed = image_seed(settings.batch.seed, query.image_id)
    explanation = explain_image(query, views, matcher, reader.depth, settings.localize, seed)
    return LocalizedPhoto(query, shelf.frame, explanation, tuple(views), unusable)


def _read_pixels(path: Path, photo: Image) -> ImageArray:
    pixels = read_image(path, photo.exif_orientation)
    camera = photo.camera
    assert camera is not None
    if pixels.shape[:2] != (camera.height, camera.width):
        raise InputError(
            f"{path}: {pixels.shape[1]}×{pixels.shape[0]} pixels, but its camera is {camera.width}×{camera.height}"
        )
    return pixels


def _query(frame: Frame, photo: Image, pixels: ImageArray) -> Query:
    assert photo.camera is not None
    reported_enu_m = np.full(3, np.nan)
    if photo.reported is not None:
        here = frame.enu_from_wgs84(photo.reported.lon_deg, photo.reported.lat_deg, frame.height_m)
        reported_enu_m[:2] = here[:2]
    return Query(photo.id, pixels, photo.camera, reported_enu_m, photo.heading_deg)


def _near(
    settings: Settings, shelf: AnchorSource, query: Query, appearance: AppearanceRetriever | None
) -> tuple[Anchor, ...]:
    sites = AnchorPositions(shelf.index.ids, shelf.index.enu_m, shelf.index.heading_deg)
    pairs = SpatialRetriever(sites, settings.retrieve.by_place).candidates(
        query.image_id, query.reported_enu_m, query.heading_deg
    )
    by_id = shelf.read([pair.anchor_id for pair in pairs])
    anchors = tuple(by_id[pair.anchor_id] for pair in pairs)
    if appearance is None or not anchors:
        return anchors
    return appearance.rerank(query, pairs, anchors).anchors


def _nothing_near(settings: Settings, shelf: AnchorSource, query: Query) -> Rejection:
    nearest_m = float(np.linalg.norm(shelf.index.enu_m[:, :2] - query.reported_enu_m[:2], axis=1).min())
    if nearest_m <= settings.retrieve.radius_m:
        detail = f"the nearest anchor is {nearest_m:.0f} m away, but none looks the way of the reported heading"
    else:
        detail = f"the nearest anchor is {nearest_m:,.0f} m away, the search radius is {settings.retrieve.radius_m:g} m"
    return Rejection(query.image_id, Reason.NO_ANCHOR_NEARBY, detail)


def _best_matching(
    settings: Settings, shelf: AnchorSource, query: Query, matcher: Matcher, reader: AnchorCache
) -> tuple[Anchor, ...]:
    """The anchors with most matches, when nobody says where the photo was taken."""
    if len(shelf.index.ids) > MAX_SEARCHED:
        raise InputError(
            f"{query.image_id}: no position is known, and {len(shelf.index.ids)} anchors are too many to search; "
            "give --position LON,LAT"
        )
    counts: list[tuple[int, str]] = []
    records = shelf.read(shelf.index.ids)
    for name, anchor in records.items():
        (matches,) = match_photo(matcher, query.pixels, query.camera, [reader.view(anchor).pixels])
        counts.append((-len(matches), name))
    return tuple(records[name] for _, name in sorted(counts)[: settings.retrieve.max_candidates])
