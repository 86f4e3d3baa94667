"""Several matchers, the cheapest first: a photo goes on only while better matches could give it an answer.

The stages are tried by `localize.correct`, which knows what came of one; here is what they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from geocorrect.match.base import Matcher
from geocorrect.records import ImageArray, Matches


class CascadeMatcher:
    """The stages of a cascade by name, in order; as a matcher it is its first stage."""

    def __init__(self, stages: Mapping[str, Matcher]) -> None:
        self.stages = dict(stages)
        self.fingerprint = "cascade:" + "+".join(stage.fingerprint for stage in self.stages.values())

    @property
    def matcher(self) -> Matcher:
        """The first stage: what is declared of it holds of what `match` finds (`match.base.layers`)."""
        return first_stage(self)

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher`."""
        return first_stage(self).match(query, anchors)


def stages_of(matcher: Matcher) -> Mapping[str, Matcher]:
    """The stages of a cascade by name; a matcher that is none is its only stage, without a name."""
    return matcher.stages if isinstance(matcher, CascadeMatcher) else {"": matcher}


def first_stage(matcher: Matcher) -> Matcher:
    """What matches anchors with their neighbours, for depth, which then does not depend on the photo."""
    return next(iter(stages_of(matcher).values()))
