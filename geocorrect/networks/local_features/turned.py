"""Photos that lie on their side, for networks that know only upright ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geocorrect.networks.local_features.matcher import FeatureMatcher
from geocorrect.records import Float32, ImageArray, Matches

FEW_MATCHES = 120
"""With fewer matches with every anchor a photo may be turned. ALIKED with LightGlue finds 20 to 100 matches in KITTI
photos turned by 90°, and the coarse matcher tells the right turn by 172 against 15. A photo of a wrong street costs
four matchings of small images on top.
"""
CLEARLY_MORE = 1.5
"""A turn is believed when it gives so many times the matches of the photo as it is."""


class TurningMatcher:
    """A matcher that also tries a photo in quarter turns when it matches nothing as it is."""

    def __init__(self, matcher: FeatureMatcher, coarse: FeatureMatcher | None = None) -> None:
        """coarse: tells the turns apart in place of the matcher: the same with smaller images and fewer keypoints."""
        self.matcher, self.coarse = matcher, coarse or matcher
        self.fingerprint = f"{matcher.fingerprint}/turns-{self.coarse.feature_identity.partition('/')[2]}"

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher`."""
        upright = self.matcher.match(query, anchors)
        most = max(map(len, upright), default=FEW_MATCHES)
        if most >= FEW_MATCHES:
            return upright
        # Which turn it is, one anchor tells: the one that the photo matched best.
        anchor = anchors[int(np.argmax([len(matches) for matches in upright]))]
        views = {turns: np.ascontiguousarray(np.rot90(query, turns)) for turns in range(4)}
        counts = {turns: len(self.coarse.match(view, [anchor])[0]) for turns, view in views.items()}
        turns = max(counts, key=lambda key: counts[key])
        if counts[turns] <= CLEARLY_MORE * max(counts[0], 1):
            return upright
        found = self.matcher.match(views[turns], anchors)
        if max(map(len, found)) <= CLEARLY_MORE * most:
            return upright
        size = query.shape[1], query.shape[0]
        return [Matches(turned_back(m.query_px, turns, size), m.anchor_px, m.score) for m in found]


def turned_back(px: Float32, turns: int, size: tuple[int, int]) -> Float32:
    """(N, 2) pixels of the photo turned counter-clockwise by quarters → pixels of the photo, of (width, height)."""
    x, y = px[:, 0], px[:, 1]
    last_x, last_y = size[0] - 1, size[1] - 1
    back: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]] = {
        0: (x, y),
        1: (last_x - y, x),
        2: (last_x - x, last_y - y),
        3: (y, last_y - x),
    }
    return np.stack(back[turns % 4], axis=1).astype(np.float32)
