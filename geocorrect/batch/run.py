"""A batch run: what is due → correct → store. Killed at any moment, the next run goes on where this one was."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import numpy as np
from numpy.typing import NDArray

from geocorrect import __version__
from geocorrect.batch.backends import build_depth, build_matcher
from geocorrect.batch.engine import build_engine
from geocorrect.batch.logged_worker import LoggedWorkers
from geocorrect.batch.neighbour_table import NeighbourTable
from geocorrect.batch.stop import StopRequest
from geocorrect.batch.worker import Outcome, Task, Worker
from geocorrect.catalog.run import RunManifest
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.log import note_run_key
from geocorrect.records import Correction, Image, MetadataQuality
from geocorrect.retrieve.spatial import AnchorSites, SpatialRetriever

log = logging.getLogger(__name__)
IMAGES_PER_READ = 500


@dataclass
class RunSummary:
    """What a run did: counts, reasons of rejections, anchors that could not be used."""

    run_key: str
    n_due: int = 0
    n_accepted: int = 0
    n_review: int = 0
    n_rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    unusable_anchors: set[str] = field(default_factory=set)

    @property
    def n_computed(self) -> int:
        """Images that got a result in this run."""
        return self.n_accepted + self.n_review + self.n_rejected

    @property
    def rejected_share(self) -> float:
        """Rejected among computed, 0 when nothing was computed."""
        return self.n_rejected / self.n_computed if self.n_computed else 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        result = outcome.result
        if isinstance(result, Correction):
            self.n_accepted += result.status == "accepted"
            self.n_review += result.status == "review"
        else:
            self.n_rejected += 1
            self.reasons[result.reason.value] += 1
        self.unusable_anchors.update(outcome.unusable_anchors)

    def as_json(self) -> Mapping[str, object]:
        """Plain values for --json."""
        return {
            "run_key": self.run_key,
            "n_due": self.n_due,
            "n_computed": self.n_computed,
            "n_accepted": self.n_accepted,
            "n_review": self.n_review,
            "n_rejected": self.n_rejected,
            "reasons": dict(sorted(self.reasons.items())),
            "unusable_anchors": sorted(self.unusable_anchors),
        }


def run_batch(
    settings: Settings,
    catalog: Catalog,
    stop: StopRequest,
    on_progress: Callable[[int, int], None] = lambda done, due: None,
    max_images: int | None = None,
) -> RunSummary:
    """Correct every image that is due and store the results as they come.

    stop: checked between images. on_progress: called with (done, due). Raises InputError when the catalog
    holds no anchors.
    """
    frame = _require_frame(catalog)
    manifest = describe_run(settings, catalog)
    due = catalog.images_due(manifest.run_key)[:max_images]
    summary = RunSummary(manifest.run_key, n_due=len(due))
    if not due:
        return summary
    started_s = time.monotonic()
    run_id = catalog.begin_run(manifest)
    note_run_key(manifest.run_key)
    log.info("run %s: %d images due", run_id, len(due))
    tasks = _tasks(settings, catalog, frame, due, stop)
    outcomes = build_engine(settings.batch).map(LoggedWorkers(partial(Worker, settings)), tasks)
    for group in _groups(outcomes, settings.batch.images_per_transaction):
        catalog.record(
            manifest.run_key,
            [outcome.result for outcome in group],
            [pair for outcome in group for pair in outcome.pairs],
        )
        for outcome in group:
            summary.add(outcome)
        on_progress(summary.n_computed, len(due))
    if not stop.requested:
        catalog.finish_run(manifest.run_key, duration_s=time.monotonic() - started_s)
    for message in sorted(summary.unusable_anchors):
        log.warning("%s", message)
    return summary


def describe_run(settings: Settings, catalog: Catalog) -> RunManifest:
    """The run's manifest; its key changes with anything that can change a result."""
    matcher, depth = build_matcher(settings).fingerprint, build_depth(settings).fingerprint
    alignment_version = _alignment_version(catalog)
    parts = [settings.fingerprint(), __version__, matcher, depth, alignment_version]
    return RunManifest(
        run_key=hashlib.sha256(json.dumps(parts).encode()).hexdigest(),
        started_at=datetime.now(UTC),
        config=settings.as_json(),
        code_version=__version__,
        matcher=matcher,
        depth=depth,
        alignment_version=alignment_version,
    )


def _alignment_version(catalog: Catalog) -> str:
    """Changes when any anchor in use rests on another version of its georeference."""
    in_use = sorted(set(catalog.anchor_index().alignment_ids))
    return hashlib.sha256(json.dumps(in_use).encode()).hexdigest()[:16]


def _require_frame(catalog: Catalog) -> Frame:
    frame = catalog.frame()
    if frame is None:
        raise InputError("the catalog holds no anchors yet; add some with `geocorrect anchors add`")
    return frame


def _tasks(settings: Settings, catalog: Catalog, frame: Frame, due: list[str], stop: StopRequest) -> Iterator[Task]:
    """Tasks in spatial order, so that neighbours share the anchors that a worker has just read."""
    index = catalog.anchor_index()
    retriever = SpatialRetriever(AnchorSites(index.ids, index.enu_m, index.heading_deg), settings.retrieve)
    neighbours = NeighbourTable(settings, index, catalog.anchors)
    for ids in _chunks(_in_spatial_order(catalog, frame, due), IMAGES_PER_READ):
        images = catalog.images(ids)
        for image_id in ids:
            if stop.requested:
                return
            image = images[image_id]
            reported_enu_m = _reported_enu_m(frame, image)
            heading_deg = _best_heading_deg(image)
            pairs = tuple(retriever.candidates(image_id, reported_enu_m, heading_deg))
            by_id = catalog.anchors([pair.anchor_id for pair in pairs])
            anchors = tuple(by_id[pair.anchor_id] for pair in pairs)
            yield Task(image, reported_enu_m, heading_deg, pairs, anchors, neighbours.of(anchors))


def _in_spatial_order(catalog: Catalog, frame: Frame, due: list[str]) -> list[str]:
    """Image ids by 50 m cells, then by id; images without a position come last."""
    cell_of: dict[str, tuple[float, float]] = {}
    for ids in _chunks(due, IMAGES_PER_READ):
        for image_id, image in catalog.images(ids).items():
            east_m, north_m, _ = _reported_enu_m(frame, image)
            known = np.isfinite(east_m)
            cell_of[image_id] = (east_m // 50.0, north_m // 50.0) if known else (np.inf, np.inf)
    return sorted(due, key=lambda image_id: (cell_of[image_id], image_id))


def _reported_enu_m(frame: Frame, image: Image) -> NDArray[np.float64]:
    """(3,) reported position; its height is not used (its reference is unknown), hence nan."""
    if image.reported is None:
        return np.full(3, np.nan)
    here = frame.enu_from_wgs84(image.reported.lon_deg, image.reported.lat_deg, frame.height_m)
    return np.array([here[0], here[1], np.nan])


def _best_heading_deg(image: Image) -> float:
    """The provider's reconstructed heading where it is a reconstruction, else the compass (MAPILLARY §5.2)."""
    if image.quality is MetadataQuality.SFM and np.isfinite(image.computed_heading_deg):
        return image.computed_heading_deg
    return image.heading_deg


def _chunks(items: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _groups(outcomes: Iterable[Outcome], size: int) -> Iterator[list[Outcome]]:
    group: list[Outcome] = []
    for outcome in outcomes:
        group.append(outcome)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
