"""Depth from neighbours as runs use it: each anchor computed once, kept on disk, shared by all processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from geocorrect.depth.base import DepthDeclaration
from geocorrect.depth.calibration.calibrate import DepthCalibration, calibrated_map
from geocorrect.depth.calibration.neighbours import NeighbourCache
from geocorrect.depth.calibration.store import CalibrationStore, StoredCalibration, StoredKey
from geocorrect.depth.triangulated import CalibratedDepth, TriangulatedDepth
from geocorrect.errors import ConfigError
from geocorrect.records import NAN, Anchor, AnchorView, DepthMap, ImageArray

ReadView = Callable[[Anchor], AnchorView]
"""Reads an anchor's pixels; InputError naming a file that cannot be read."""


@dataclass(frozen=True)
class CalibrationReport:
    """One line of `geocorrect anchors calibrate`.

    n_tracks: well-triangulated points (0: the neighbours did not suffice and a predicted depth stays as it is).
    scale_*: predicted over triangulated depth, median; spread_*: 1.48 × median absolute log difference, before and
    after. Triangulated depth alone has no scale; its spread_after is the median sigma of log depth. reused: it was
    found on disk.
    """

    anchor_id: str
    n_neighbours: int
    n_tracks: int
    scale_before: float = NAN
    scale_after: float = NAN
    spread_before: float = NAN
    spread_after: float = NAN
    reused: bool = False


class StoredTriangulatedDepth:
    """`TriangulatedDepth` that keeps its maps in the store, where there is one; else every process computes its own."""

    def __init__(
        self, source: TriangulatedDepth, book: NeighbourCache, store: CalibrationStore, masks: str = ""
    ) -> None:
        """masks: name of the set that the book's views come with."""
        self.source, self.book, self.store, self.masks = source, book, store, masks

    @property
    def fingerprint(self) -> str:
        """Back-end, parameters and masks in one line."""
        return _with_masks(self.source.fingerprint, self.masks)

    @property
    def declaration(self) -> DepthDeclaration:
        """See `depth.base.DepthSource.declaration`."""
        return self.source.declaration

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """See `depth.base.DepthSource.depth`."""
        key = self.key(anchor)
        found = self.store.load_map(key, "triangulated")
        if found is None:
            found = self.source.depth(anchor, image)
            if self.store.exists:
                self.store.save_map(key, found)
        return found

    def prepare(self, anchor: Anchor, read: ReadView) -> CalibrationReport:
        """Compute and keep one anchor's depth, or find that it is there (then no picture is read)."""
        key = self.key(anchor)
        found = self.store.load_map(key, "triangulated")
        reused = found is not None
        if found is None:
            found = self.source.depth(anchor, read(anchor).pixels)
            self.store.save_map(key, found)
        assert found.samples_z_m is not None
        n = len(found.samples_z_m)
        spread = float(np.median(found.log_sigma)) if n else NAN
        return CalibrationReport(anchor.id, len(key.neighbours), n, spread_after=spread, reused=reused)

    def key(self, anchor: Anchor) -> StoredKey:
        """Under which the anchor's depth is stored."""
        return StoredKey(anchor, self.book.records(anchor), self.fingerprint)


class StoredCalibratedDepth:
    """Another source's depth with the calibration that `geocorrect anchors calibrate` has stored for the anchor.

    A calibration that is missing is an error, never a silent return to the raw prediction. Anchors whose neighbours
    did not suffice keep the prediction under its own name, as the calibration's report says.
    """

    def __init__(self, source: CalibratedDepth, book: NeighbourCache, store: CalibrationStore, masks: str = "") -> None:
        """masks: name of the set that the book's views come with."""
        self.source, self.book, self.store, self.masks = source, book, store, masks

    @property
    def fingerprint(self) -> str:
        """Base source, matcher, parameters and masks in one line."""
        return _with_masks(self.source.fingerprint, self.masks)

    @property
    def declaration(self) -> DepthDeclaration:
        """See `depth.base.DepthSource.declaration`."""
        return self.source.declaration

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """See `depth.base.DepthSource.depth`; ConfigError when the anchor was not calibrated."""
        key = self.key(anchor)
        stored = self.store.load(key, self.source.options)
        if stored is None:
            raise ConfigError(
                f"anchor {anchor.id}: no depth calibration in {self.store.folder} for its present pose, neighbours and "
                "[depth] settings; run `geocorrect anchors calibrate`, then this command again, or set "
                "[depth] calibrate = false"
            )
        raw = self.source.base.depth(anchor, image)
        return raw if stored.calibration is None else calibrated_map(raw, stored.calibration)

    def prepare(self, anchor: Anchor, read: ReadView) -> CalibrationReport:
        """Calibrate one anchor and keep it, or find that it is there (then no picture is read)."""
        key = self.key(anchor)
        stored = self.store.load(key, self.source.options)
        reused = stored is not None
        if stored is None:
            pixels = read(anchor).pixels
            raw = self.source.base.depth(anchor, pixels)
            stored = StoredCalibration(self.source.calibrate(anchor, pixels, raw))
            self.store.save(key, stored.calibration)
            # It is on disk now; a city's calibrations would not fit into memory.
            self.source.calibrations.clear()
        return _report(anchor, len(key.neighbours), stored.calibration, reused)

    def key(self, anchor: Anchor) -> StoredKey:
        """Under which the anchor's calibration is stored."""
        return StoredKey(anchor, self.book.records(anchor), self.fingerprint)


NeighbourDepth = StoredTriangulatedDepth | StoredCalibratedDepth
"""Depth sources that need neighbours, and that can be prepared anchor by anchor."""


def _with_masks(fingerprint: str, masks: str) -> str:
    return f"{fingerprint}+masks/{masks}" if masks else fingerprint


def _report(anchor: Anchor, n_neighbours: int, calibration: DepthCalibration | None, reused: bool) -> CalibrationReport:
    if calibration is None:
        return CalibrationReport(anchor.id, n_neighbours, 0, reused=reused)
    c = calibration
    scales, spreads = (c.scale_before, c.scale_after), (c.spread_before, c.spread_after)
    return CalibrationReport(anchor.id, n_neighbours, c.n_tracks, *scales, *spreads, reused=reused)
