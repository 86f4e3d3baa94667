"""Depth that takes an anchor's neighbours, as runs use it: computed once, kept on disk, shared by all processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from geocorrect.depth.base import DepthDeclaration, DepthSource, options_digest
from geocorrect.depth.calibration.calibrate import CalibrateOptions, DepthCalibration, calibrate, calibrated_map
from geocorrect.depth.calibration.neighbours import NeighbourCache
from geocorrect.depth.calibration.store import CalibrationStore, StoredCalibration, StoredKey
from geocorrect.depth.calibration.tracks import track_pixels
from geocorrect.depth.reconstruction import GivenTracks
from geocorrect.depth.triangulated import (
    NEIGHBOURS_NEEDED,
    TriangulatedDepth,
    TriangulatedOptions,
    neighbour_matches,
    nothing_given,
)
from geocorrect.depth.validity import nearest_depth
from geocorrect.errors import ConfigError
from geocorrect.match.base import Matcher
from geocorrect.records import NAN, Anchor, AnchorView, DepthMap, ImageArray

ReadView = Callable[[Anchor], AnchorView]
"""Reads an anchor's pixels; InputError naming a file that cannot be read."""


@dataclass(frozen=True)
class CalibrationReport:
    """One line of `geocorrect anchors calibrate`."""

    anchor_id: str
    n_neighbours: int
    n_tracks: int
    """Well-triangulated points; 0: the neighbours did not suffice and a predicted depth stays as it is."""
    scale_before: float = NAN
    """Predicted over triangulated depth, median; triangulated depth alone has no scale."""
    scale_after: float = NAN
    spread_before: float = NAN
    """1.48 × median absolute difference of log depths."""
    spread_after: float = NAN
    """The same after calibration; of triangulated depth alone the median sigma of log depth."""
    reused: bool = False
    """Whether it was found on disk."""


class _NeighbourDepth:
    """What depth sources that look at neighbours have in common."""

    fingerprint: str
    """Back-end, parameters, matcher and masks in one line."""

    def __init__(self, matcher: Matcher, neighbours: NeighbourCache, store: CalibrationStore, masks: str = "") -> None:
        """masks: name of the set that the neighbours' views come with."""
        self.matcher, self.neighbours, self.store = matcher, neighbours, store
        self._with_masks = f"+masks/{masks}" if masks else ""

    def key(self, anchor: Anchor) -> StoredKey:
        """Under which what the anchor's neighbours say is stored."""
        return StoredKey(anchor, self.neighbours.records(anchor), self.fingerprint)


class StoredTriangulatedDepth(_NeighbourDepth):
    """`TriangulatedDepth` that keeps its maps in the store, where there is one; else every process computes its own."""

    def __init__(
        self,
        matcher: Matcher,
        neighbours: NeighbourCache,
        store: CalibrationStore,
        options: TriangulatedOptions | None = None,
        masks: str = "",
    ) -> None:
        super().__init__(matcher, neighbours, store, masks)
        self._source = TriangulatedDepth(matcher, neighbours, options)
        self.declaration = self._source.declaration
        self.fingerprint = self._source.fingerprint + self._with_masks

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """See `depth.base.DepthSource.depth`."""
        key = self.key(anchor)
        found = self.store.load_map(key, "triangulated")
        if found is None:
            found = self._source.depth(anchor, image)
            if self.store.exists:
                self.store.save_map(key, found)
        return found

    def prepare(self, anchor: Anchor, read: ReadView) -> CalibrationReport:
        """Compute and store one anchor's depth, or find that it is there (then no picture is read)."""
        key = self.key(anchor)
        found = self.store.load_map(key, "triangulated")
        reused = found is not None
        if found is None:
            found = self._source.depth(anchor, read(anchor).pixels)
            self.store.save_map(key, found)
        assert found.samples_z_m is not None
        n = len(found.samples_z_m)
        spread = float(np.median(found.log_sigma)) if n else NAN
        return CalibrationReport(anchor.id, len(key.neighbours), n, spread_after=spread, reused=reused)


class StoredCalibratedDepth(_NeighbourDepth):
    """Another source's depth, corrected by what `geocorrect anchors calibrate` has stored for the anchor.

    A calibration that is missing is an error, never a silent return to the raw prediction. Anchors whose neighbours
    did not suffice keep the prediction under its own name, as the calibration's report says.
    """

    def __init__(
        self,
        base: DepthSource,
        matcher: Matcher,
        neighbours: NeighbourCache,
        store: CalibrationStore,
        options: CalibrateOptions | None = None,
        masks: str = "",
        given: GivenTracks | None = None,
    ) -> None:
        """given: tracks of reconstructions, which serve instead of matching neighbours again."""
        super().__init__(matcher, neighbours, store, masks)
        self.base, self.options, self.given = base, options or CalibrateOptions(), given or nothing_given
        digest, tracks = options_digest(self.options), "" if given is None else given.fingerprint
        self.fingerprint = f"{base.fingerprint}+calibrated/{digest}/{matcher.fingerprint}{self._with_masks}{tracks}"

    @property
    def declaration(self) -> DepthDeclaration:
        """See `depth.base.DepthSource.declaration`."""
        return declare_calibrated(self.base.declaration)

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """See `depth.base.DepthSource.depth`; ConfigError when the anchor was not calibrated."""
        key = self.key(anchor)
        stored = self.store.load(key, self.options)
        if stored is None:
            raise ConfigError(
                f"anchor {anchor.id}: no depth calibration in {self.store.folder} for its present pose, neighbours and "
                "[depth] settings; run `geocorrect anchors calibrate`, then this command again, or set "
                "[depth] calibrate = false"
            )
        raw = self.base.depth(anchor, image)
        if stored.calibration is None:
            return raw
        return replace(calibrated_map(raw, stored.calibration), from_anchors=key.from_anchors)

    def prepare(self, anchor: Anchor, read: ReadView) -> CalibrationReport:
        """Calibrate and store one anchor, or find that it is there (then no picture is read)."""
        key = self.key(anchor)
        stored = self.store.load(key, self.options)
        reused = stored is not None
        if stored is None:
            stored = StoredCalibration(self.calibrate(anchor, read(anchor).pixels))
            self.store.save(key, stored.calibration)
        n, c = len(key.neighbours), stored.calibration
        if c is None:
            return CalibrationReport(anchor.id, n, 0, reused=reused)
        scales, spreads = (c.scale_before, c.scale_after), (c.spread_before, c.spread_after)
        return CalibrationReport(anchor.id, n, c.n_tracks, *scales, *spreads, reused=reused)

    def calibrate(self, anchor: Anchor, image: ImageArray) -> DepthCalibration | None:
        """The anchor's calibration, computed now; None where its neighbours do not suffice or depth is measured."""
        raw = self.base.depth(anchor, image)
        if raw.z_m is None:
            return None
        pairs = neighbour_matches(anchor, image, self.neighbours(anchor), self.matcher, self.given)
        if not pairs:
            return None
        predicted = nearest_depth(raw.z_m, track_pixels(pairs)[0])
        predicted[~(predicted > 0)] = np.nan
        return calibrate(anchor.camera, pairs, predicted, raw.common_log_sigma, self.options)


NeighbourDepth = StoredTriangulatedDepth | StoredCalibratedDepth
"""Depth sources that need neighbours, and that can be prepared anchor by anchor."""


def declare_calibrated(base: DepthDeclaration) -> DepthDeclaration:
    """What another source is once neighbours have corrected it: how well is stated with each map."""
    return replace(base, needs=(*base.needs, NEIGHBOURS_NEEDED), log_sigma=NAN, common_log_sigma=NAN)
