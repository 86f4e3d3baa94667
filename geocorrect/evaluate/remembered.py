"""Matches found once are not sought again: several anchors of one photo are tried in several combinations, and by
several configurations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from geocorrect.match.base import Matcher
from geocorrect.match.cascade import CascadeMatcher
from geocorrect.records import ImageArray, Matches


class RememberedMatcher:
    """Another matcher whose answers are kept, pair of pictures by pair."""

    def __init__(self, matcher: Matcher) -> None:
        self.matcher, self.fingerprint = matcher, matcher.fingerprint
        self._known: dict[tuple[str, str], Matches] = {}

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher.match`."""
        photo = content_key(query)
        keys = [(photo, content_key(anchor)) for anchor in anchors]
        new = {key: anchor for key, anchor in zip(keys, anchors, strict=True) if key not in self._known}
        if new:
            self._known.update(zip(new, self.matcher.match(query, list(new.values())), strict=True))
        return [self._known[key] for key in keys]


def content_key(pixels: ImageArray) -> str:
    """Hex sha256 of an image: two configurations read one photo into two arrays."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def remembered(matcher: Matcher) -> Matcher:
    """The matcher, or each stage of a cascade, with its answers kept."""
    if not isinstance(matcher, CascadeMatcher):
        return RememberedMatcher(matcher)
    return CascadeMatcher({name: RememberedMatcher(stage) for name, stage in matcher.stages.items()})
