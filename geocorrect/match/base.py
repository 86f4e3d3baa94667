"""The contract of every matcher, and what may be declared of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from geocorrect.records import ImageArray, Matches


@runtime_checkable
class Matcher(Protocol):
    """Finds pixel correspondences."""

    @property
    def fingerprint(self) -> str:
        """Back-end, parameters and weights in one line, e.g. `sift/8000/0.8`; part of the run key."""
        ...

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """Match one query with each anchor.

        Args:
            query: (H, W, 3) RGB uint8, in the raw orientation that its camera describes.
            anchors: The same of each anchor.

        Returns:
            One `Matches` per anchor, in order, in pixels of the full images; empty where nothing matched.
        """
        ...


def layers(matcher: Matcher | None) -> Iterator[Matcher]:
    """The matcher and, from the outside in, those that it wraps as its `matcher`."""
    inner: Any = matcher
    while isinstance(inner, Matcher):
        yield inner
        inner = getattr(inner, "matcher", None)


class DeclaredMatcher:
    """Another matcher, with what `registry.MatcherEntry` declares of it."""

    def __init__(
        self,
        matcher: Matcher,
        enough_verified: int = 0,
        any_roll: bool = False,
        any_size: bool = True,
        smooth_noise: float = 1.0,
    ) -> None:
        """See there."""
        self.matcher, self.enough_verified, self.any_roll, self.any_size = matcher, enough_verified, any_roll, any_size
        self.smooth_noise = smooth_noise
        enough = f"/enough-{enough_verified}" if enough_verified else ""
        self.fingerprint = matcher.fingerprint + enough + ("" if any_size else "/like-sizes")

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher`."""
        return self.matcher.match(query, anchors)


def enough_verified(matcher: Matcher | None) -> int:
    """How many verified matches make a pair of this matcher count; 0 where nothing is declared."""
    return next((layer.enough_verified for layer in layers(matcher) if isinstance(layer, DeclaredMatcher)), 0)


def any_roll(matcher: Matcher) -> bool:
    """Whether it matches photos whichever way up they are; so does one of which nothing is declared."""
    return next((layer.any_roll for layer in layers(matcher) if isinstance(layer, DeclaredMatcher)), True)


def any_size(matcher: Matcher) -> bool:
    """Whether it matches photos however large things are in them; so does one of which nothing is declared."""
    return next((layer.any_size for layer in layers(matcher) if isinstance(layer, DeclaredMatcher)), True)


def smooth_noise(matcher: Matcher | None) -> float:
    """Its smooth errors as a share of those that the estimator assumes; 1 where nothing is declared."""
    return next((layer.smooth_noise for layer in layers(matcher) if isinstance(layer, DeclaredMatcher)), 1.0)
