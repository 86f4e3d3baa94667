"""Depth calibration of a catalog's anchors, once and offline: killed at any moment, the next run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import Any

from geocorrect.api.anchor_cache import AnchorCache
from geocorrect.api.backends import build_matcher, build_neighbour_depth
from geocorrect.api.scene import AnchorSource, Scene
from geocorrect.config import Settings
from geocorrect.depth.calibration.stored import CalibrationReport
from geocorrect.errors import ExitCode, InputError, Reason
from geocorrect.records import Anchor
from geocorrect.workers.engine import PoolEngine
from geocorrect.workers.pool import Limits
from geocorrect.workers.process import ProcessWorker
from geocorrect.workers.stop import StopRequest

ANCHORS_PER_PIECE = 8
"""Given to one process together: those that follow each other on a drive share neighbours."""


@dataclass
class CalibrationOutcome:
    """What was done."""

    depth: str
    """Fingerprint of the depth source."""
    n_anchors: int
    rows: list[CalibrationReport] = field(default_factory=list)
    """One per finished anchor, in the order of ids."""
    unusable: list[str] = field(default_factory=list)
    """A message per anchor that failed."""
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


@dataclass(frozen=True)
class CalibrationTask:
    """An anchor with the neighbours that its depth is found from; all that a process needs."""

    anchor: Anchor
    neighbours: tuple[Anchor, ...]

    @property
    def key(self) -> str:
        """Id of the anchor."""
        return self.anchor.id

    def failed(self, _reason: Reason, detail: str) -> str:
        """The message when no process can finish the task."""
        return f"anchor {self.anchor.id}: {detail} (memory?); run again, with fewer workers"


class AnchorCalibrator:
    """Loads models once and calibrates one anchor after the other."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError when the configured source is not one that neighbours calibrate."""
        matcher = build_matcher(settings)
        self._anchors = AnchorCache(settings, matcher)
        self.source = build_neighbour_depth(settings, matcher, self._anchors.neighbours)

    def is_stored(self, task: CalibrationTask) -> bool:
        """Whether the anchor is done already; nothing is read."""
        self._add(task)
        return self.source.store.path(self.source.key(task.anchor)).exists()

    def __call__(self, task: CalibrationTask) -> CalibrationReport | str:
        """Calibrate and store, or read what is stored; a message when a file cannot be read."""
        self._add(task)
        try:
            return self.source.prepare(task.anchor, self._anchors.view)
        except InputError as error:
            return f"anchor {task.anchor.id}: {error}"

    def _add(self, task: CalibrationTask) -> None:
        self._anchors.neighbours.add({task.anchor.id: task.neighbours}, (task.anchor,))


class CatalogCalibration:
    """Prepares what the configured depth source takes from neighbours, for every anchor of a source."""

    def __init__(self, settings: Settings, source: AnchorSource) -> None:
        """Raises ConfigError when the configured source is not one that neighbours calibrate."""
        self._settings, self._source, self._scene = settings, source, Scene(settings, source)
        self._here = AnchorCalibrator(settings)

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
        self._here.source.store.remove_unfinished()
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
        if self._settings.batch.workers == 1:
            return map(self._here, takewhile(lambda _: not stop.requested, self._tasks()))
        engine = PoolEngine(ProcessWorker, self._settings.batch.workers, Limits())
        return engine.map(partial(AnchorCalibrator, self._settings), self._pieces(), stop)

    def _outcome(self, *, dry_run: bool = False) -> CalibrationOutcome:
        return CalibrationOutcome(self._here.source.fingerprint, len(self._source.index.ids), dry_run=dry_run)

    def _pieces(self) -> Iterator[list[CalibrationTask]]:
        tasks = self._tasks()
        while piece := [task for _, task in zip(range(ANCHORS_PER_PIECE), tasks, strict=False)]:
            yield piece

    def _tasks(self) -> Iterator[CalibrationTask]:
        """All anchors with their neighbours, in the order of their ids, which is that of the drives."""
        for anchors in self._source.chunks():
            neighbours = self._scene.neighbours_of(anchors)
            yield from (CalibrationTask(anchor, neighbours[anchor.id]) for anchor in anchors)
