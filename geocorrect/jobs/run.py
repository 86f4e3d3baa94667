"""A batch run: what is due → correct → store. Killed at any moment, the next run goes on where this one was."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.jobs.plan import Plan, Scene, plan_due
from geocorrect.jobs.run_identity import RunDescription, describe_run, next_manifest, present_run_key
from geocorrect.jobs.tiles import Tiles
from geocorrect.log import note_run_key
from geocorrect.records import Correction
from geocorrect.workers.engine import build_engine
from geocorrect.workers.limits import GuardedWorkers
from geocorrect.workers.logged_worker import LoggedWorkers
from geocorrect.workers.stop import StopRequest
from geocorrect.workers.worker import Outcome

log = logging.getLogger(__name__)
SECONDS_PER_TRANSACTION = 5.0


@dataclass
class RunSummary:
    """What a run did: counts, reasons of rejections, anchors that could not be used.

    n_due: images that were due when it began, whatever it was allowed to do.
    """

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


@dataclass(frozen=True, eq=False)
class PlannedRun:
    """What a run would do, found without computing anything."""

    description: RunDescription
    scene: Scene
    plan: Plan


def plan_run(settings: Settings, catalog: Catalog) -> PlannedRun:
    """What is due under these settings. Raises InputError when the catalog holds no anchors."""
    scene, description = Scene.of(settings, catalog), describe_run(settings)
    return PlannedRun(description, scene, plan_due(catalog, scene, description.config_key))


def run_batch(
    settings: Settings,
    catalog: Catalog,
    stop: StopRequest,
    on_progress: Callable[[int, int], None] = lambda done, due: None,
    max_images: int | None = None,
) -> RunSummary:
    """Correct every image that is due, or the first `max_images`, and store the results as they come.

    stop: checked between images. on_progress: called with (done, to do). Raises InputError when the catalog
    holds no anchors.
    """
    planned = plan_run(settings, catalog)
    todo = planned.plan.first(max_images)
    summary = RunSummary(present_run_key(planned.description, catalog), n_due=len(planned.plan))
    if not len(todo) or stop.requested:
        return summary
    started_s = time.monotonic()
    manifest = next_manifest(planned.description, catalog, todo, planned.scene.index)
    run_id, summary.run_key = catalog.begin_run(manifest), manifest.run_key
    note_run_key(manifest.run_key)
    log.info("run %s: %d images due", run_id, len(planned.plan))
    newest = catalog.newest_run(planned.description.config_key)
    todo = todo.for_start(newest[1].n_starts if newest else 1)
    pieces = Tiles.of(settings, catalog, planned.scene).pieces(todo)
    make_worker = LoggedWorkers(GuardedWorkers(planned.description))

    def store(group: list[Outcome]) -> None:
        _record(catalog, manifest.run_key, group)
        for outcome in group:
            summary.add(outcome)
        on_progress(summary.n_computed, len(todo))

    recorder = _Recorder(store, settings.batch.images_per_transaction)
    try:
        for outcome in build_engine(settings.batch).map(make_worker, pieces, stop, recorder.flush_old):
            recorder.add(outcome)
    finally:
        recorder.flush()  # what was computed before a failure or a second Ctrl-C is stored before it is told
    duration_s = time.monotonic() - started_s
    if summary.n_computed >= summary.n_due or (len(todo) == summary.n_due and not stop.requested):
        catalog.finish_run(manifest.run_key, duration_s=duration_s)
    else:
        catalog.pause_run(manifest.run_key, duration_s=duration_s)
    for message in sorted(summary.unusable_anchors):
        log.warning("%s", message)
    return summary


class _Recorder:
    """Stores outcomes in groups of a size, or of what came in some seconds: a kill loses no more than that."""

    def __init__(self, store: Callable[[list[Outcome]], None], size: int) -> None:
        self._store, self._size = store, size
        self._group: list[Outcome] = []
        self._first_s = 0.0

    def add(self, outcome: Outcome) -> None:
        """Keep an outcome, and store the group when it is full or old enough."""
        if not self._group:
            self._first_s = time.monotonic()
        self._group.append(outcome)
        if len(self._group) == self._size:
            self.flush()
        self.flush_old()

    def flush_old(self) -> None:
        """Store what has waited long enough; the next outcome may be minutes away."""
        if self._group and time.monotonic() - self._first_s >= SECONDS_PER_TRANSACTION:
            self.flush()

    def flush(self) -> None:
        """Store what there is."""
        group, self._group = self._group, []
        if group:
            self._store(group)


def _record(catalog: Catalog, run_key: str, group: list[Outcome]) -> None:
    catalog.record(
        run_key,
        [outcome.result for outcome in group],
        [pair for outcome in group for pair in outcome.pairs],
        {outcome.result.image_id: outcome.input_hash for outcome in group},
    )
