"""Depth of an anchor from its neighbours of known pose: no network, no LiDAR (source name `triangulated`).

The anchor is matched with its neighbours along the drive; every match that they place consistently is a
depth sample. The samples lie on the anchor's own features, which is where a query is matched too.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from geocorrect.depth.base import DepthDeclaration, DepthSource
from geocorrect.depth.calibration.calibrate import CalibrateOptions, DepthCalibration, calibrate, calibrated_map
from geocorrect.depth.calibration.track_adjustment import (
    MAX_LOG_Z,
    MIN_LOG_Z,
    NeighbourMatches,
    TrackOptions,
    adjust_tracks,
    track_pixels,
)
from geocorrect.io.masks import unmasked
from geocorrect.match.base import Matcher
from geocorrect.records import NAN, Anchor, AnchorView, DepthMap, ImageArray

Neighbours = Callable[[Anchor], Sequence[AnchorView]]
"""Gives an anchor's neighbours of known pose, with pixels, nearest first; not the anchor itself."""


NEIGHBOURS_NEEDED = "neighbours of each anchor"


@dataclass(frozen=True)
class TriangulatedOptions:
    """max_log_sigma: samples less certain than this are dropped (0.1 = 10 % of the depth). min_support:
    robust weight that the best match of a track must keep. cached_anchors: maps that stay in memory.
    """

    max_log_sigma: float = 0.1
    min_support: float = 0.4
    cached_anchors: int = 256
    tracks: TrackOptions = field(default_factory=TrackOptions)


