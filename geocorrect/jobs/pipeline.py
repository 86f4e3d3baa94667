"""The whole scheduled job: harvest → correct → sequences → export. Run again, only what is new is done."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from geocorrect.api.backends import Backends
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.errors import ConfigError, OutputError, RemoteError
from geocorrect.export.export import export_catalog
from geocorrect.export.formats import format_of
from geocorrect.harvest.area import Area
from geocorrect.harvest.harvest import HarvestPlan
from geocorrect.harvest.near_anchors import area_around_anchors
from geocorrect.harvest.sink import MemorySink
from geocorrect.harvest.sources import harvest_area
from geocorrect.io.atomic_file import probe_output
from geocorrect.jobs.context import JobContext, RunLimits, use_or_create
from geocorrect.jobs.report import CorrectReport, JobReport
from geocorrect.jobs.run import correct_due
from geocorrect.jobs.sequences import adjust_due_sequences

log = logging.getLogger(__name__)


def run_pipeline(
    settings: Settings,
    catalog: Catalog,
    *,
    limits: RunLimits | None = None,
    dry_run: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, due: None,
    context: JobContext | None = None,
) -> JobReport:
    """Harvest the configured area, correct what is due, compare the sequences, write the configured exports.

    The scene is locked and signals are heeded from the first step to the last: Ctrl-C and SIGTERM finish the pictures,
    the photo, the sequence or the file at hand. A service that does not answer and a token that is refused are reported
    at the end; what is there is corrected.

    Args:
        settings: the configuration.
        catalog: of the scene.
        limits: what correction and sequences may do; the time runs while photos are harvested, too.
        dry_run: ask the service and count what is due, store and write nothing.
        on_progress: called with (photos done, photos due).
        context: one that the caller has opened.
    """
    limits = limits or RunLimits()
    # Missing weights and files that cannot be written are reported before hours are spent on harvesting.
    backends = Backends(settings)
    for path in settings.export.files:
        format_of(path)
        if not dry_run:
            probe_output(path)
    area = Area.configured(settings.area.bbox, settings.area.file)
    if settings.area.around_anchors_m is not None:
        area = area_around_anchors(catalog, settings.area.around_anchors_m)
    with use_or_create(context, catalog, limits.left_s, dry_run=dry_run) as own:
        job = _Job(settings, catalog, own, dry_run)
        job.harvest(area)
        job.correct(backends, limits, on_progress)
        job.sequences()
        job.export()
        job.report.stopped = own.stop.exit_code
        return job.report


@dataclass(frozen=True)
class _Job:
    """The steps. After a signal each of them leaves everything to the next run."""

    settings: Settings
    catalog: Catalog
    context: JobContext
    dry_run: bool
    report: JobReport = field(default_factory=JobReport)

    @property
    def signalled(self) -> bool:
        return self.context.stop.exit_code is not None

    def harvest(self, area: Area | None) -> None:
        """Not bounded by time: half a harvest is asked for again."""
        if area is None:
            return
        plan = HarvestPlan(area, self.settings.images.folder, dry_run=self.dry_run)
        sink = MemorySink() if self.dry_run else self.catalog
        try:
            self.report.harvest = harvest_area(
                self.settings.harvest, plan, sink, lambda _: self.context.lock.refresh(), lambda: self.signalled
            )
        except (RemoteError, ConfigError) as error:
            # A service that is down tonight is no reason to leave what it gave us yesterday uncorrected.
            log.error("not harvested: %s", error)
            self.report.harvest_error = error

    def correct(self, backends: Backends, limits: RunLimits, on_progress: Callable[[int, int], None]) -> None:
        if self.context.stop.exit_code is not None:
            self.report.correct = CorrectReport(dry_run=self.dry_run, exit_code=self.context.stop.exit_code)
            return
        self.report.correct = correct_due(
            self.settings, self.catalog, limits=limits, dry_run=self.dry_run, on_progress=on_progress,
            context=self.context, backends=backends,
        )  # fmt: skip

    def sequences(self) -> None:
        if self.settings.sequence.enabled and not self.context.stop.requested:
            self.report.sequences = adjust_due_sequences(
                self.settings, self.catalog, dry_run=self.dry_run, context=self.context
            )

    def export(self) -> None:
        """Also when the time is up: what is there is exported."""
        for path in () if self.dry_run else self.settings.export.files:
            if self.signalled:
                break
            self.context.lock.refresh()
            try:
                self.report.exported[path] = export_catalog(self.catalog, path)
            except OutputError as error:
                # The night's work is in the catalog: the report says so, and the other files are written.
                log.error("not exported: %s", error)
                self.report.export_errors[path] = error
