"""Depth of an anchor from its neighbours of known pose: no network, no LiDAR (source name `triangulated`).

The anchor is matched with its neighbours along the drive; every match that they place consistently is a depth sample.
The samples lie on the anchor's own features, which is where a query is matched too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from geocorrect.depth.base import DepthDeclaration, options_digest
from geocorrect.depth.calibration.track_adjustment import MAX_LOG_Z, MIN_LOG_Z, adjust_tracks
from geocorrect.depth.calibration.tracks import NeighbourMatches, TrackOptions
from geocorrect.io.bounded_cache import BoundedCache
from geocorrect.io.masks import unmasked
from geocorrect.match.base import Matcher
from geocorrect.records import Anchor, AnchorView, DepthMap, Float, ImageArray

Neighbours = Callable[[Anchor], Sequence[AnchorView]]
"""Gives an anchor's neighbours of known pose, with pixels, nearest first; not the anchor itself."""

Given = Callable[[Anchor, Anchor], tuple[Float, Float] | None]
"""(N, 2) pixels in an anchor and a neighbour that are known to match; None where nothing is known."""

NEIGHBOURS_NEEDED = "neighbours of each anchor"
MIN_MATCHES = 8
"""With fewer matches a neighbour is not used."""


@dataclass(frozen=True)
class TriangulatedOptions:
    """Which triangulated points count."""

    max_log_sigma: float = 0.1
    """Samples less certain than this are dropped (0.1 = 10 % of the depth)."""
    min_support: float = 0.4
    """Robust weight, 0…1, that the best match of a track must have at the end."""
    cached_anchors: int = 256
    """Maps that stay in memory."""
    tracks: TrackOptions = field(default_factory=TrackOptions)


class TriangulatedDepth:
    """DepthSource made of anchor–anchor matches. Anchors without usable neighbours get an empty map, never a guess."""

    def __init__(self, matcher: Matcher, neighbours: Neighbours, options: TriangulatedOptions | None = None) -> None:
        self.matcher, self.neighbours = matcher, neighbours
        self.options = o = options or TriangulatedOptions()
        self.declaration = declare_triangulated(o)
        digest = options_digest(o.max_log_sigma, o.min_support, o.tracks)
        self.fingerprint = f"triangulated/{digest}/{matcher.fingerprint}"
        self._maps: BoundedCache[str, DepthMap] = BoundedCache(o.cached_anchors)

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """See `depth.base.DepthSource.depth`."""
        key = f"{anchor.alignment_id}/{anchor.id}"
        return self._maps.get_or_make(key, lambda: self._triangulate(anchor, image))

    def _triangulate(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        views = self.neighbours(anchor)
        pairs = neighbour_matches(anchor, image, views, self.matcher)
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
            from_anchors=frozenset(view.anchor.id for view in views),
        )


def declare_triangulated(options: TriangulatedOptions) -> DepthDeclaration:
    """What depth from neighbours alone is; the errors that its points share are stated with each of them."""
    return DepthDeclaration(
        needs=(NEIGHBOURS_NEEDED,),
        valid_range_m=(float(np.exp(MIN_LOG_Z)), float(np.exp(MAX_LOG_Z))),
        log_sigma=options.max_log_sigma,
        common_log_sigma=0.0,
    )


def nothing_given(_anchor: Anchor, _neighbour: Anchor) -> None:
    """No match is known."""


def neighbour_matches(
    anchor: Anchor, image: ImageArray, neighbours: Sequence[AnchorView], matcher: Matcher, given: Given = nothing_given
) -> list[NeighbourMatches]:
    """Matches of an anchor with its neighbours, with the relative poses on record; poor pairs are left out.

    given: matches that are known already; where they are too few, the pair is matched.
    """
    known = {view.anchor.id: px for view in neighbours if (px := given(anchor, view.anchor)) is not None}
    known = {name: px for name, px in known.items() if len(px[0]) >= MIN_MATCHES}
    asked = [view for view in neighbours if view.anchor.id not in known]
    matches = matcher.match(image, [view.pixels for view in asked]) if asked else []
    for view, found in zip(asked, matches, strict=True):
        known[view.anchor.id] = np.asarray(found.query_px, float), np.asarray(found.anchor_px, float)
    pairs = []
    for view in neighbours:
        anchor_px, neighbour_px = known[view.anchor.id]
        imaged = np.isfinite(anchor.camera.unproject(anchor_px)).all(axis=1) & unmasked(neighbour_px, view.mask)
        if imaged.sum() >= MIN_MATCHES:
            relative = view.anchor.world_from_cam.inverse() @ anchor.world_from_cam
            pairs.append(NeighbourMatches(relative, view.anchor.camera, anchor_px[imaged], neighbour_px[imaged]))
    return pairs
