"""Depth calibration of a catalog's anchors, once and offline: killed at any moment, the next run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from geocorrect.batch.anchor_reader import AnchorReader
from geocorrect.batch.anchor_shelf import AnchorShelf
from geocorrect.batch.backends import build_matcher, build_neighbour_depth
from geocorrect.batch.neighbour_table import NeighbourTable
from geocorrect.batch.stop import StopRequest
from geocorrect.config import Settings
from geocorrect.depth.stored import CalibrationReport, NeighbourDepth
from geocorrect.errors import ExitCode, InputError
from geocorrect.records import Anchor

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

    def __init__(self, settings: Settings, shelf: AnchorShelf) -> None:
        """Raises ConfigError when the configured source is not one that neighbours calibrate."""
        self._settings, self._shelf = settings, shelf
        matcher = build_matcher(settings)
        self._reader = AnchorReader(settings, matcher)
        self.source: NeighbourDepth = build_neighbour_depth(settings, matcher, self._reader.book)

    @cached_property
    def _neighbours(self) -> NeighbourTable:
        return NeighbourTable(self._settings, self._shelf.index, self._shelf.read)

    def count(self) -> CalibrationOutcome:
        """What a run would do, from names of files alone; rows only for anchors that are done already."""
        outcome = CalibrationOutcome(self.source.fingerprint, len(self._shelf.index.ids), dry_run=True)
        for anchor in self._anchors():
            key = self.source.key(anchor)
            if self.source.store.path(key).exists():
                outcome.rows.append(CalibrationReport(anchor.id, len(key.neighbours), 0, reused=True))
            elif not key.neighbours:
                outcome.rows.append(CalibrationReport(anchor.id, 0, 0))
        return outcome

    def run(self, stop: StopRequest, on_progress: Callable[[int, int], None]) -> CalibrationOutcome:
        """Calibrate anchor after anchor; each is stored before the next begins."""
        outcome = CalibrationOutcome(self.source.fingerprint, len(self._shelf.index.ids))
        self.source.store.remove_unfinished()
        for done, anchor in enumerate(self._anchors(), 1):
            if stop.requested:
                outcome.stopped = stop.exit_code
                break
            try:
                outcome.rows.append(self.source.prepare(anchor, self._reader.view))
            except InputError as error:
                outcome.unusable.append(f"anchor {anchor.id}: {error}")
            on_progress(done, outcome.n_anchors)
        return outcome

    def _anchors(self) -> Iterator[Anchor]:
        """All anchors in the order of their ids, which is that of the drives, with their neighbours in the book."""
        for ids in _chunks(self._shelf.index.ids):
            records = self._shelf.read(ids)
            anchors = tuple(records[name] for name in ids)
            self._reader.book.learn(self._neighbours.of(anchors), anchors)
            yield from anchors


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), ANCHORS_PER_READ):
        yield ids[start : start + ANCHORS_PER_READ]
