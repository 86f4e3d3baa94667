"""The whole scheduled job: harvest → correct → sequences → export. Run again, only what is new is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from geocorrect.batch.describe import describe_run
from geocorrect.batch.job import Allowance, JobOutcome, correct_due
from geocorrect.batch.sequence_outcome import SequenceOutcome
from geocorrect.batch.sequences import adjust_due_sequences
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.errors import ExitCode
from geocorrect.export.export import export_catalog
from geocorrect.harvest.area import Area
from geocorrect.harvest.harvest import HarvestPlan, run_harvest
from geocorrect.harvest.report import HarvestReport
from geocorrect.harvest.sink import MemorySink

_STOPPED = (ExitCode.INTERRUPTED, ExitCode.TERMINATED)


@dataclass(frozen=True)
class PipelineOutcome:
    """What each step did. harvested is None when no area is configured, sequences when that step is switched off or the
    job was stopped before it; exported: results per file.
    """

    harvested: HarvestReport | None
    corrected: JobOutcome
    sequences: SequenceOutcome | None
    exported: dict[Path, int]

    @property
    def exit_code(self) -> ExitCode:
        """The first failure's: an incomplete harvest, then whatever the correction ended with."""
        if self.harvested is not None and self.harvested.exit_code is not ExitCode.OK:
            return self.harvested.exit_code
        if self.corrected.exit_code is ExitCode.OK and self.sequences is not None:
            return self.sequences.exit_code
        return self.corrected.exit_code

    def as_json(self) -> dict[str, object]:
        """Plain values for --json."""
        return {
            "harvest": None if self.harvested is None else self.harvested.as_dict(),
            "correct": self.corrected.as_json(),
            "sequences": None if self.sequences is None else self.sequences.as_json(),
            "export": {str(path): count for path, count in self.exported.items()},
            "exit_code": int(self.exit_code),
        }

    def sentence(self) -> str:
        """For people, a line per step."""
        lines = ["no [area] configured: nothing harvested" if self.harvested is None else self.harvested.sentence()]
        lines.append(self.corrected.sentence())
        lines += [] if self.sequences is None else [self.sequences.sentence()]
        return "\n".join(lines + [f"{count} results written to {path}" for path, count in self.exported.items()])


def run_pipeline(
    settings: Settings,
    catalog: Catalog,
    *,
    allowance: Allowance | None = None,
    dry_run: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, due: None,
) -> PipelineOutcome:
    """Harvest the configured area, correct what is due, compare the sequences, write the configured exports.

    allowance: what the correction may do; its time runs while photos are harvested, too. dry_run: ask the service and
    count what is due, store and write nothing.
    """
    allowance = allowance or Allowance()
    describe_run(settings)  # weights that are missing are told before hours are spent on harvesting
    area = Area.configured(settings.area.bbox, settings.area.file)
    harvested = None
    if area is not None:
        plan = HarvestPlan(area, settings.images.folder, dry_run=dry_run)
        harvested = run_harvest(settings.harvest, plan, MemorySink() if dry_run else catalog)
    corrected = correct_due(settings, catalog, allowance=allowance, dry_run=dry_run, on_progress=on_progress)
    sequences = None
    if settings.sequence.enabled and corrected.exit_code not in _STOPPED:
        sequences = adjust_due_sequences(settings, catalog, dry_run=dry_run)
    stopped = corrected.exit_code in _STOPPED or (sequences is not None and sequences.exit_code in _STOPPED)
    exported = {}
    if not dry_run and not stopped:
        exported = {path: export_catalog(catalog, path) for path in settings.export.files}
    return PipelineOutcome(harvested, corrected, sequences, exported)
