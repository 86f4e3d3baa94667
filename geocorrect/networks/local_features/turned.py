"""Photos that lie on their side or are rolled, for networks that know only upright ones."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.networks.local_features.matcher import FeatureMatcher
from geocorrect.records import Float32, ImageArray, Matches

FEW_MATCHES = 120
"""With fewer matches with every anchor a photo may be turned. ALIKED with LightGlue finds 20 to 100 matches in KITTI
photos turned by 90°, and the coarse matcher tells the right turn by 172 against 15. A photo of a wrong street costs
six matchings of small images on top.
"""
CLEARLY_MORE = 1.5
"""A turn is believed when it gives so many times the matches of the photo as it is."""
QUARTERS_DEG = (0, 90, 180, 270)
STEPS_DEG = (-30, 30)
"""Tried around the best quarter turn, so that no photo is shown rolled by more than 15°. At 45°, halfway between two
quarter turns, ALIKED with LightGlue keeps 259 of the 339 matches that a KITTI photo rolled by 15° has with an anchor
7 m away, and 39 of 78 right ones in a picture of a plane; beyond 60° next to none.
"""
EDGE_PX = 2.0
"""What is found so near to the edge of a rolled photo is the edge itself, against the black beside it."""


class TurningMatcher:
    """A matcher that also tries a photo in quarter turns, and 30° off the best, when it matches little as it is."""

    def __init__(self, matcher: FeatureMatcher, coarse: FeatureMatcher | None = None) -> None:
        """coarse: tells the turns apart in place of the matcher: the same with smaller images and fewer keypoints."""
        self.matcher, self.coarse = matcher, coarse or matcher
        steps = f"{len(QUARTERS_DEG) * (1 + len(STEPS_DEG))}"
        self.fingerprint = f"{matcher.fingerprint}/turns-{steps}-{self.coarse.feature_identity.partition('/')[2]}"

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher`."""
        upright = self.matcher.match(query, anchors)
        most = max(map(len, upright), default=FEW_MATCHES)
        if most >= FEW_MATCHES:
            return upright
        # Which turn it is, one anchor tells: the one that the photo matched best.
        anchor = anchors[int(np.argmax([len(matches) for matches in upright]))]

        def tried(turn_deg: int) -> int:
            return len(self.coarse.match(rolled(query, turn_deg)[0], [anchor])[0])

        counts = {turn_deg: tried(turn_deg) for turn_deg in QUARTERS_DEG}
        quarter = max(counts, key=lambda key: counts[key])
        counts |= {turn_deg: tried(turn_deg) for turn_deg in (quarter + step for step in STEPS_DEG)}
        turn_deg = max(counts, key=lambda key: counts[key])
        if counts[turn_deg] <= CLEARLY_MORE * max(counts[0], 1):
            return upright
        view, photo_from_view = rolled(query, turn_deg)
        found = self.matcher.match(view, anchors)
        if max(map(len, found)) <= CLEARLY_MORE * most:
            return upright
        margin_px = 0.0 if turn_deg in QUARTERS_DEG else EDGE_PX
        return [_of_photo(matches, photo_from_view, query, margin_px) for matches in found]


def rolled(photo: ImageArray, turn_deg: int) -> tuple[ImageArray, NDArray[np.float64]]:
    """The whole photo turned counter-clockwise about its middle, black beside it, and (2, 3) its pixels from those."""
    height, width = photo.shape[:2]
    if turn_deg % 90 == 0:
        back = turned_back(np.array([[0, 0], [1, 0], [0, 1]], np.float32), turn_deg // 90, (width, height)).astype(
            float
        )
        return np.ascontiguousarray(np.rot90(photo, turn_deg // 90)), np.column_stack([*(back[1:] - back[0]), back[0]])
    cosine, sine = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    size = np.ceil([width * abs(cosine) + height * abs(sine), width * abs(sine) + height * abs(cosine)]).astype(int)
    # Image rows grow downwards: counter-clockwise as seen is clockwise in (column, row).
    linear = np.array([[cosine, -sine], [sine, cosine]])
    back = np.column_stack([linear, (np.array([width, height]) - 1) / 2 - linear @ ((size - 1) / 2)])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(photo, back, (int(size[0]), int(size[1])), flags=flags)), back


def _of_photo(matches: Matches, photo_from_view: NDArray[np.float64], photo: ImageArray, margin_px: float) -> Matches:
    """Matches of a rolled view as those of the photo; what lies beside it or on its edge is none of it."""
    px = matches.query_px @ photo_from_view[:, :2].T + photo_from_view[:, 2]
    last = np.array([photo.shape[1], photo.shape[0]]) - 0.5
    inside = np.all((px >= margin_px - 0.5) & (px <= last - margin_px), axis=1)
    return Matches(px.astype(np.float32), matches.anchor_px, matches.score).subset(inside)


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