class TriangulatedDepth:
    """DepthSource made of anchor–anchor matches. Anchors without usable neighbours get an empty map, never a
    guess.
    """

    def __init__(self, matcher: Matcher, neighbours: Neighbours, options: TriangulatedOptions | None = None) -> None:
        self.matcher, self.neighbours = matcher, neighbours
        self.options = options or TriangulatedOptions()
        self._maps: OrderedDict[str, DepthMap] = OrderedDict()

    @property
    def fingerprint(self) -> str:
        """Back-end and parameters in one line."""
        o = self.options
        return f"triangulated/{_digest(o.max_log_sigma, o.min_support, o.tracks)}/{self.matcher.fingerprint}"

    @property
    def declaration(self) -> DepthDeclaration:
        """See `depth.base.DepthSource.declaration`."""
        return declare_triangulated(self.options)

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """See `depth.base.DepthSource.depth`."""
        key = f"{anchor.alignment_id}/{anchor.id}"
        if key not in self._maps:
            self._maps[key] = self._triangulate(anchor, image)
            if len(self._maps) > self.options.cached_anchors:
                self._maps.popitem(last=False)
        return self._maps[key]

    def _triangulate(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        pairs = neighbour_matches(anchor, image, self.neighbours(anchor), self.matcher)
        if not pairs:
            return DepthMap("triangulated", False, samples_px=np.zeros((0, 2)), samples_z_m=np.zeros(0))
        tracks = adjust_tracks(anchor.camera, pairs, None, self.options.tracks)
        good = (tracks.sigma < self.options.max_log_sigma) & (tracks.support > self.options.min_support)
        return DepthMap(
            "triangulated",
            False,
            samples_px=tracks.px[good],
            samples_z_m=np.exp(tracks.log_z[good]),
            log_sigma=tracks.sigma[good].astype(np.float32),
        )


class CalibratedDepth:
    """Another source's depth, corrected against the anchor's neighbours; raw where they do not suffice (the
    name says so).

    `calibrations` keeps the report of every anchor seen: scale and residual before and after, None where it
    stayed raw.
    """

    def __init__(
        self,
        base: DepthSource,
        matcher: Matcher,
        neighbours: Neighbours,
        options: CalibrateOptions | None = None,
    ) -> None:
        self.base, self.matcher, self.neighbours = base, matcher, neighbours
        self.options = options or CalibrateOptions()
        self.calibrations: dict[str, DepthCalibration | None] = {}

    @property
    def fingerprint(self) -> str:
        """Base source, matcher and parameters in one line."""
        return f"{self.base.fingerprint}+calibrated/{_digest(self.options)}/{self.matcher.fingerprint}"

    @property
    def declaration(self) -> DepthDeclaration:
        """See `depth.base.DepthSource.declaration`."""
        return declare_calibrated(self.base.declaration)

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """See `depth.base.DepthSource.depth`."""
        raw = self.base.depth(anchor, image)
        calibration = self.calibrate(anchor, image, raw)
        return raw if calibration is None else calibrated_map(raw, calibration)

    def calibrate(self, anchor: Anchor, image: ImageArray, raw: DepthMap) -> DepthCalibration | None:
        """The anchor's calibration, computed once; None where its neighbours do not suffice or depth is measured."""
        key = f"{anchor.alignment_id}/{anchor.id}"
        if key not in self.calibrations:
            self.calibrations[key] = None if raw.z_m is None else self._calibrate(anchor, image, raw)
        return self.calibrations[key]

    def remember(self, anchor: Anchor, calibration: DepthCalibration | None) -> None:
        """Use a calibration computed earlier (None: this anchor stays raw)."""
        self.calibrations[f"{anchor.alignment_id}/{anchor.id}"] = calibration

    def _calibrate(self, anchor: Anchor, image: ImageArray, raw: DepthMap) -> DepthCalibration | None:
        assert raw.z_m is not None
        pairs = neighbour_matches(anchor, image, self.neighbours(anchor), self.matcher)
        if not pairs:
            return None
        px, _ = track_pixels(pairs)
        height, width = raw.z_m.shape
        row = np.clip(np.rint(px[:, 1]).astype(int), 0, height - 1)
        column = np.clip(np.rint(px[:, 0]).astype(int), 0, width - 1)
        predicted = raw.z_m[row, column].astype(float)
        predicted[~(predicted > 0)] = np.nan
        return calibrate(anchor.camera, pairs, predicted, raw.common_log_sigma, self.options)


def declare_triangulated(options: TriangulatedOptions) -> DepthDeclaration:
    """What depth from neighbours alone is; the errors that its points share are told with each of them."""
    return DepthDeclaration(
        needs=(NEIGHBOURS_NEEDED,),
        valid_range_m=(float(np.exp(MIN_LOG_Z)), float(np.exp(MAX_LOG_Z))),
        log_sigma=options.max_log_sigma,
        common_log_sigma=0.0,
    )


def declare_calibrated(base: DepthDeclaration) -> DepthDeclaration:
    """What another source is once neighbours have corrected it: how well is told with each map."""
    return replace(base, needs=(*base.needs, NEIGHBOURS_NEEDED), log_sigma=NAN, common_log_sigma=NAN)


def neighbour_matches(
    anchor: Anchor, image: ImageArray, neighbours: Sequence[AnchorView], matcher: Matcher
) -> list[NeighbourMatches]:
    """Matches of an anchor with its neighbours, with the relative poses on record; pairs without a match are
    left out.
    """
    matches = matcher.match(image, [view.pixels for view in neighbours]) if neighbours else []
    pairs = []
    for view, found in zip(neighbours, matches, strict=True):
        anchor_px, neighbour_px = np.asarray(found.query_px, float), np.asarray(found.anchor_px, float)
        imaged = np.isfinite(anchor.camera.unproject(anchor_px)).all(axis=1) & unmasked(neighbour_px, view.mask)
        if imaged.sum() >= 8:
            relative = view.anchor.world_from_cam.inverse() @ anchor.world_from_cam
            pairs.append(NeighbourMatches(relative, view.anchor.camera, anchor_px[imaged], neighbour_px[imaged]))
    return pairs


def _digest(*parameters: object) -> str:
    """Short name of a set of parameters."""
    return hashlib.sha256(repr(parameters).encode()).hexdigest()[:12]
