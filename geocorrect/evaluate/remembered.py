"""Matches found once are not sought again: several anchors of one photo are tried in several combinations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from geocorrect.match.base import Matcher
from geocorrect.match.cascade import CascadeMatcher
from geocorrect.records import ImageArray, Matches


class RememberedMatcher:
    """Another matcher whose answers are kept, pair by pair, until they are cleared."""

    def __init__(self, matcher: Matcher) -> None:
        self.matcher, self.fingerprint = matcher, matcher.fingerprint
        # By the identity of the pixels, which are kept with the answer, so that no other array gets their address.
        self._known: dict[tuple[int, int], tuple[ImageArray, ImageArray, Matches]] = {}

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher.match`."""
        new = [anchor for anchor in anchors if (id(query), id(anchor)) not in self._known]
        for anchor, matches in zip(new, self.matcher.match(query, new) if new else [], strict=True):
            self._known[id(query), id(anchor)] = (query, anchor, matches)
        return [self._known[id(query), id(anchor)][2] for anchor in anchors]

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()


def remembered(matcher: Matcher) -> tuple[Matcher, Callable[[], None]]:
    """The matcher, or each stage of a cascade, with its answers kept; and what forgets them."""
    if not isinstance(matcher, CascadeMatcher):
        single = RememberedMatcher(matcher)
        return single, single.clear
    stages = {name: RememberedMatcher(stage) for name, stage in matcher.stages.items()}

    def clear() -> None:
        for stage in stages.values():
            stage.clear()

    return CascadeMatcher(stages), clear
