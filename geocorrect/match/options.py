"""The configuration section `[match]`: which matcher, and the options of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from geocorrect.match.aliked_lightglue import AlikedLightGlueOptions
from geocorrect.match.huggingface import EloftrOptions, LightGlueOptions
from geocorrect.match.lightglue_disk import DiskLightGlueOptions
from geocorrect.match.mast3r import Mast3rOptions
from geocorrect.match.mickey import MickeyOptions
from geocorrect.match.sift import SiftOptions
from geocorrect.match.verify import PairVerifyOptions
from geocorrect.match.xfeat import XFeatOptions

StageName = Literal[
    "sift", "aliked_lightglue", "xfeat", "mast3r", "eloftr", "lightglue_disk", "lightglue_superpoint", "mickey"
]
"""A matcher that may be a stage of a cascade."""
MatcherName = Literal[StageName, "cascade"]
"""Keys of `match.registry.MATCHERS`, and the cascade of them, as a type that the configuration is checked against."""


@dataclass(frozen=True)
class MatchSection:
    """Which matcher finds correspondences; the options of a matcher are the field of its name."""

    matcher: MatcherName = "sift"
    stages: tuple[StageName, ...] = ("sift", "aliked_lightglue")
    """Of `matcher = "cascade"`, the cheapest first: a photo goes on to the next while better matches could help it."""
    agree_px: float = 0.0
    """When positive, pairs are matched in both orders and only what agrees within it is kept (for networks)."""
    verify: PairVerifyOptions = field(default_factory=PairVerifyOptions)
    """Which matches two views of one static scene can explain."""
    sift: SiftOptions = field(default_factory=SiftOptions)
    aliked_lightglue: AlikedLightGlueOptions = field(default_factory=AlikedLightGlueOptions)
    xfeat: XFeatOptions = field(default_factory=XFeatOptions)
    mast3r: Mast3rOptions = field(default_factory=Mast3rOptions)
    eloftr: EloftrOptions = field(default_factory=EloftrOptions)
    lightglue_superpoint: LightGlueOptions = field(default_factory=LightGlueOptions)
    lightglue_disk: DiskLightGlueOptions = field(default_factory=DiskLightGlueOptions)
    mickey: MickeyOptions = field(default_factory=MickeyOptions)

    def __post_init__(self) -> None:
        if not self.stages or len(set(self.stages)) < len(self.stages):
            raise ValueError(f"match: stages = {list(self.stages)}: name at least one matcher, and each once")

    @property
    def matchers(self) -> tuple[StageName, ...]:
        """The matchers in use: the stages of a cascade, or the one."""
        return self.stages if self.matcher == "cascade" else (self.matcher,)
