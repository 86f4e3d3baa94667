"""What a report shows, read from the catalog once; the rest of this package only reads from it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from geocorrect.catalog.rows.pose_columns import CHI2_95_2DOF
from geocorrect.catalog.run import ResultFilter, StoredResult, StoredRun
from geocorrect.catalog.store import Catalog
from geocorrect.errors import Status
from geocorrect.geometry.frame import Frame
from geocorrect.records import NAN, Anchor, Attribution, Image
from geocorrect.report.truth import LonLat, TruePlace, Truth
from geocorrect.report.wording import shortened

NO_SEQUENCE = "(no sequence)"
UNKNOWN_DEVICE = "(unknown device)"
ROUTE_GAP_M = 40.0
"""Successive anchors of a drive that are further apart are not joined by the route drawn on the map."""


@dataclass(frozen=True)
class Photo:
    """One photo with its result."""

    stored: StoredResult
    device: str
    truth: TruePlace | None = None
    true_error_m: float = NAN
    """Horizontal error of the corrected position, nan without truth."""
    reported_error_m: float = NAN
    """Horizontal error of the reported position."""
    computed_error_m: float = NAN
    """Horizontal error of the provider's computed position."""
    tail: float = NAN
    """Probability that the predicted error ellipse gives to lying further out than the truth does, 0 to 1; it is
    uniform where predictions are calibrated."""

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

    @property
    def place(self) -> LonLat:
        """Corrected longitude and latitude, nan for a rejection."""
        return self.stored.lon_deg, self.stored.lat_deg

    @property
    def computed_place(self) -> LonLat:
        """Longitude and latitude that the provider computed, nan when there is none."""
        return self.stored.computed_lon_deg, self.stored.computed_lat_deg

    @property
    def from_computed_m(self) -> float:
        """Horizontal distance from the provider's computed to the corrected position."""
        if self.status is Status.REJECTED:
            return NAN
        return math.hypot(*_offset_m(Frame("corrected", *self.place), *self.computed_place))

    @property
    def reported_place(self) -> LonLat:
        """Reported longitude and latitude, nan when there is none."""
        return self.stored.reported_lon_deg, self.stored.reported_lat_deg


@dataclass(frozen=True)
class Contents:
    """Everything that the page and the plots show, in a fixed order."""

    frame: Frame
    photos: tuple[Photo, ...]
    anchors: tuple[LonLat, ...]
    routes: tuple[tuple[LonLat, ...], ...]
    """Lines along which the anchors were driven."""
    outlines: tuple[tuple[LonLat, ...], ...]
    """Buildings."""
    runs: tuple[StoredRun, ...]
    """Those that produced a result shown here, oldest first."""
    anchor_sources: tuple[tuple[Attribution, int], ...]
    """With the number of anchors of each."""
    lags_s: Mapping[str, float]
    """By sequence, how far reported positions are behind the photos in time; only where the motion tells it."""
    n_pending: int
    """Photos without a result."""
    has_truth: bool

    def of_status(self, *wanted: Status) -> list[Photo]:
        """The photos of some statuses."""
        return [photo for photo in self.photos if photo.status in wanted]

    @property
    def corrected(self) -> list[Photo]:
        """Accepted photos: those that wait for a review are not corrected yet."""
        return self.of_status(Status.ACCEPTED)


def read_contents(catalog: Catalog, truth: Truth | None = None, wanted: ResultFilter | None = None) -> Contents:
    """Read the active results (or those that `wanted` describes), their photos, anchors and runs."""
    stored = list(catalog.results(wanted))
    images, anchors = catalog.images(), catalog.anchors()
    places = {} if truth is None else truth.places
    photos = [_photo(result, images.get(result.image_id), places) for result in stored]
    frame = catalog.frame() or _frame_around(stored)
    keys = {result.run_key for result in stored}
    centres = _centres(anchors.values(), frame)
    return Contents(
        frame=frame,
        photos=tuple(sorted(photos, key=lambda p: (p.sequence, _timestamp_s(p.stored), p.stored.image_id))),
        anchors=tuple(centres[name] for name in sorted(centres)),
        routes=_routes(anchors.values(), centres),
        outlines=() if truth is None else truth.outlines,
        runs=tuple(run for run in catalog.runs() if run.run_key in keys),
        anchor_sources=_sources(anchors.values()),
        lags_s={shortened(name): lag_s for name, lag_s in catalog.sequence_lags().items()},
        n_pending=len(images.keys() - {result.image_id for result in stored}) if wanted is None else 0,
        has_truth=any(photo.truth is not None for photo in photos),
    )


def _timestamp_s(stored: StoredResult) -> float:
    return 0.0 if stored.captured_at is None else stored.captured_at.timestamp()


def _photo(stored: StoredResult, image: Image | None, places: Mapping[str, TruePlace]) -> Photo:
    named = [] if image is None else [image.device_make, image.device_model]
    device = shortened(" ".join(part.strip() for part in named if part and part.strip()) or UNKNOWN_DEVICE)
    place = places.get(stored.image_id)
    if place is None:
        return Photo(stored, device)
    offset = _offset_m(place, stored.lon_deg, stored.lat_deg)
    reported = _offset_m(place, stored.reported_lon_deg, stored.reported_lat_deg)
    computed = _offset_m(place, stored.computed_lon_deg, stored.computed_lat_deg)
    errors = (math.hypot(*offset), math.hypot(*reported), math.hypot(*computed))
    return Photo(stored, device, place, *errors, _tail(stored, offset))


def _offset_m(place: TruePlace | Frame, lon_deg: float, lat_deg: float) -> tuple[float, float]:
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
    squared = CHI2_95_2DOF * ((along / stored.semi_major_m) ** 2 + (across / stored.semi_minor_m) ** 2)
    return float(np.exp(-squared / 2))


def _frame_around(stored: Iterable[StoredResult]) -> Frame:
    """At the first reported position."""
    known = ((r.reported_lon_deg, r.reported_lat_deg) for r in stored if np.isfinite(r.reported_lon_deg))
    return Frame("scene", *next(known, (0.0, 0.0)))


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
    counts = Counter(anchor.attribution for anchor in anchors)
    return tuple(sorted(counts.items(), key=lambda item: (item[0].creator, item[0].licence, item[0].page_url)))
