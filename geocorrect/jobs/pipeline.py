"""The whole scheduled job: harvest → correct → sequences → export. Run again, only what is new is done."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.errors import ConfigError, ExitCode, GeocorrectError, RemoteError
from geocorrect.export.export import export_catalog
from geocorrect.harvest.area import Area
from geocorrect.harvest.harvest import HarvestPlan, run_harvest
from geocorrect.harvest.report import HarvestReport
from geocorrect.harvest.sink import MemorySink
from geocorrect.jobs.context import JobContext, use_or_create
from geocorrect.jobs.correct import JobOutcome, RunLimits, correct_due
from geocorrect.jobs.run import RunSummary
from geocorrect.jobs.run_identity import describe_run
from geocorrect.jobs.sequence_report import SequenceOutcome
from geocorrect.jobs.sequences import adjust_due_sequences

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PipelineOutcome:
    """What each step did. harvested is None when no area is configured or the harvest failed, sequences when that step
    is switched off or the job was stopped before it; exported: results per file; stopped: by which signal; failed: why
    there was no harvest.
    """

    harvested: HarvestReport | None
    corrected: JobOutcome
    sequences: SequenceOutcome | None
    exported: dict[Path, int]
    stopped: ExitCode | None = None
    failed: GeocorrectError | None = None

    @property
    def exit_code(self) -> ExitCode:
        """The gravest: a signal, then what the correction ended with, the sequences, the harvest, holes in it."""
        told = (self.stopped, self.corrected, self.sequences, self.failed, self.harvested)
        codes = [step if isinstance(step, ExitCode) else step.exit_code for step in told if step is not None]
        return next((code for code in codes if code is not ExitCode.OK), ExitCode.OK)

    def as_json(self) -> dict[str, object]:
        """Plain values for --json."""
        return {
            "harvest": None if self.harvested is None else self.harvested.as_dict(),
            "harvest_error": None if self.failed is None else str(self.failed),
            "correct": self.corrected.as_json(),
            "sequences": None if self.sequences is None else self.sequences.as_json(),
            "export": {str(path): count for path, count in self.exported.items()},
            "exit_code": int(self.exit_code),
        }

    def sentence(self) -> str:
        """For people, a line per step."""
        if self.failed is not None:
            lines = [f"not harvested: {self.failed}; the photos that were there are corrected"]
        else:
            lines = ["no [area] configured: nothing harvested" if self.harvested is None else self.harvested.sentence()]
        lines.append(self.corrected.sentence())
        lines += [] if self.sequences is None else [self.sequences.sentence()]
        return "\n".join(lines + [f"{count} results written to {path}" for path, count in self.exported.items()])


def run_pipeline(
    settings: Settings,
    catalog: Catalog,
    *,
    allowance: RunLimits | None = None,
    dry_run: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, due: None,
    session: JobContext | None = None,
) -> PipelineOutcome:
    """Harvest the configured area, correct what is due, compare the sequences, write the configured exports.

    The scene is held and signals are heeded from the first step to the last: Ctrl-C and SIGTERM finish the pictures,
    the photo, the sequence or the file at hand. A service that does not answer and a token that is refused are told at
    the end; what is there is corrected.

    allowance: what correction and sequences may do; its time runs while photos are harvested, too. dry_run: ask the
    service and count what is due, store and write nothing. session: one that the caller has opened.
    """
    allowance = allowance or RunLimits()
    describe_run(settings)  # weights that are missing are told before hours are spent on harvesting
    area = Area.configured(settings.area.bbox, settings.area.file)
    with use_or_create(session, catalog, allowance.left_s, dry_run=dry_run) as work:
        steps = _Steps(settings, catalog, work, dry_run)
        harvested, failed = steps.harvest(area)
        corrected = steps.correct(allowance, on_progress)
        sequences = steps.sequences()
        exported = steps.export()
        return PipelineOutcome(harvested, corrected, sequences, exported, work.stop.exit_code, failed)


@dataclass(frozen=True)
class _Steps:
    """The steps of one job. After a signal each of them leaves everything to the next run."""

    settings: Settings
    catalog: Catalog
    work: JobContext
    dry_run: bool

    @property
    def signalled(self) -> bool:
        return self.work.stop.exit_code is not None

    def harvest(self, area: Area | None) -> tuple[HarvestReport | None, GeocorrectError | None]:
        """What came of it, or why nothing did. Not bounded by time: half a harvest is asked for again."""
        if area is None:
            return None, None
        plan = HarvestPlan(area, self.settings.images.folder, dry_run=self.dry_run)
        sink = MemorySink() if self.dry_run else self.catalog
        try:
            report = run_harvest(
                self.settings.harvest, plan, sink, lambda _: self.work.hold.keep(), lambda: self.signalled
            )
        except (RemoteError, ConfigError) as error:
            # A service that is down tonight is no reason to leave what it gave us yesterday uncorrected.
            log.error("not harvested: %s", error)
            return None, error
        return report, None

    def correct(self, allowance: RunLimits, on_progress: Callable[[int, int], None]) -> JobOutcome:
        if self.work.stop.exit_code is not None:
            return JobOutcome(RunSummary(""), self.work.stop.exit_code, self.dry_run)
        return correct_due(
            self.settings, self.catalog, allowance=allowance, dry_run=self.dry_run, on_progress=on_progress,
            session=self.work,
        )  # fmt: skip

    def sequences(self) -> SequenceOutcome | None:
        if not self.settings.sequence.enabled or self.work.stop.requested:
            return None
        return adjust_due_sequences(self.settings, self.catalog, dry_run=self.dry_run, session=self.work)

    def export(self) -> dict[Path, int]:
        """Also when the time is up: what is there is exported."""
        exported: dict[Path, int] = {}
        for path in () if self.dry_run else self.settings.export.files:
            if self.signalled:
                break
            self.work.hold.keep()
            exported[path] = export_catalog(self.catalog, path)
        return exported
