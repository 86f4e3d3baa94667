"""Matches found once are not sought again: several anchors of one photo are tried in several combinations, and by
several configurations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from geocorrect.io.bounded_cache import BoundedCache
from geocorrect.match.base import Matcher
from geocorrect.match.cascade import CascadeMatcher
from geocorrect.records import ImageArray, Matches

MAX_BYTES = 256 * 2**20
"""Of all matches that are kept: pairs used last, those of many photos."""


class RememberedMatcher:
    """Another matcher whose answers are kept, pair of pictures by pair, as many as fit."""

    def __init__(self, matcher: Matcher, max_bytes: int = MAX_BYTES) -> None:
        self.matcher, self.fingerprint = matcher, matcher.fingerprint
        self._known: BoundedCache[tuple[str, str], Matches] = BoundedCache(max_bytes, _n_bytes)

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher.match`."""
        photo = content_key(query)
        keys = [(photo, content_key(anchor)) for anchor in anchors]
        found = {key: matches for key in keys if (matches := self._known.get(key)) is not None}
        new = {key: anchor for key, anchor in zip(keys, anchors, strict=True) if key not in found}
        for key, matches in zip(new, self.matcher.match(query, list(new.values())) if new else [], strict=True):
            found[key] = matches
            self._known.put(key, matches)
        return [found[key] for key in keys]


def _n_bytes(matches: Matches) -> int:
    return matches.query_px.nbytes + matches.anchor_px.nbytes + matches.score.nbytes


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
