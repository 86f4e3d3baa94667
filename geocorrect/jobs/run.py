"""A batch run: what is due → correct → store. Killed at any moment, the next run goes on where this one was."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from geocorrect import __version__
from geocorrect.api.backends import Backends
from geocorrect.catalog.run import RunManifest
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.jobs.context import JobContext, RunLimits, use_or_create
from geocorrect.jobs.plan import DuePhotos, RunPlan, explain_due, plan_run
from geocorrect.jobs.report import CorrectReport
from geocorrect.jobs.run_identity import newest_run_key, run_key, run_record
from geocorrect.jobs.tiles import read_pieces
from geocorrect.log import note_run_key
from geocorrect.workers.engine import build_engine
from geocorrect.workers.limits import WorkerFactory
from geocorrect.workers.stop import StopRequest
from geocorrect.workers.worker import Outcome

log = logging.getLogger(__name__)
SECONDS_PER_TRANSACTION = 5.0


def correct_due(
    settings: Settings,
    catalog: Catalog,
    *,
    limits: RunLimits | None = None,
    dry_run: bool = False,
    explain: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, due: None,
    context: JobContext | None = None,
    backends: Backends | None = None,
) -> CorrectReport:
    """Correct what is due; Ctrl-C and SIGTERM finish the images at hand and end with 130 or 143.

    Args:
        settings: the configuration.
        catalog: of the scene.
        limits: do no more than that; what is left is no failure, the next run goes on.
        dry_run: only count.
        explain: of a dry run, say why the photos are due.
        on_progress: called with (done, to do).
        context: of the job that this is a step of.
        backends: matcher and depth source, when the caller has built them already.

    Raises:
        SceneBusyError: another run has the scene.
        InputError: the catalog holds no anchors.
    """
    limits = limits or RunLimits()
    if dry_run:
        plan = plan_run(settings, catalog, backends)
        causes = explain_due(plan, catalog) if explain else {}
        return CorrectReport(newest_run_key(plan.config_key, catalog), len(plan.due), dry_run=True, causes=causes)
    with use_or_create(context, catalog, limits.left_s) as own:

        def stored(done: int, todo: int) -> None:
            own.lock.refresh()
            on_progress(done, todo)

        report = run_batch(plan_run(settings, catalog, backends), catalog, own.stop, stored, limits.max_images)
    report.end(own.stop.exit_code, settings.batch.max_rejected_share)
    return report


def run_batch(
    plan: RunPlan,
    catalog: Catalog,
    stop: StopRequest,
    on_progress: Callable[[int, int], None] = lambda done, todo: None,
    max_images: int | None = None,
) -> CorrectReport:
    """Correct every image of a plan, or the first `max_images`, and store the results as they come.

    Args:
        plan: what is due.
        catalog: that it was made for.
        stop: checked between images.
        on_progress: called with (done, to do) after every transaction.
        max_images: do no more; None: all.
    """
    batch, due = plan.settings.batch, plan.due.first(max_images)
    report = CorrectReport(newest_run_key(plan.config_key, catalog), n_due=len(plan.due))
    if not len(due) or stop.requested:
        return report
    started_s = time.monotonic()
    manifest = _next_run(plan, due, catalog)
    run_id, report.run_key = catalog.begin_run(manifest), manifest.run_key
    note_run_key(manifest.run_key)
    log.info("run %s: %d images due", run_id, report.n_due)
    newest = catalog.newest_run(plan.config_key)
    pieces = read_pieces(plan, due.for_start(newest[1].n_starts if newest else 1), catalog)

    def store(group: list[Outcome]) -> None:
        catalog.record(
            manifest.run_key,
            [outcome.result for outcome in group],
            [pair for outcome in group for pair in outcome.pairs],
            {outcome.result.image_id: outcome.input_hash for outcome in group},
        )
        for outcome in group:
            report.add(outcome)
        on_progress(report.n_computed, len(due))

    recorder = _Recorder(store, batch.images_per_transaction)
    make_worker = WorkerFactory(plan.settings, plan.backends.fingerprints)
    try:
        for outcome in build_engine(batch).map(make_worker, pieces, stop, recorder.flush_old):
            recorder.add(outcome)
    finally:
        recorder.flush()  # what was computed before a failure or a second Ctrl-C is stored before it is reported
    is_over = report.n_computed >= report.n_due or (len(due) == report.n_due and not stop.requested)
    (catalog.finish_run if is_over else catalog.pause_run)(manifest.run_key, duration_s=time.monotonic() - started_s)
    for message in sorted(report.unusable_anchors):
        log.warning("%s", message)
    return report


def _next_run(plan: RunPlan, due: DuePhotos, catalog: Catalog) -> RunManifest:
    """The run that the results go to: the newest of its configuration, or a new generation.

    A new one begins when a due photo has a result in the newest, because results are never replaced, and when the
    newest was rolled back and the anchors have changed since. While they have not, the rolled-back run is named, which
    `Catalog.begin_run` refuses: what was rolled back must not be computed again unasked.
    """
    generation, newest = 1, catalog.newest_run(plan.config_key)
    if newest is not None:
        fid, run = newest
        assert run.generation is not None
        if run.rolled_back_at is not None:
            begins = run.alignment_version != plan.scene.version
        else:
            begins = bool(np.any(due.run_fid == fid))
        generation = run.generation + begins
    matcher, depth, *further = plan.backends.fingerprints
    return RunManifest(
        run_key=run_key(plan.config_key, generation),
        started_at=datetime.now(UTC),
        config=run_record(plan.settings),
        code_version=__version__,
        matcher="+".join([matcher, *further]),
        depth=depth,
        alignment_version=plan.scene.version,
        config_key=plan.config_key,
        generation=generation,
        n_due=len(due),
    )


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
