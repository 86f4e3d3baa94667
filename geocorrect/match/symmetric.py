"""Agreement of a matcher with itself: a match counts when it is found in both orders of the two pictures.

Networks see a pair differently in its two orders; what both find is rarely wrong. It costs the matching twice. SIFT
matches in both directions by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geocorrect.match.base import Matcher
from geocorrect.records import ImageArray, Matches


class SymmetricMatcher:
    """Another matcher, reduced to the matches that it finds from the anchor's side, too."""

    def __init__(self, matcher: Matcher, radius_px: float) -> None:
        """radius_px: how far the two answers may lie apart, in each picture."""
        self.matcher, self.radius_px = matcher, radius_px
        self.fingerprint = f"{matcher.fingerprint}+both-ways/{radius_px:g}"

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher.match`."""
        kept = []
        for anchor, forward in zip(anchors, self.matcher.match(query, anchors), strict=True):
            (backward,) = self.matcher.match(anchor, [query])
            kept.append(forward.subset(agreeing(forward, backward, self.radius_px)))
        return kept


def agreeing(forward: Matches, backward: Matches, radius_px: float) -> NDArray[np.bool_]:
    """(N,) which forward matches have a backward one within the radius in both pictures.

    backward: of the same pictures in the other order, so its query_px are pixels of the anchor.
    """
    if not len(forward) or not len(backward):
        return np.zeros(len(forward), bool)
    here = np.hstack([forward.query_px, forward.anchor_px]).astype(float)
    there = np.hstack([backward.anchor_px, backward.query_px]).astype(float)
    tree = cKDTree(there)
    found = np.zeros(len(here), bool)
    # A ball in four dimensions that holds the product of the two discs; the discs themselves decide.
    for row, near in enumerate(tree.query_ball_point(here, radius_px * np.sqrt(2.0))):
        apart = there[np.asarray(near, np.intp)] - here[row]
        discs = np.stack([np.hypot(apart[:, 0], apart[:, 1]), np.hypot(apart[:, 2], apart[:, 3])])
        found[row] = bool((discs <= radius_px).all(axis=0).any())
    return found
