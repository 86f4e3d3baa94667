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
from geocorrect.match.xfeat import XFeatOptions

MatcherName = Literal[
    "sift", "aliked_lightglue", "xfeat", "mast3r", "eloftr", "lightglue_disk", "lightglue_superpoint", "mickey"
]
"""Keys of `match.registry.MATCHERS`, as a type that the configuration is checked against."""


@dataclass(frozen=True)
class MatchSection:
    """Which matcher finds correspondences; the options of a matcher are the field of its name."""

    matcher: MatcherName = "sift"
    agree_px: float = 0.0
    """When positive, pairs are matched in both orders and only what agrees within it is kept (for networks)."""
    sift: SiftOptions = field(default_factory=SiftOptions)
    aliked_lightglue: AlikedLightGlueOptions = field(default_factory=AlikedLightGlueOptions)
    xfeat: XFeatOptions = field(default_factory=XFeatOptions)
    mast3r: Mast3rOptions = field(default_factory=Mast3rOptions)
    eloftr: EloftrOptions = field(default_factory=EloftrOptions)
    lightglue_superpoint: LightGlueOptions = field(default_factory=LightGlueOptions)
    lightglue_disk: DiskLightGlueOptions = field(default_factory=DiskLightGlueOptions)
    mickey: MickeyOptions = field(default_factory=MickeyOptions)
