"""What a report shows, read from the catalog once; everything else in this room only looks at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from geocorrect.catalog.run import ResultFilter, StoredResult, StoredRun
from geocorrect.catalog.store import Catalog
from geocorrect.errors import Status
from geocorrect.geometry.frame import Frame, angle_difference_deg
from geocorrect.records import NAN, Anchor, Attribution, Image
from geocorrect.report.truth import LonLat, TruePlace, Truth
from geocorrect.report.wording import shortened

NO_SEQUENCE = "(no sequence)"
UNKNOWN_DEVICE = "(unknown device)"
ELLIPSE_95 = 5.991464547107979
"""Quantile 0.95 of chi-square with 2 degrees of freedom: squared ratio of a 95 % semi-axis to its sigma."""
ROUTE_GAP_M = 40.0
"""Successive anchors of a drive that are further apart are not joined by the route drawn on the map."""


@dataclass(frozen=True)
class Photo:
    """One photo with its result. true_error_m: horizontal, nan without truth.

    tail: probability that the predicted error ellipse gives to lying further out than the truth does, 0 to 1; it is
    uniform where predictions are calibrated.
    """

    stored: StoredResult
    device: str
    truth: TruePlace | None = None
    true_error_m: float = NAN
    reported_error_m: float = NAN
    true_heading_error_deg: float = NAN
    tail: float = NAN

    @property
    def status(self) -> Status:
        """accepted, review or rejected."""
        return self.stored.status

    @property
    def sequence(self) -> str:
        """The recording, or a word for none."""
        return shortened(self.stored.sequence_id or NO_SEQUENCE)

    @property
    def expected_error_m(self) -> float:
        """Predicted 68 % horizontal error in metres, nan for a rejection."""
        return self.stored.expected_error_m


@dataclass(frozen=True)
class Contents:
    """Everything that the page and the plots show, in a fixed order.

    routes: lines of lon, lat along which the anchors were driven. n_pending: photos without a result. runs: those that
    produced a result shown here, oldest first. lags_s: by sequence, seconds by which reported positions are behind the
    photos; only sequences whose motion tells it.
    """

    frame: Frame
    photos: tuple[Photo, ...]
    anchors: tuple[LonLat, ...]
    routes: tuple[tuple[LonLat, ...], ...]
    outlines: tuple[tuple[LonLat, ...], ...]
    runs: tuple[StoredRun, ...]
    anchor_sources: tuple[tuple[Attribution, int], ...]
    lags_s: Mapping[str, float]
    n_pending: int
    has_truth: bool

    def of_status(self, *wanted: Status) -> list[Photo]:
        """The photos of some statuses."""
        return [photo for photo in self.photos if photo.status in wanted]

    @property
    def corrected(self) -> list[Photo]:
        """Accepted photos and those that wait for a review."""
        return self.of_status(Status.ACCEPTED, Status.REVIEW)


def read_contents(catalog: Catalog, truth: Truth | None = None, wanted: ResultFilter | None = None) -> Contents:
    """Read the results in force (or those that `wanted` describes), their photos, anchors and runs."""
    stored = list(catalog.results(wanted))
    images, anchors = catalog.images(), catalog.anchors()
    places = {} if truth is None else truth.places
    photos = [_photo(result, images.get(result.image_id), places) for result in stored]
    frame = catalog.frame() or _frame_around(stored)
    keys = {result.run_key for result in stored}
    centres = _centres(anchors.values(), frame)
    return Contents(
        frame=frame,
        photos=tuple(sorted(photos, key=_in_order)),
        anchors=tuple(centres[name] for name in sorted(centres)),
        routes=_routes(anchors.values(), centres),
        outlines=() if truth is None else truth.outlines,
        runs=tuple(run for run in catalog.runs() if run.run_key in keys),
        anchor_sources=_sources(anchors.values()),
        lags_s={shortened(name): lag_s for name, lag_s in catalog.sequence_lags().items()},
        n_pending=len(images.keys() - {result.image_id for result in stored}) if wanted is None else 0,
        has_truth=any(photo.truth is not None for photo in photos),
    )


def _in_order(photo: Photo) -> tuple[str, float, str]:
    taken = photo.stored.captured_at
    return photo.sequence, 0.0 if taken is None else taken.timestamp(), photo.stored.image_id


def _photo(stored: StoredResult, image: Image | None, places: Mapping[str, TruePlace]) -> Photo:
    named = [] if image is None else [image.device_make, image.device_model]
    device = shortened(" ".join(part.strip() for part in named if part and part.strip()) or UNKNOWN_DEVICE)
    place = places.get(stored.image_id)
    if place is None:
        return Photo(stored, device)
    offset = _offset_m(place, stored.lon_deg, stored.lat_deg)
    return Photo(
        stored,
        device,
        place,
        true_error_m=float(np.hypot(*offset)),
        reported_error_m=float(np.hypot(*_offset_m(place, stored.reported_lon_deg, stored.reported_lat_deg))),
        true_heading_error_deg=abs(float(angle_difference_deg(stored.heading_deg, place.heading_deg))),
        tail=_tail(stored, offset),
    )


def _offset_m(place: TruePlace, lon_deg: float, lat_deg: float) -> tuple[float, float]:
    """Metres east and north of the truth; nan for no position."""
    if not np.isfinite(lon_deg) or not np.isfinite(lat_deg):
        return NAN, NAN
    east, north, _ = Frame("truth", place.lon_deg, place.lat_deg).enu_from_wgs84(lon_deg, lat_deg, 0.0)
    return float(east), float(north)


def _tail(stored: StoredResult, offset: tuple[float, float]) -> float:
    azimuth = np.radians(stored.ellipse_azimuth_deg)
    along = offset[0] * np.sin(azimuth) + offset[1] * np.cos(azimuth)
    across = offset[0] * np.cos(azimuth) - offset[1] * np.sin(azimuth)
    if not (stored.semi_major_m > 0 and stored.semi_minor_m > 0):
        return NAN
    squared = ELLIPSE_95 * ((along / stored.semi_major_m) ** 2 + (across / stored.semi_minor_m) ** 2)
    return float(np.exp(-squared / 2))


def _frame_around(stored: Iterable[StoredResult]) -> Frame:
    for result in stored:
        if np.isfinite(result.reported_lon_deg):
            return Frame("scene", result.reported_lon_deg, result.reported_lat_deg)
    return Frame("scene", 0.0, 0.0)


def _centres(anchors: Iterable[Anchor], frame: Frame) -> dict[str, LonLat]:
    listed = list(anchors)
    if not listed:
        return {}
    lon, lat, _ = frame.wgs84_from_enu([anchor.world_from_cam.translation_m for anchor in listed])
    return {a.id: (float(x), float(y)) for a, x, y in zip(listed, lon, lat, strict=True)}


def _routes(anchors: Iterable[Anchor], centres: Mapping[str, LonLat]) -> tuple[tuple[LonLat, ...], ...]:
    """Lines through the anchors of each drive in the order of their ids, broken at gaps."""
    drives: dict[str, list[Anchor]] = {}
    for anchor in sorted(anchors, key=lambda anchor: anchor.id):
        drives.setdefault(anchor.drive_id or anchor.dataset, []).append(anchor)
    lines: list[list[LonLat]] = []
    for _, drive in sorted(drives.items()):
        lines.append([centres[drive[0].id]])
        for before, after in pairwise(drive):
            step = after.world_from_cam.translation_m - before.world_from_cam.translation_m
            if np.linalg.norm(step) > ROUTE_GAP_M:
                lines.append([])
            lines[-1].append(centres[after.id])
    return tuple(tuple(line) for line in lines if len(line) > 1)


def _sources(anchors: Iterable[Anchor]) -> tuple[tuple[Attribution, int], ...]:
    counts: dict[Attribution, int] = {}
    for anchor in anchors:
        counts[anchor.attribution] = counts.get(anchor.attribution, 0) + 1
    return tuple(sorted(counts.items(), key=lambda item: (item[0].creator, item[0].licence, item[0].page_url)))
