"""The whole scheduled job in three steps: harvest → correct → export. Run again, only what is new is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from geocorrect.batch.job import JobOutcome, correct_due
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.errors import ExitCode
from geocorrect.export.export import export_catalog
from geocorrect.harvest.area import Area
from geocorrect.harvest.harvest import HarvestPlan, run_harvest
from geocorrect.harvest.report import HarvestReport
from geocorrect.harvest.sink import MemorySink


@dataclass(frozen=True)
class PipelineOutcome:
    """What each step did. harvested is None when no area is configured; exported: results per file."""

    harvested: HarvestReport | None
    corrected: JobOutcome
    exported: dict[Path, int]

    @property
    def exit_code(self) -> ExitCode:
        """The first failure's: an incomplete harvest, then whatever the correction ended with."""
        if self.harvested is not None and self.harvested.exit_code is not ExitCode.OK:
            return self.harvested.exit_code
        return self.corrected.exit_code

    def as_json(self) -> dict[str, object]:
        """Plain values for --json."""
        return {
            "harvest": None if self.harvested is None else self.harvested.as_dict(),
            "correct": self.corrected.as_json(),
            "export": {str(path): count for path, count in self.exported.items()},
            "exit_code": int(self.exit_code),
        }

    def sentence(self) -> str:
        """For people, a line per step."""
        lines = ["no [area] configured: nothing harvested" if self.harvested is None else self.harvested.sentence()]
        lines.append(self.corrected.sentence())
        return "\n".join(lines + [f"{count} results written to {path}" for path, count in self.exported.items()])


def run_pipeline(
    settings: Settings,
    catalog: Catalog,
    *,
    dry_run: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, due: None,
) -> PipelineOutcome:
    """Harvest the configured area, correct what is due, write the configured exports.

    dry_run: ask the service and count what is due, store and write nothing.
    """
    area = Area.configured(settings.area.bbox, settings.area.file)
    harvested = None
    if area is not None:
        plan = HarvestPlan(area, settings.images.folder, dry_run=dry_run)
        harvested = run_harvest(settings.harvest, plan, MemorySink() if dry_run else catalog)
    corrected = correct_due(settings, catalog, dry_run=dry_run, on_progress=on_progress)
    exported = {}
    if not dry_run and corrected.exit_code not in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
        exported = {path: export_catalog(catalog, path) for path in settings.export.files}
    return PipelineOutcome(harvested, corrected, exported)
