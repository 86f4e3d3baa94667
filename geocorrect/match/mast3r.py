"""MASt3R as a matcher. Torch and the weights are touched by `build`, not by importing this module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from geocorrect.networks.mast3r.rules import MatchingRules
from geocorrect.networks.runtime import Runtime, require_libraries
from geocorrect.records import ImageArray, Matches

if TYPE_CHECKING:
    from geocorrect.networks.mast3r.engine import Mast3rEngine


@dataclass(frozen=True)
class Mast3rOptions:
    """How the network runs, and how its descriptors become matches."""

    runtime: Runtime = field(default_factory=Runtime)
    rules: MatchingRules = field(default_factory=MatchingRules)
    long_side_px: int = 512
    """Size of the network's input; it was trained at 512."""
    checkpoint: Path | None = None
    """A weights file of your own."""


class Mast3rMatcher:
    """Each photo is encoded once and its tokens are cached; the anchors are decoded against the query in batches."""

    def __init__(self, engine: Mast3rEngine, rules: MatchingRules) -> None:
        self.engine, self.rules = engine, rules
        named = ",".join(f"{name}={value}" for name, value in sorted(vars(rules).items()) if name != "batch")
        self.fingerprint = f"{engine.fingerprint}/{named}"

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher`. The score is the smaller descriptor confidence of the two pixels."""
        from geocorrect.networks.mast3r.matching import match_photos

        return match_photos(self.engine, query, anchors, self.rules)


def build(options: Mast3rOptions) -> Mast3rMatcher:
    """The matcher; ModelError when torch or the weights are missing or the licence forbids their use."""
    require_libraries()
    from geocorrect.networks.mast3r.loading import load_engine

    return Mast3rMatcher(load_engine(options.runtime, options.long_side_px, options.checkpoint), options.rules)
