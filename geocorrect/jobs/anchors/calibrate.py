"""Depth calibration of a catalog's anchors, once and offline: killed at any moment, the next run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from geocorrect.config import Settings
from geocorrect.depth.calibration.stored import CalibrationReport
from geocorrect.errors import ExitCode
from geocorrect.jobs.anchors.calibration_worker import AnchorCalibrator, CalibrationTask, calibrate_in_processes
from geocorrect.jobs.anchors.neighbour_table import NeighbourTable
from geocorrect.jobs.anchors.source import AnchorSource
from geocorrect.workers.stop import StopRequest

ANCHORS_PER_READ = 200


@dataclass
class CalibrationOutcome:
    """What was done. rows: one per finished anchor, in order of ids; unusable: a message per anchor that failed."""

    depth: str
    n_anchors: int
    rows: list[CalibrationReport] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    dry_run: bool = False
    stopped: ExitCode | None = None

    @property
    def without_neighbours(self) -> list[str]:
        """Anchors that have no neighbour at all."""
        return [row.anchor_id for row in self.rows if row.n_neighbours == 0]

    @property
    def insufficient(self) -> list[str]:
        """Anchors whose neighbours do not say enough."""
        return [row.anchor_id for row in self.rows if row.n_neighbours and row.n_tracks == 0]

    @property
    def exit_code(self) -> ExitCode:
        """130 or 143 when stopped; 3 when files could not be read."""
        return self.stopped or (ExitCode.INPUT if self.unusable else ExitCode.OK)

    def as_json(self) -> dict[str, Any]:
        """Plain values for --json."""
        return {
            "depth": self.depth,
            "dry_run": self.dry_run,
            "n_anchors": self.n_anchors,
            "n_done": len(self.rows),
            "n_reused": sum(row.reused for row in self.rows),
            "n_without_neighbours": len(self.without_neighbours),
            "n_insufficient": len(self.insufficient),
            "unusable": self.unusable,
            "exit_code": int(self.exit_code),
            "anchors": [vars(row) for row in self.rows],
        }


class CatalogCalibration:
    """Prepares what the configured depth source takes from neighbours, for every anchor of a shelf."""

    def __init__(self, settings: Settings, shelf: AnchorSource) -> None:
        """Raises ConfigError when the configured source is not one that neighbours calibrate."""
        self._settings, self._shelf = settings, shelf
        self._here = AnchorCalibrator(settings)
        self._neighbours = NeighbourTable(settings, shelf.index, shelf.read)

    def count(self) -> CalibrationOutcome:
        """What a run would do, from names of files alone; rows only for anchors that are done or have no neighbour."""
        outcome = self._outcome(dry_run=True)
        for task in self._tasks():
            n_neighbours = len(task.neighbours)
            reused = self._here.is_stored(task)
            if reused or not n_neighbours:
                outcome.rows.append(CalibrationReport(task.anchor.id, n_neighbours, 0, reused=reused))
        return outcome

    def run(self, stop: StopRequest, on_progress: Callable[[int, int], None]) -> CalibrationOutcome:
        """Calibrate the anchors in `batch.workers` processes; each is stored as soon as it is done."""
        outcome = self._outcome()
        self._here.remove_unfinished()
        for done, found in enumerate(self._results(stop), 1):
            if isinstance(found, CalibrationReport):
                outcome.rows.append(found)
            else:
                outcome.unusable.append(found)
            on_progress(done, outcome.n_anchors)
        outcome.rows.sort(key=lambda row: row.anchor_id)
        outcome.unusable.sort()
        if len(outcome.rows) + len(outcome.unusable) < outcome.n_anchors:
            outcome.stopped = stop.exit_code
        return outcome

    def _results(self, stop: StopRequest) -> Iterator[CalibrationReport | str]:
        tasks = takewhile(lambda _: not stop.requested, self._tasks())
        if self._settings.batch.workers == 1:
            return map(self._here, tasks)
        return calibrate_in_processes(self._settings, tasks)

    def _outcome(self, *, dry_run: bool = False) -> CalibrationOutcome:
        return CalibrationOutcome(self._here.fingerprint, len(self._shelf.index.ids), dry_run=dry_run)

    def _tasks(self) -> Iterator[CalibrationTask]:
        """All anchors with their neighbours, in the order of their ids, which is that of the drives."""
        ids = self._shelf.index.ids
        for start in range(0, len(ids), ANCHORS_PER_READ):
            chunk = ids[start : start + ANCHORS_PER_READ]
            records = self._shelf.read(chunk)
            anchors = [records[name] for name in chunk]
            neighbours = self._neighbours.of(anchors)
            yield from (CalibrationTask(anchor, neighbours[anchor.id]) for anchor in anchors)
